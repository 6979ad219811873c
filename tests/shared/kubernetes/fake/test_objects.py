"""Objects of the fake API server: versions, conflicts, selectors, patches, server-side apply, deletion."""

from __future__ import annotations

import pytest

from tests.shared.kubernetes.fake.requests import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    JOBS,
    PODS,
    Hands,
    config_map,
    deployment,
    job,
    pod,
)


@pytest.fixture
def hands() -> Hands:
    return Hands()


def test_a_new_object_gets_what_only_the_server_gives(hands: Hands):
    made = hands.create(CONFIG_MAPS, config_map(a="1"))
    metadata = made["metadata"]
    assert metadata["namespace"] == "default"
    assert metadata["creationTimestamp"] == "2030-01-01T00:00:00Z"
    assert metadata["uid"]
    assert int(metadata["resourceVersion"]) > 0
    assert hands.get(f"{CONFIG_MAPS}/settings") == made


def test_a_name_is_taken_once(hands: Hands):
    hands.create(CONFIG_MAPS, config_map())
    answer = hands.create(CONFIG_MAPS, config_map(), 409)
    assert (answer["reason"], answer["status"]) == ("AlreadyExists", "Failure")


def test_names_may_be_made(hands: Hands):
    wish = {"metadata": {"generateName": "log-"}}
    names = {hands.create(CONFIG_MAPS, wish)["metadata"]["name"] for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith("log-") for name in names)


def test_what_is_not_there(hands: Hands):
    for method, path in (
        ("GET", f"{CONFIG_MAPS}/absent"),
        ("DELETE", f"{CONFIG_MAPS}/absent"),
        ("GET", "/api/v1/moons"),
        ("GET", "/apis/moon/v1/moons"),
        ("POST", "/api/v1/namespaces/absent/configmaps"),
    ):
        answer = hands.ask(method, path, config_map() if method == "POST" else None)
        assert (answer.code, answer.body["reason"]) == (404, "NotFound")


def test_a_stale_write_is_a_conflict(hands: Hands):
    made = hands.create(CONFIG_MAPS, config_map(a="1"))
    hands.merge(f"{CONFIG_MAPS}/settings", {"data": {"a": "2"}})
    assert hands.ask("PUT", f"{CONFIG_MAPS}/settings", {**made, "data": {"a": "3"}}).code == 409
    patch = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"a": "4"}}
    hands.merge(f"{CONFIG_MAPS}/settings", patch, 409)
    assert hands.get(f"{CONFIG_MAPS}/settings")["data"] == {"a": "2"}


def test_a_write_that_changes_nothing_is_no_change(hands: Hands):
    made = hands.create(CONFIG_MAPS, config_map(a="1"))
    assert hands.merge(f"{CONFIG_MAPS}/settings", {"data": {"a": "1"}}) == made
    assert hands.ask("PUT", f"{CONFIG_MAPS}/settings", made).body == made


def test_status_is_written_apart_and_a_generation_counts_specs(hands: Hands):
    hands.create(JOBS, job(suspend=True))
    path = f"{JOBS}/fit"
    before = hands.get(path)
    hands.merge(path, {"status": {"failed": 9}})
    assert "failed" not in hands.get(path)["status"]
    hands.merge(f"{path}/status", {"status": {"failed": 9}, "spec": {"suspend": False}})
    after = hands.get(path)
    assert (after["status"]["failed"], after["spec"]["suspend"]) == (9, True)
    assert after["metadata"]["generation"] == before["metadata"]["generation"] == 1
    assert hands.merge(path, {"spec": {"suspend": False}})["metadata"]["generation"] == 2


def test_lists_know_labels_fields_and_namespaces(hands: Hands):
    for name, labels in (("a", {"x": "1"}), ("b", {"x": "2", "y": ""}), ("c", {})):
        hands.create(CONFIG_MAPS, {"metadata": {"name": name, "labels": labels}})
    hands.create(
        "/api/v1/namespaces/kube-system/configmaps", {"metadata": {"name": "a", "labels": {"x": "1"}}}
    )

    def names(path: str, **query: str) -> list[str]:
        return [item["metadata"]["name"] for item in hands.get(path, **query)["items"]]

    assert names(CONFIG_MAPS) == ["a", "b", "c"]
    for selector, found in {
        "x=1": ["a"],
        "x!=1": ["b", "c"],
        "x": ["a", "b"],
        "!x": ["c"],
        "x in (1, 2),y": ["b"],
        "x notin (1)": ["b", "c"],
    }.items():
        assert names(CONFIG_MAPS, labelSelector=selector) == found, selector
    assert names(CONFIG_MAPS, fieldSelector="metadata.name=b") == ["b"]
    assert names("/api/v1/configmaps", labelSelector="x=1") == ["a", "a"]
    assert hands.ask("GET", CONFIG_MAPS, labelSelector="x >< 1").code == 400


def test_faults_are_told_all_at_once(hands: Hands):
    wrong = job(
        podFailurePolicy={"rules": [{"action": "Dance", "onExitCodes": {"operator": "In", "values": [0]}}]}
    )
    wrong["metadata"] = {
        "name": "Not A Name",
        "labels": {"x": "y" * 64},
        "annotations": {"big": "x" * 300_000},
    }
    wrong["spec"]["template"]["spec"] = {
        "restartPolicy": "Always",
        "containers": [
            {
                "name": "main",
                "volumeMounts": [{"name": "absent", "mountPath": "/x"}],
                "resources": {"limits": {"cpu": "x"}},
            }
        ],
    }
    message = hands.create(JOBS, wrong, 422)["message"]
    for word in (
        "metadata.name",
        "metadata.labels",
        "metadata.annotations: Too long",
        "'Dance'",
        "must not be 0",
        'restartPolicy: Unsupported value: "Always"',
        "image: Required",
        'Not found: "absent"',
        "limits.cpu",
    ):
        assert word in message


def test_what_may_not_change_does_not(hands: Hands):
    hands.create(JOBS, job(suspend=True))
    patch = {"spec": {"template": {"spec": {"priorityClassName": "high"}}}}
    assert (
        "spec.template: Invalid value: field is immutable"
        in hands.merge(f"{JOBS}/fit", patch, 422)["message"]
    )


class TestPatches:
    def test_json(self, hands: Hands):
        hands.create(CONFIG_MAPS, config_map(a="1", b="2"))
        steps = [
            {"op": "test", "path": "/data/a", "value": "1"},
            {"op": "add", "path": "/data/c~1d", "value": "3"},
            {"op": "remove", "path": "/data/b"},
            {"op": "replace", "path": "/data/a", "value": "9"},
        ]
        answer = hands.ask("PATCH", f"{CONFIG_MAPS}/settings", steps, "application/json-patch+json")
        assert answer.body["data"] == {"a": "9", "c/d": "3"}
        assert hands.ask("PATCH", f"{CONFIG_MAPS}/settings", steps, "application/json-patch+json").code == 422
        assert hands.get(f"{CONFIG_MAPS}/settings")["data"] == {"a": "9", "c/d": "3"}

    def test_strategic(self, hands: Hands):
        hands.create(DEPLOYMENTS, deployment(env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]))
        container = {"name": "main", "env": [{"name": "B", "value": "3"}, {"name": "A", "$patch": "delete"}]}
        patch = {"spec": {"template": {"spec": {"containers": [container]}}}}
        kind = "application/strategic-merge-patch+json"
        answer = hands.ask("PATCH", f"{DEPLOYMENTS}/web", patch, kind)
        main = answer.body["spec"]["template"]["spec"]["containers"][0]
        assert (main["image"], main["env"]) == ("trainer:1", [{"name": "B", "value": "3"}])

    def test_no_such(self, hands: Hands):
        hands.create(CONFIG_MAPS, config_map())
        assert hands.ask("PATCH", f"{CONFIG_MAPS}/settings", {}, "text/plain").code == 415


class TestServerSideApply:
    PATH = f"{CONFIG_MAPS}/settings"

    def test_it_makes_and_takes_away_what_nobody_says_any_more(self, hands: Hands):
        hands.apply(self.PATH, config_map(a="1", b="2"), "one", 201)
        hands.apply(self.PATH, config_map(c="3"), "two")
        assert hands.apply(self.PATH, config_map(a="1"), "one")["data"] == {"a": "1", "c": "3"}

    def test_what_another_says_otherwise_is_a_conflict_unless_it_is_forced(self, hands: Hands):
        hands.apply(self.PATH, config_map(a="1"), "one", 201)
        message = hands.apply(self.PATH, config_map(a="2"), "two", 409)["message"]
        assert message == 'Apply failed with 1 conflict: conflict with "one": .data.a'
        assert hands.apply(self.PATH, config_map(a="2"), "two", force=True)["data"] == {"a": "2"}
        assert hands.apply(self.PATH, config_map(), "one")["data"] == {"a": "2"}, "it is two's now"

    def test_two_may_say_the_same(self, hands: Hands):
        hands.apply(self.PATH, config_map(a="1"), "one", 201)
        hands.apply(self.PATH, config_map(a="1"), "two")
        assert hands.apply(self.PATH, config_map(), "one")["data"] == {"a": "1"}

    def test_a_write_of_another_kind_takes_a_field_over(self, hands: Hands):
        hands.apply(self.PATH, config_map(a="1"), "one", 201)
        hands.merge(self.PATH, {"data": {"a": "2"}}, fieldManager="hand")
        assert 'conflict with "hand"' in hands.apply(self.PATH, config_map(a="1"), "one", 409)["message"]

    def test_items_of_lists_are_known_by_their_keys(self, hands: Hands):
        path = f"{DEPLOYMENTS}/web"
        hands.apply(path, deployment(env=[{"name": "A", "value": "1"}]), "one", 201)
        extra = {"name": "main", "env": [{"name": "B", "value": "2"}]}
        wish = deployment()
        wish["spec"] = {"template": {"spec": {"containers": [extra]}}}
        made = hands.apply(path, wish, "two")
        assert [each["name"] for each in made["spec"]["template"]["spec"]["containers"][0]["env"]] == [
            "A",
            "B",
        ]
        fields = {each["manager"]: each["fieldsV1"] for each in made["metadata"]["managedFields"]}
        assert 'k:{"name":"main"}' in fields["two"]["f:spec"]["f:template"]["f:spec"]["f:containers"]
        made = hands.apply(path, deployment(), "one")
        assert [each["name"] for each in made["spec"]["template"]["spec"]["containers"][0]["env"]] == ["B"]


class TestDeletion:
    def test_finalizers_hold_it(self, hands: Hands):
        held = config_map() | {"metadata": {"name": "settings", "finalizers": ["a/b"]}}
        hands.create(CONFIG_MAPS, held)
        assert "deletionTimestamp" in hands.delete(f"{CONFIG_MAPS}/settings")["metadata"]
        hands.merge(f"{CONFIG_MAPS}/settings", {"metadata": {"finalizers": None}})
        assert hands.ask("GET", f"{CONFIG_MAPS}/settings").code == 404

    def test_preconditions(self, hands: Hands):
        hands.create(CONFIG_MAPS, config_map())
        hands.delete(f"{CONFIG_MAPS}/settings", 409, preconditions={"uid": "another"})
        hands.delete(f"{CONFIG_MAPS}/settings")

    @pytest.mark.parametrize("propagation", ["Background", "Foreground"])
    def test_what_is_owned_goes_too(self, hands: Hands, propagation: str):
        hands.create(JOBS, job())
        hands.cluster.settle()
        assert len(hands.get(PODS)["items"]) == 1
        hands.delete(f"{JOBS}/fit", propagationPolicy=propagation)
        hands.pass_(1)
        assert hands.get(PODS)["items"] == hands.get(JOBS)["items"] == []

    def test_orphans_stay(self, hands: Hands):
        hands.create(JOBS, job())
        hands.cluster.settle()
        hands.delete(f"{JOBS}/fit", propagationPolicy="Orphan")
        hands.pass_(1)
        (left,) = hands.get(PODS)["items"]
        assert left["metadata"]["ownerReferences"] == []

    def test_a_namespace_takes_all_along(self, hands: Hands):
        hands.create("/api/v1/namespaces", {"metadata": {"name": "acme"}})
        hands.create("/api/v1/namespaces/acme/configmaps", config_map())
        hands.create("/api/v1/namespaces/acme/pods", pod())
        hands.cluster.settle()
        hands.merge("/api/v1/namespaces/acme", {"metadata": {"finalizers": ["a/b"]}})
        hands.delete("/api/v1/namespaces/acme")
        assert hands.ask("POST", "/api/v1/namespaces/acme/configmaps", config_map("new")).code == 403
        hands.pass_(31)
        assert hands.ask("GET", "/api/v1/namespaces/acme").code == 404

    def test_all_that_a_selector_selects(self, hands: Hands):
        for name, labels in (("a", {"x": "1"}), ("b", {"x": "1"}), ("c", {})):
            hands.create(CONFIG_MAPS, {"metadata": {"name": name, "labels": labels}})
        assert hands.ask("DELETE", CONFIG_MAPS, labelSelector="x=1").code == 200
        assert [item["metadata"]["name"] for item in hands.get(CONFIG_MAPS)["items"]] == ["c"]
