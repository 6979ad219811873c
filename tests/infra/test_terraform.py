"""What Terraform would make: judged by the real program, on the schemas of the pinned providers."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import subprocess

import pytest

from events.catalog import definitions
from events.parts import ModelVersion
from infra import generate
from services.discovery import discover
from services.ingress import google, notification, senders
from services.ingress import http as ingress
from shared import places
from shared.storage.paths import RESERVED
from tests.infra.conftest import Make
from tests.infra.roots import TENANTS, TERRAFORM, Plan, Terraform, member, of, one, roles

LONGEST_ACCOUNT = 30
pytestmark = pytest.mark.slow


def test_everything_is_formatted(terraform_program: str):
    words = [terraform_program, "fmt", "-check", "-recursive", "-diff"]
    done = subprocess.run(words, cwd=TERRAFORM, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("module", ["", "cluster"])
def test_it_is_valid(terraform: Make, module: str):
    done = terraform(module).run("validate", "-json")
    report = json.loads(done.stdout)
    assert report["valid"], json.dumps(report["diagnostics"], indent=1)


def test_what_is_not_valid_is_seen(terraform: Make):
    broken = terraform("")
    pubsub = broken.root / "pubsub.tf"
    pubsub.write_text(pubsub.read_text().replace("ack_deadline_seconds ", "ack_deadline_secs "))
    report = json.loads(broken.run("validate", "-json").stdout)
    assert not report["valid"]
    assert "ack_deadline_secs" in json.dumps(report["diagnostics"])


def test_every_event_has_a_topic(together: Plan):
    assert set(of(together, "google_pubsub_topic.event")) == set(definitions())


def test_every_heard_event_has_a_subscription_with_dead_letters(together: Plan):
    heard = of(together, "google_pubsub_subscription.heard")
    assert set(heard) == {
        f"{name}.{event}" for name, service in discover().items() for event in service.hears
    }
    for name, value in heard.items():
        service, event = name.split(".")
        (policy,) = value["dead_letter_policy"]
        assert policy["dead_letter_topic"] == f"google_pubsub_topic/{service}.dead"
        assert value["topic"] == f"google_pubsub_topic/{event}"
        assert value["enable_message_ordering"]
        assert value["push_config"] == []


def test_dead_letters_are_kept(together: Plan):
    dead = of(together, "google_pubsub_subscription.dead")
    assert set(dead) == set(discover()) == set(of(together, "google_pubsub_topic.dead"))
    assert {value["topic"] for value in dead.values()} == {
        f"google_pubsub_topic/{name}.dead" for name in dead
    }


def test_pubsub_itself_may_forward_dead_letters(together: Plan):
    forwards = of(together, "google_pubsub_topic_iam_member.forwards")
    takes = of(together, "google_pubsub_subscription_iam_member.forwards")
    assert set(forwards) == set(discover())
    assert set(takes) == set(of(together, "google_pubsub_subscription.heard"))
    for value in (*forwards.values(), *takes.values()):
        assert value["member"] == "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"


def test_apart_a_service_may_do_what_it_says_and_hears_and_nothing_else(apart: Plan):
    for name, service in discover().items():
        found = roles(apart, member(apart, "part", name))
        assert {on for role, on in found if role == "roles/pubsub.publisher"} == {
            f"google_pubsub_topic/{event}" for event in service.says
        }
        assert {on for role, on in found if role == "roles/pubsub.subscriber"} == {
            f"google_pubsub_subscription/{name}.{word}" for word in (*service.hears, "dead")
        }


def test_only_what_launches_finds_the_cluster(apart: Plan):
    assert set(of(apart, "google_project_iam_member.launches")) == {
        "training",
        "validation",
        "deployment",
        "engines",
        "front",
    }


def test_together_one_account_has_it_all(together: Plan):
    found = roles(together, member(together, "part", "platform"))
    assert {on for role, on in found if role == "roles/pubsub.publisher"} == {
        f"google_pubsub_topic/{event}" for event in definitions()
    }
    assert set(of(together, "google_service_account.part")) == {"platform"}


def test_the_registry_is_one_database_for_everybody(apart: Plan):
    grants = [
        *of(apart, "google_project_iam_member.registry").values(),
        *of(apart, "google_project_iam_member.ledger").values(),
    ]
    assert grants
    for value in grants:
        assert value["condition"][0]["expression"] == (
            'resource.name == "projects/my-kuznia-project/databases/(default)"'
        )


def test_every_composite_index_is_made(together: Plan):
    asked = json.loads((TERRAFORM.parent / "firestore.indexes.json").read_text())
    wanted = [
        (index["collectionGroup"], [(field["fieldPath"], field.get("order")) for field in index["fields"]])
        for index in asked["indexes"]
    ]
    made = [
        (value["collection"], [(field["field_path"], field["order"]) for field in value["fields"]])
        for value in of(together, "google_firestore_index.this").values()
    ]
    assert wanted
    assert sorted(made) == sorted(wanted)
    bare = {(entry["collectionGroup"], entry["fieldPath"]) for entry in asked["fieldOverrides"]}
    found = of(together, "google_firestore_field.unindexed").values()
    assert {(value["collection"], value["field"]) for value in found} == bare
    assert all(value["index_config"] == [{"indexes": []}] for value in found)


@pytest.mark.parametrize(
    ("kind", "role"), [("trainer", "roles/storage.objectUser"), ("engine", "roles/storage.objectViewer")]
)
def test_a_tenant_sees_its_own_prefix(apart: Plan, kind: str, role: str):
    for tenant in TENANTS:
        value = one(apart, f"google_storage_bucket_iam_member.{kind}", tenant)
        assert (value["role"], value["member"]) == (
            role,
            member(apart, kind, tenant),
        )
        places = re.findall(r"tenants/([^/]+)/", value["condition"][0]["expression"])
        assert set(places) == {tenant}


def test_a_trainers_large_uploads_lie_aside_where_it_may_write(apart: Plan):
    """What goes up in parts is put together below `.unfinished`, and only a trainer does so."""
    capable = importlib.util.find_spec("google.cloud.storage")
    depth = importlib.import_module("shared.storage.google").RIGHTS_DEPTH if capable else 2
    for tenant in TENANTS:
        aside = "/".join([RESERVED, *places.of_run(tenant, "r-1").split("/")[:depth], ""])
        told = one(apart, "google_storage_bucket_iam_member.trainer", tenant)["condition"][0]["expression"]
        assert f'/objects/{aside}")' in told
        read = one(apart, "google_storage_bucket_iam_member.engine", tenant)["condition"][0]["expression"]
        assert RESERVED not in read
    (rule,) = [
        rule
        for rule in apart["google_storage_bucket.artifacts"]["lifecycle_rule"]
        if rule["condition"][0]["matches_prefix"]
    ]
    assert rule["condition"][0]["matches_prefix"] == [f"{RESERVED}/"]


def test_all_that_a_tenants_pods_write_lies_where_they_may(apart: Plan):
    """The one folder of `shared.places` is the one of the condition, and of nobody else's."""
    model = ModelVersion(
        model_id="team-x.qa.v1", version="1.0.0", tenant="team-x", run_id="r-0123456789abcdef"
    )
    written = [
        places.of_run(model.tenant, model.run_id),
        places.of_evaluation(model.key),
        places.of_base_answers(model.key),
        places.of_card(model),
    ]
    for tenant in TENANTS:
        for kind in ("trainer", "engine"):
            value = one(apart, f"google_storage_bucket_iam_member.{kind}", tenant)
            allowed = re.findall(
                r'startsWith\("(?:[^"]*/objects/)?(tenants/[^"]+/)"\)', value["condition"][0]["expression"]
            )
            assert allowed[0] == f"{places.of_tenant(tenant)}/"
            reached = [path for path in written if f"{path}/x".startswith(allowed[0])]
            assert reached == (written if tenant == model.tenant else [])


def test_a_pushed_services_secrets_are_files_and_no_variables(pushed: Plan):
    for name, value in of(pushed, "google_cloud_run_v2_service.service").items():
        (template,) = value["template"]
        (container,) = template["containers"]
        wanted = {"status": ["forge-token"], "outbound": ["outbound-key"]}.get(name, [])
        mounts = [mount["mount_path"] for mount in container["volume_mounts"]]
        assert mounts == ["/var/lib/kuznia", *(f"/etc/kuznia/secrets/{secret}" for secret in wanted)]
        secrets = [volume["secret"][0] for volume in template["volumes"] if volume.get("secret")]
        assert [secret["items"][0]["path"] for secret in secrets] == ["value"] * len(wanted)
        assert not [entry["name"] for entry in container["env"] if entry.get("value_source")]


def test_a_pod_says_what_pods_say(apart: Plan):
    said = {name for name, value in of(apart, "google_pubsub_topic_iam_member.tenant_says").items() if value}
    pods = {event for events in generate.POD_SAYS.values() for event in events}
    assert {"checkpoint-written", "evaluation-finished", "answers-judged"} <= pods < set(definitions())
    assert said == {f"{tenant}/{event}" for tenant in TENANTS for event in pods}
    engine = roles(apart, member(apart, "engine", "team-x"))
    assert {role for role, _ in engine} == {"roles/storage.objectViewer"}


@pytest.mark.parametrize("name", ["together", "apart", "pushed"])
def test_no_role_is_broad_and_nobody_is_public(name: str, request: pytest.FixtureRequest):
    plan: Plan = request.getfixturevalue(name)
    grants = [
        value for value in plan.values() if isinstance(value, dict) and "role" in value and "member" in value
    ]
    assert grants
    for value in grants:
        assert not re.search(r"roles/(owner|editor|viewer|.*[aA]dmin)$", value["role"]), value
        assert value["member"] is None or not value["member"].startswith("all"), value


@pytest.mark.parametrize("name", ["together", "apart", "pushed"])
def test_names_are_short_enough(name: str, request: pytest.FixtureRequest):
    plan: Plan = request.getfixturevalue(name)
    accounts = [
        value["account_id"]
        for address, value in plan.items()
        if address.startswith("google_service_account.")
    ]
    assert len(set(accounts)) == len(accounts)
    assert [
        account for account in accounts if not re.fullmatch(r"[a-z][-a-z0-9]{4,28}[a-z0-9]", account)
    ] == []
    for kind in (
        "google_pubsub_topic.event",
        "google_pubsub_subscription.heard",
        "google_pubsub_subscription.dead",
    ):
        assert [topic for topic in of(plan, kind) if not re.fullmatch(r"[a-z][-a-z.]{2,254}", topic)] == []


def test_the_longest_names_fit(platform: Terraform):
    longest = "a" + "b" * 39
    plan = platform.plan("minimal", name="k" * 12, tenants=[longest, longest[:-1] + "c"], layout="apart")
    accounts = [
        value["account_id"]
        for address, value in plan.items()
        if address.startswith("google_service_account.")
    ]
    assert len(set(accounts)) == len(accounts)
    assert max(map(len, accounts)) <= LONGEST_ACCOUNT


def test_buckets_are_closed_and_keep_what_was(together: Plan):
    artifacts, audit = together["google_storage_bucket.artifacts"], together["google_storage_bucket.audit"]
    for bucket in (artifacts, audit):
        assert bucket["uniform_bucket_level_access"]
        assert bucket["public_access_prevention"] == "enforced"
        assert not bucket["force_destroy"]
    assert artifacts["versioning"] == [{"enabled": True}]
    assert audit["retention_policy"][0]["retention_period"] == 400 * 86400


def test_nodes_are_private_and_guarded(apart: Plan):
    cluster = apart["google_container_cluster.this"]
    assert cluster["private_cluster_config"][0]["enable_private_nodes"]
    assert cluster["datapath_provider"] == "ADVANCED_DATAPATH"
    assert cluster["workload_identity_config"] == [{"workload_pool": "my-kuznia-project.svc.id.goog"}]
    assert not cluster["control_plane_endpoints_config"][0]["ip_endpoints_config"][0]["enabled"]
    assert cluster["enable_shielded_nodes"]
    for pool in (
        apart["google_container_node_pool.cpu"],
        *of(apart, "google_container_node_pool.gpu").values(),
    ):
        (node,) = pool["node_config"]
        assert node["workload_metadata_config"] == [{"mode": "GKE_METADATA"}]
        assert node["shielded_instance_config"][0]["enable_integrity_monitoring"]


def test_gpu_pools_go_down_to_nothing_and_are_spot(apart: Plan):
    pools = of(apart, "google_container_node_pool.gpu")
    assert set(pools) == {"l4", "a100"}
    for pool in pools.values():
        assert pool["autoscaling"][0]["total_min_node_count"] == 0
        (node,) = pool["node_config"]
        assert node["spot"]
        assert node["taint"] == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}]


def test_secrets_are_made_empty(apart: Plan):
    given = {"hf-token", "forge-token", "outbound-key"}
    assert set(of(apart, "google_secret_manager_secret.this")) == {*given, "engine-secret"}
    assert [address for address in apart if "secret_version" in address] == []
    readers = of(apart, "google_secret_manager_secret_iam_member.tenant")
    assert [value["member"] for value in readers.values()] == [member(apart, "trainer", "team-x")]


def test_apart_who_starts_engines_and_who_calls_them_share_one_secret(apart: Plan, together: Plan):
    readers = {
        key.split("/")[1]
        for key in of(apart, "google_secret_manager_secret_iam_member.part")
        if key.startswith("engine-secret/")
    }
    assert readers == {"training", "validation", "deployment", "engines", "front"}
    assert {
        name for name, part in apart["output.parts"].items() if "engine-secret" in part["secrets"]
    } == readers
    assert of(together, "google_secret_manager_secret.this") == {}


def test_the_bucket_tells_nobody_unless_it_is_told_whom(apart: Plan):
    assert of(apart, "google_storage_notification.bucket") == {}
    assert of(apart, "google_pubsub_subscription.bucket") == {}
    assert apart["output.bucket_sender"] == ""


def test_the_bucket_tells_the_door_of_what_was_written(platform: Terraform):
    """As the door takes it: written objects of tenants, unwrapped, by a token that `kuznia senders add` lets in."""
    url = "https://kuznia.example.com/events"
    plan = platform.plan("minimal", events_url=url)
    (told,) = of(plan, "google_storage_notification.bucket").values()
    assert told["event_types"] == [notification.WRITTEN]
    assert (told["payload_format"], told["object_name_prefix"]) == (notification.FORMAT, f"{places.TENANTS}/")
    assert told["topic"] == "google_pubsub_topic/kuznia-bucket"
    (subscription,) = of(plan, "google_pubsub_subscription.bucket").values()
    (push,) = subscription["push_config"]
    account = "kuznia-bucket@project.iam.gserviceaccount.com"
    assert push["push_endpoint"] == url
    assert push["no_wrapper"] == [{"write_metadata": True}]
    assert push["oidc_token"] == [{"audience": url, "service_account_email": account}]
    assert url.endswith(ingress.PATH)
    words = plan["output.bucket_sender"].split()
    assert words[:4] == ["kuznia", "senders", "add", "bucket"]
    said = dict(zip(words[4::2], words[5::2], strict=True))
    assert senders.faults("bucket", [said["--event"]], [said["--source"]]) == []
    assert google.faults(said["--google-account"], said["--audience"]) == []
    assert said["--source"] == f"{notification.SOURCE}my-kuznia-project-kuznia-artifacts"


def test_alerts_watch_dead_letters_age_and_findings(together: Plan):
    policies = of(together, "google_monitoring_alert_policy.dead_letters") | {
        name: together[f"google_monitoring_alert_policy.{name}"] for name in ("oldest_unacked", "doctor")
    }
    text = json.dumps(policies)
    for name in discover():
        assert name in text
    for metric in ("dead_letter_message_count", "oldest_unacked_message_age", "kuznia_doctor_findings"):
        assert metric in text


def test_the_budget_is_made_where_there_is_an_account(together: Plan, apart: Plan):
    assert "google_billing_budget.this[0]" not in together
    assert apart["google_billing_budget.this[0]"]["amount"][0]["specified_amount"][0]["units"] == "2000"


def test_push_goes_to_a_service_each_unwrapped_with_a_token(pushed: Plan):
    launching = {"training", "validation", "deployment", "engines"}
    assert set(of(pushed, "google_cloud_run_v2_service.service")) == set(discover()) - launching
    for name, value in of(pushed, "google_pubsub_subscription.heard").items():
        service = name.split(".")[0]
        if service in launching:
            assert (value["push_config"], value["ack_deadline_seconds"]) == ([], 10)
            continue
        assert value["ack_deadline_seconds"] == 600
        (push,) = value["push_config"]
        assert push["push_endpoint"] == f"google_cloud_run_v2_service/kuznia-{service}/{service}"
        assert push["no_wrapper"] == [{"write_metadata": True}]
        assert push["oidc_token"][0]["service_account_email"] == "kuznia-push@project.iam.gserviceaccount.com"
    for value in of(pushed, "google_cloud_run_v2_service.service").values():
        assert value["ingress"] == "INGRESS_TRAFFIC_INTERNAL_ONLY"
        (container,) = value["template"][0]["containers"]
        environment = {variable["name"]: variable["value"] for variable in container["env"]}
        assert (
            value["custom_audiences"]
            == [environment["KUZNIA_PUSH_AUDIENCE"]]
            == [push["oidc_token"][0]["audience"]]
        )
        assert container["args"] == ["push", value["name"].removeprefix("kuznia-")]


def test_every_variable_that_is_set_is_one_that_the_code_reads(pushed: Plan):
    read = "".join(path.read_text() for path in (TERRAFORM.parents[1] / "shared").rglob("*.py"))
    read += "KUZNIA_HOST KUZNIA_PORT"  # put together of a prefix and a name, in shared/settings.py
    for value in of(pushed, "google_cloud_run_v2_service.service").values():
        names = {variable["name"] for variable in value["template"][0]["containers"][0]["env"]}
        assert {name for name in names if name not in read} == set()


def test_what_nobody_pushes_is_done_by_the_reconciler(pushed: Plan, apart: Plan):
    found = roles(pushed, member(pushed, "part", "reconciler"))
    served = [discover()[name] for name in of(pushed, "google_cloud_run_v2_service.service")]
    assert {on for role, on in found if role == "roles/pubsub.publisher"} == {
        f"google_pubsub_topic/{event}" for service in served for event in (*service.hears, *service.says)
    }
    assert ("roles/container.clusterViewer", "project") not in found
    assert "reconciler" not in of(apart, "google_service_account.part")


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"project": "UPPER"}, "project must be a project id"),
        ({"zones": ["us-east1-b"]}, "zones must name at least one zone"),
        ({"tenants": ["Team X"]}, "A tenant has 1 to 40"),
        ({"tenants": ["a", "a-api"]}, "namespaces would collide"),
        ({"tenants": ["kube-x"]}, "are namespaces of others"),
        ({"delivery": "push"}, "needs layout"),
        ({"control_image": "repository/control:1"}, "a tag may be moved"),
        ({"environment": {"HF_TOKEN": "x"}}, "A secret must not stand in environment"),
        ({"events_url": "http://kuznia.example.com/events"}, "https:// URL that ends in /events"),
        ({"secrets": {"engine-secret": {}}}, "made where it is needed"),
        ({"operators": ["allUsers"]}, "nobody public"),
        ({"audit_retention_days": 30}, "audit_retention_days must be 183"),
        ({"secrets": {"x": {"tenants": ["nobody"]}}}, "secrets names a tenant"),
        ({"secrets": {"x": {"parts": ["status"]}}}, "secrets names a part"),
    ],
)
def test_a_wrong_variable_is_told(platform: Terraform, variables: dict[str, object], told: str):
    done = platform.try_plan("minimal", **variables)
    assert done.returncode == 1
    assert told in " ".join(done.stderr.replace("│", "").split())
