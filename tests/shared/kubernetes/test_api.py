"""The API of Kubernetes in our four words, over a cluster in memory; and the official client over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import pytest

from shared.errors import Conflict, KuzniaError, Reject, Retry, Unknown
from shared.kubernetes.api import Absent, Call, Gone, Response, RestApi
from shared.kubernetes.fake.cluster import FakeCluster
from shared.kubernetes.fake.faults import PlannedFaults
from shared.kubernetes.fake.service import FakeService
from shared.kubernetes.fake.transport import MemoryTransport
from shared.kubernetes.kinds import CONFIG_MAP, POD, Ref, ref_of
from shared.kubernetes.settings import KubernetesSettings

MAP = Ref(CONFIG_MAP, "default", "settings")


def manifest(name: str = "settings", **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "labels": {"x": "1"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


class World:
    """An API, and what may go wrong with it."""

    def __init__(self, api: RestApi, cluster: FakeCluster) -> None:
        self.api = api
        self.cluster = cluster
        self.faults = PlannedFaults()
        cluster.server.faults = self.faults


def in_memory() -> Iterator[World]:
    cluster = FakeCluster(lambda: datetime(2030, 1, 1, tzinfo=UTC))
    yield World(RestApi(MemoryTransport(cluster)), cluster)


def over_http() -> Iterator[World]:
    service = FakeService()
    service.start()
    api = import_module("shared.kubernetes.client").open_api(KubernetesSettings(url=service.url))
    yield World(api, service.cluster)
    api.close()
    service.close()


@pytest.fixture(params=["memory", pytest.param("http", marks=pytest.mark.slow)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    yield from (in_memory() if request.param == "memory" else over_http())


def test_objects_come_and_go(world: World):
    api = world.api
    assert api.read(MAP) is None
    api.create(manifest(a="1"))
    with pytest.raises(Conflict, match="already exists"):
        api.create(manifest())
    assert api.apply(manifest(a="2"))["data"] == {"a": "2"}
    patched = api.merge(MAP, {"data": {"b": "3"}})
    assert patched
    assert patched["data"] == {"a": "2", "b": "3"}
    with pytest.raises(Conflict):
        api.merge(MAP, {"metadata": {"resourceVersion": "1"}, "data": {"b": "4"}})
    listed = api.list(CONFIG_MAP, labels="x=1")
    assert [(item["kind"], item["apiVersion"], item["data"]) for item in listed.items] == [
        ("ConfigMap", "v1", {"a": "2", "b": "3"})
    ]
    api.delete(MAP)
    api.delete(MAP)
    assert api.merge(MAP, {}) is None
    assert api.list(CONFIG_MAP, "default", fields="metadata.name=settings").items == []


def test_a_watch_tells_what_changed(world: World):
    revision = world.api.list(CONFIG_MAP).revision
    world.api.create(manifest())
    world.api.delete(MAP)
    heard: list[str] = []
    for change, _ in world.api.watch(CONFIG_MAP, revision, "x=1", 1):
        heard.append(change)
        if change == "DELETED":
            break
    assert heard == ["ADDED", "DELETED"]


def test_a_watch_that_lags_behind_is_told_so(world: World):
    world.api.create(manifest())
    world.cluster.compact()
    with pytest.raises(Gone):
        list(world.api.watch(CONFIG_MAP, "1", "", 1))
    world.faults.plan("gone", "watch", "configmaps")
    with pytest.raises(Gone):
        list(world.api.watch(CONFIG_MAP, world.api.list(CONFIG_MAP).revision, "", 1))


@pytest.mark.parametrize(
    ("fault", "reading", "writing"),
    [
        ("429", Retry, Retry),
        ("503", Retry, Retry),
        ("403", Retry, Retry),
        ("500", Retry, Unknown),
        ("422", Reject, Reject),
        ("409", Conflict, Conflict),
        ("lost", Retry, Unknown),
    ],
)
def test_failures_are_told_in_our_words(
    world: World, fault: Any, reading: type[KuzniaError], writing: type[KuzniaError]
):
    world.faults.plan(fault, "get", "configmaps")
    with pytest.raises(reading) as read:
        world.api.read(MAP)
    assert type(read.value) is reading
    world.faults.plan(fault, "create", "configmaps")
    with pytest.raises(writing) as wrote:
        world.api.create(manifest())
    assert type(wrote.value) is writing
    assert "create ConfigMap settings in namespace default: " in str(wrote.value)
    assert (world.api.read(MAP) is not None) == (fault == "lost")


def test_how_long_to_wait_and_how_to_mend(world: World):
    world.faults.plan("429", "get", "configmaps")
    with pytest.raises(Retry) as busy:
        world.api.read(MAP)
    assert busy.value.after == 1
    world.faults.plan("403", "get", "configmaps")
    with pytest.raises(Retry, match="charts/kuznia grants the role"):
        world.api.read(MAP)
    elsewhere = manifest()
    elsewhere["metadata"]["namespace"] = "absent"
    with pytest.raises(Retry, match=r'namespaces "absent" not found .*is its namespace'):
        world.api.create(elsewhere)


class Answering:
    """A transport with one answer to all."""

    def __init__(self, code: int, message: str) -> None:
        self.answer = Response(code=code, body={"message": message})

    def send(self, call: Call) -> Response:
        return self.answer

    def stream(self, call: Call) -> Iterator[Response]:
        yield self.answer

    def close(self) -> None:
        pass


def test_a_policy_s_verdict_is_final_and_a_missing_right_is_not():
    denied = 'admission webhook "policy.example.com" denied the request: images come from our registry'
    with pytest.raises(Reject, match="images come from our registry"):
        RestApi(Answering(403, denied)).create(manifest())
    with pytest.raises(Retry, match="grants the role"):
        RestApi(Answering(403, 'configmaps is forbidden: User "x" cannot create')).create(manifest())


def test_a_definition_that_is_too_old_says_so():
    told = 'strict decoding error: unknown field "spec.failurePolicy.rules[0].onJobFailureMessagePatterns"'
    with pytest.raises(Reject, match=r"onJobFailureMessagePatterns.*is older than what is asked of it"):
        RestApi(Answering(400, told)).create(manifest())


def test_a_kind_that_the_cluster_does_not_know():
    with pytest.raises(Absent):
        RestApi(Answering(404, "the server could not find the requested resource")).list(CONFIG_MAP)


def test_logs(world: World):
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one", "namespace": "default"},
        "spec": {"containers": [{"name": "main", "image": "i"}]},
    }
    assert world.api.logs("default", "one", "main", 10) is None
    world.api.create(pod)
    assert world.api.logs("default", "one", "main", 10) is None, "it has no node yet"
    world.cluster.node("node-0")
    world.cluster.settle()
    world.cluster.life(world.cluster.pods()[0]).output = "one\ntwo\nthree\n"
    assert world.api.logs("default", "one", "main", 2) == "two\nthree\n"


def test_what_a_manifest_is_of():
    assert ref_of(manifest()) == MAP
    assert str(MAP) == "ConfigMap settings in namespace default"
    with pytest.raises(Reject, match="Moon of v1 is no kind"):
        ref_of({"apiVersion": "v1", "kind": "Moon", "metadata": {"name": "x"}})
    with pytest.raises(Reject, match=r"a Pod has no metadata\.name"):
        ref_of({"apiVersion": "v1", "kind": "Pod"})


class Deaf:
    """A transport that is answered by a proxy in between."""

    def send(self, call: Call) -> Response:
        return Response(code=502, body="<html>bad gateway</html>")

    def stream(self, call: Call) -> Iterator[Response]:
        yield Response(code=502, body="<html>bad gateway</html>")

    def close(self) -> None:
        pass


def test_a_proxy_in_between():
    api = RestApi(Deaf())
    with pytest.raises(Retry, match="502 <html>"):
        api.read(MAP)
    with pytest.raises(Unknown, match="502 <html>"):
        api.apply(manifest())
    with pytest.raises(Retry, match="502 <html>"):
        list(api.watch(POD, "1", "", 1))


@pytest.mark.slow
class TestClient:
    @pytest.fixture
    def client(self) -> Any:
        return import_module("shared.kubernetes.client")

    def test_nobody_there(self, client: Any):
        api = client.open_api(KubernetesSettings(url="http://127.0.0.1:9"))
        with pytest.raises(Retry, match="Connection refused"):
            api.read(MAP)
        with pytest.raises(Retry, match="Connection refused"):
            api.create(manifest())
        with pytest.raises(Retry, match="Connection refused"):
            list(api.watch(POD, "1", "", 1))
        api.close()

    def test_no_cluster_is_known(self, client: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any):
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
        with pytest.raises(Retry, match=r"no Kubernetes cluster is known: .*set KUBECONFIG"):
            client.open_api(KubernetesSettings(context="moon"))

    def test_a_watch_ends_when_it_is_closed(self, client: Any):
        service = FakeService()
        service.start()
        api = client.open_api(KubernetesSettings(url=service.url))
        revision, begun, ended = api.list(POD).revision, threading.Event(), threading.Event()

        def listen() -> None:
            begun.set()
            with pytest.raises(Retry):
                list(api.watch(POD, revision, "", 600))
            ended.set()

        thread = threading.Thread(target=listen)
        thread.start()
        begun.wait(10)
        while not ended.wait(0.05):
            api.close()
        thread.join()
        service.close()

    def test_a_watch_that_says_no_json(self, client: Any, monkeypatch: pytest.MonkeyPatch):
        service = FakeService()
        service.start()
        api = client.open_api(KubernetesSettings(url=service.url))
        api.create(manifest())
        monkeypatch.setattr("shared.kubernetes.fake.http._encode", lambda _word: b"<html>")
        with pytest.raises(Retry, match="no JSON"):
            list(api.watch(CONFIG_MAP, "0", "", 60))
        api.close()
        service.close()

    def test_a_watch_that_is_dropped(self, client: Any):
        service = FakeService()
        faults = service.cluster.server.faults = PlannedFaults()
        service.start()
        api = client.open_api(KubernetesSettings(url=service.url))
        api.create(manifest())
        faults.plan("dropped", "watch", "configmaps")
        with pytest.raises(Retry, match="watch configmaps"):
            list(api.watch(CONFIG_MAP, "0", "", 60))
        api.close()
        service.close()
