"""What the platform really asks of the cluster, held against the rights that its chart gives: enough, and no wider."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from events.envelope import Event
from shared.kubernetes import settings as kubernetes
from shared.kubernetes.api import Call, Object, Response, RestApi
from shared.kubernetes.cluster import KubernetesCluster
from shared.kubernetes.fake.cluster import FakeCluster
from shared.kubernetes.fake.transport import MemoryTransport
from shared.kubernetes.making import PlainReleaser
from shared.local.clock import SystemClock
from shared.ports.cluster import Workload
from tests.charts.kuznia import PlatformChart
from tests.charts.rendering import NAMESPACE, Chart, Document, merged
from tests.shared.kubernetes.helming import served
from tests.shared.kubernetes.releasing import NAME, server
from tests.shared.kubernetes.releasing import NAMESPACE as SERVERS
from tests.shared.kubernetes.workloads import training

PLATFORM = "kuznia"
VALUES: dict[str, Any] = {
    "google": {"project": "my-kuznia-project", "artifacts": "gs://my-kuznia-project-artifacts"},
    "training": {"image": "kuznia-trainer:0.1.0"},
    "serving": {"image": "kuznia-engine:0.1.0"},
    "tenants": {"team-x": {}, "acme": {}},
}


class InItsNamespace(PlatformChart):
    """That for which it is meant."""

    def run(self, *words: str | Path) -> Any:
        return super().run(*[PLATFORM if word == NAMESPACE else word for word in words])


@pytest.fixture(scope="module")
def chart(helm: str, tmp_path_factory: pytest.TempPathFactory) -> Chart:
    return InItsNamespace(helm, tmp_path_factory.mktemp("kuznia"))


class Rights:
    """What an account may do, as the roles of a set of manifests say."""

    def __init__(self, documents: list[Document], account: str) -> None:
        self.rules: list[tuple[str, Mapping[str, Any]]] = []  # namespace (empty: all), rule
        roles = {(d["kind"], d["metadata"].get("namespace", ""), d["metadata"]["name"]): d for d in documents}
        for binding in documents:
            if not binding["kind"].endswith("RoleBinding"):
                continue
            namespace, ref = binding["metadata"].get("namespace", ""), binding["roleRef"]
            if {"kind": "ServiceAccount", "name": account, "namespace": PLATFORM} in binding["subjects"]:
                role = roles[ref["kind"], namespace if ref["kind"] == "Role" else "", ref["name"]]
                self.rules += [(namespace, rule) for rule in role["rules"]]

    def lacking(self, verbs: set[str], group: str, resource: str, namespace: str) -> list[str]:
        """Which of these it may not."""
        allowed = {
            verb
            for place, rule in self.rules
            if place in ("", namespace) and group in rule["apiGroups"] and resource in rule["resources"]
            for verb in rule["verbs"]
        }
        return [
            f"{verb} {resource}.{group} in {namespace or 'all namespaces'}"
            for verb in sorted(verbs - allowed)
        ]

    def refused(self, method: str, path: str, query: Mapping[str, str]) -> list[str]:
        """Of one request; empty where it may."""
        parts = path.strip("/").split("/")
        if parts[0] not in ("api", "apis") or len(parts) < (3 if parts[0] == "api" else 4):
            return []  # what everybody who is known may ask
        group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        resource = "/".join([rest[0], *rest[2:]])
        verbs = {"POST": {"create"}, "PUT": {"update"}, "DELETE": {"delete"}, "PATCH": {"patch"}}
        reads = {"get"} if len(rest) > 1 else {"watch"} if query.get("watch") else {"list"}
        wanted = set(verbs.get(method, reads))
        if method == "PATCH" and query.get("fieldManager"):
            wanted |= {"create"}  # server-side apply makes what is not there
        return self.lacking(wanted, group, resource, namespace)


class Recorded(MemoryTransport):
    """Remembers what was asked."""

    def __init__(self, cluster: FakeCluster) -> None:
        super().__init__(cluster)
        self.asked: list[tuple[str, str, Mapping[str, str]]] = []

    def send(self, call: Call) -> Response:
        self.asked.append((call.method, call.path, call.query))
        return super().send(call)

    def stream(self, call: Call) -> Iterator[Response | Object]:
        self.asked.append((call.method, call.path, call.query))
        return super().stream(call)


class World:
    """The platform's cluster over ours, with the settings that the chart gives it."""

    def __init__(self, documents: list[Document]) -> None:
        (config,) = [d for d in documents if (d["kind"], d["metadata"]["name"]) == ("ConfigMap", "kuznia")]
        self.clock = SystemClock()
        self.fake = FakeCluster(self.clock.now)
        self.fake.node("node-0", gpus="8")
        for name in (PLATFORM, "acme", "acme-api", "team-x", "team-x-api"):
            self.fake.namespace(name)
        self.transport = Recorded(self.fake)
        api, options = RestApi(self.transport), kubernetes.from_environment(config["data"])
        self.cluster = KubernetesCluster(api, options, PlainReleaser(api, options), self.publish, self.clock)

    def publish(self, events: list[Event]) -> None:
        """Nobody hears it."""

    def live(self, workload: Workload) -> None:
        """From its beginning to its end."""
        self.cluster.apply(workload)
        for _ in range(3):
            self.fake.settle()
            self.cluster.look()
        self.cluster.status(workload.name)
        self.cluster.stop(workload.name)
        for _ in range(3):
            self.fake.settle()
            self.cluster.look()


@pytest.mark.parametrize("orchestrator", ["job", "argo"])
@pytest.mark.parametrize("account", ["front", "training"])
def test_a_training(chart: Chart, orchestrator: str, account: str):
    documents = chart.documents(merged(VALUES, {"training": {"orchestrator": orchestrator}}))
    world = World(documents)
    world.live(training())
    assert len({path for _, path, _ in world.transport.asked}) > 3
    assert refusals(documents, account, world.transport.asked) == []


def test_a_training_of_several_nodes(chart: Chart):
    documents = chart.documents(VALUES)
    world = World(documents)
    world.live(training(gpu="nvidia-l4", gpus=1, nodes=2))
    assert any("jobsets" in path for _, path, _ in world.transport.asked)
    assert refusals(documents, "training", world.transport.asked) == []


def test_a_plain_server(chart: Chart):
    documents = chart.documents(merged(VALUES, {"serving": {"releases": "plain"}}))
    world = World(documents)
    world.live(server())
    assert any("deployments" in path for _, path, _ in world.transport.asked)
    assert refusals(documents, "deployment", world.transport.asked) == []


@pytest.mark.parametrize("orchestrator", ["job", "argo"])
def test_the_watch(chart: Chart, orchestrator: str):
    documents = chart.documents(merged(VALUES, {"training": {"orchestrator": orchestrator}}))
    world = World(documents)
    world.cluster.start()
    world.cluster.close()
    asked = world.transport.asked
    assert len({path for _, path, query in asked if not query.get("watch")}) >= 4
    assert refusals(documents, "front", asked) == []
    assert refusals(documents, "training", asked), "workers do not watch, and may not"


@pytest.mark.slow
@pytest.mark.parametrize("account", ["front", "deployment", "engines"])
def test_a_release_by_helm(chart: Chart, helm: str, account: str):
    documents = chart.documents(VALUES)
    with served(helm) as cluster:
        cluster.releaser().apply(server())
        cluster.releaser(priority_class="serving").apply(server())
        cluster.releaser().stop(NAME, SERVERS)
        asked = [(each.method, each.path, each.query) for each in cluster.api.requests]
    assert len(asked) > 20
    assert refusals(documents, account, asked) == []


def test_by_gitops_only_the_keys_are_written(chart: Chart):
    gitops = {"releases": "gitops", "gitops": {"repository": "https://git.example.com/d.git"}, "image": ""}
    rights = Rights(chart.documents(merged(VALUES, {"serving": gitops})), "deployment")
    assert rights.lacking({"create", "patch", "delete"}, "", "secrets", SERVERS) == []
    assert rights.lacking({"create"}, "apps", "deployments", SERVERS) == [
        f"create deployments.apps in {SERVERS}"
    ]
    assert rights.lacking({"list"}, "", "secrets", SERVERS) == [f"list secrets. in {SERVERS}"]
    jobs = SERVERS.removesuffix("-api")
    assert rights.lacking({"create", "patch"}, "", "secrets", jobs) == [], "of a job that asks engines"
    assert rights.lacking({"get"}, "", "secrets", jobs) == [f"get secrets. in {jobs}"]
    assert rights.lacking({"get"}, "argoproj.io", "applications", "argocd") == []


@pytest.mark.parametrize("account", ["cards", "registration", "webhook", "outbound", "status", "quotas"])
def test_who_launches_nothing_may_nothing(chart: Chart, account: str):
    assert Rights(chart.documents(VALUES), account).rules == []


def test_nothing_is_written_beyond_the_tenants_and_the_platform(chart: Chart):
    documents = chart.documents(VALUES)
    for role in (document for document in documents if document["kind"] == "ClusterRole"):
        for rule in role["rules"]:
            assert set(rule["verbs"]) <= {"list", "watch"}
            assert "secrets" not in rule["resources"]
    spaces = {d["metadata"]["namespace"] for d in documents if d["kind"] == "Role"}
    assert spaces == {PLATFORM, "team-x", "team-x-api", "acme", "acme-api"}
    assert not any("*" in str(d["rules"]) for d in documents if d["kind"].endswith("Role"))


def refusals(
    documents: list[Document], account: str, asked: list[tuple[str, str, Mapping[str, str]]]
) -> list[str]:
    """Each once, in order."""
    rights = Rights(documents, account)
    found = [refusal for method, path, query in asked for refusal in rights.refused(method, path, query)]
    return list(dict.fromkeys(found))
