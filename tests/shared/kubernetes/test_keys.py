"""Jobs that ask engines: they get their keys as files of a Secret that ends with them, and a way to their tenant's engines."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from shared.errors import Reject
from shared.kubernetes.api import RestApi
from shared.kubernetes.fake.cluster import FakeCluster
from shared.kubernetes.fake.transport import MemoryTransport
from shared.kubernetes.kinds import SECRET, Ref
from shared.kubernetes.making import Maker, PlainReleaser
from shared.kubernetes.manifests import manifests
from shared.kubernetes.manifests.keys import keepers
from shared.kubernetes.releases.values import values_of
from shared.local.clock import SystemClock
from shared.ports.cluster import Limits, Workload
from tests import kubernetes_checks as checks
from tests.shared.kubernetes.releasing import server
from tests.shared.kubernetes.workloads import settings, training

NAME = "judge-team-x-qa-1-0-1"
HELM = {"releases": "helm", "chart": "charts/llama-factory-api"}


def judge(*asked: str) -> Workload:
    """As services/deployment asks for it."""
    engines = [
        {"version": "1.0.0", "address": f"{keeper}.team-x-api:8000", "model": "qa", "keeper": keeper}
        for keeper in asked or ("serve-1", "serve-2")
    ]
    return Workload(
        name=NAME,
        service="deployment",
        key="releases/team-x.qa.v1",
        kind="job",
        module="services.deployment.judge",
        document={"engines": engines, "resources": {"gpu": "none", "memory_gb": 1}, "cause": "e-1"},
        limits=Limits(deadline_seconds=3600),
        labels={"tenant": "team-x", "model": "team-x.qa.v1", "version": "1.1.0"},
    )


def pod_of(manifest: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The container and the volumes."""
    if manifest["kind"] == "Workflow":
        step = manifest["spec"]["templates"][0]
        return step["container"], step["volumes"]
    spec = manifest["spec"]["template"]["spec"]
    return spec["containers"][0], spec["volumes"]


@pytest.mark.parametrize("orchestrator", ["job", "argo"])
class TestPod:
    def test_it_reads_the_keys_as_files(self, orchestrator: str):
        container, volumes = pod_of(manifests(judge(), settings(orchestrator=orchestrator, **HELM))[0])
        (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "keys"]
        assert {"name": "KUZNIA_ENGINE_KEYS", "value": mount["mountPath"]} in container["env"]
        assert mount["readOnly"]
        (volume,) = [volume for volume in volumes if volume["name"] == "keys"]
        assert volume["secret"] == {"secretName": f"{NAME}-keys", "defaultMode": 0o440}
        assert container["args"] == ["python", "-m", "services.deployment.judge"]
        assert "nvidia.com/gpu" not in container["resources"]["limits"], (
            "it asks for no GPU, whatever others get"
        )

    def test_others_get_none_and_plain_servers_ask_for_none_that_is_known(self, orchestrator: str):
        for workload, changed in ((training(), HELM), (judge(), {})):
            container, volumes = pod_of(
                manifests(workload, settings(orchestrator=orchestrator, **changed))[0]
            )
            names = [each["name"] for each in (*container["env"], *container["volumeMounts"], *volumes)]
            assert not {"keys", "KUZNIA_ENGINE_KEYS"} & set(names)

    def test_it_is_valid_in_every_version(
        self, orchestrator: str, capability: Callable[[str, bool, str], None]
    ):
        capability("kubernetes-validate", checks.available(), checks.NEEDS)
        assert checks.faults(manifests(judge(), settings(orchestrator=orchestrator, **HELM))) == []


class TestNetwork:
    def test_it_may_speak_to_its_tenant_s_engines(self):
        (policy,) = [
            each
            for each in manifests(judge(), settings(**HELM))[1:]
            if each["metadata"]["name"] == "kuznia-askers-team-x"
        ]
        assert (policy["metadata"]["namespace"], policy["spec"]["policyTypes"]) == ("team-x", ["Egress"])
        labels = manifests(judge(), settings())[0]["spec"]["template"]["metadata"]["labels"]
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
        (rule,) = policy["spec"]["egress"]
        (peer,) = rule["to"]
        assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "team-x-api"}
        assert rule["ports"] == [{"protocol": "TCP", "port": 8000}]

    def test_trainings_may_not(self):
        names = [each["metadata"]["name"] for each in manifests(training(), settings(**HELM))]
        assert "kuznia-askers-team-x" not in names
        selected = manifests(judge(), settings())[-1]["spec"]["podSelector"]["matchLabels"]
        others = manifests(training(), settings())[0]["spec"]["template"]["metadata"]["labels"]
        assert not selected.items() <= others.items()

    def test_and_engines_of_the_chart_let_it_in(self):
        (rule,) = values_of(server(), settings(**HELM))["networkPolicy"]["extraIngress"]
        (sender,) = rule["from"]
        assert sender["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "team-x"}
        asking = manifests(judge(), settings())[0]["spec"]["template"]["metadata"]["labels"]
        assert sender["podSelector"]["matchLabels"].items() <= asking.items()

    def test_without_policies_there_is_none(self):
        assert len(manifests(judge(), settings(network_policy=False))) == 1


class Keyed(PlainReleaser):
    """Knows keys, as those that release charts do."""

    def key(self, name: str) -> str:
        return f"key of {name}"


class TestSecret:
    def made(self, **changed: Any) -> tuple[RestApi, FakeCluster, Maker]:
        fake = FakeCluster(SystemClock().now)
        for name in ("kuznia", "team-x", "team-x-api"):
            fake.namespace(name)
        api, options = RestApi(MemoryTransport(fake)), settings(**changed)
        return api, fake, Maker(api, options, Keyed(api, options))

    @pytest.mark.parametrize("orchestrator", ["job", "argo"])
    def test_it_holds_the_keys_and_ends_with_the_job(self, orchestrator: str):
        api, fake, maker = self.made(orchestrator=orchestrator, **HELM)
        for _ in range(2):  # a crash in between is made good by the same again
            maker.make(judge())
        ref = Ref(SECRET, "team-x", f"{NAME}-keys")
        secret = api.read(ref)
        assert secret is not None
        data = {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
        assert data == {"serve-1": "key of serve-1", "serve-2": "key of serve-2"}
        main = maker.main(judge()).ref(NAME)
        job = api.read(main)
        assert job is not None
        (owner,) = secret["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"]) == (job["kind"], job["metadata"]["uid"])
        assert "key of" not in str(job)
        api.delete(main)
        fake.settle()
        assert api.read(ref) is None

    def test_there_is_none_where_nobody_is_asked_or_servers_are_plain(self):
        for workload, changed in ((training(), HELM), (judge(), {})):
            api, _, maker = self.made(**changed)
            maker.make(workload)
            assert api.list(SECRET, "team-x").items == []

    def test_a_plain_server_s_key_is_not_known(self):
        api, _, _ = self.made()
        with pytest.raises(Reject, match="the key of serve-1 is not known here"):
            PlainReleaser(api, settings()).key("serve-1")


def test_two_versions_in_one_engine_have_one_key():
    assert keepers(judge("engine-7", "engine-7")) == ["engine-7"]
    assert keepers(server()) == []
