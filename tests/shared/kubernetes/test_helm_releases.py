"""Real helm with the real chart, against the API server of this repository: made, made again, mended, taken away."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Reject, Retry, Unknown
from shared.kubernetes.fake.core import Core
from shared.kubernetes.fake.server import Answer, ApiServer, Request
from shared.kubernetes.kinds import SERVICE, Ref
from shared.kubernetes.releases import helm as module
from shared.kubernetes.releases.helm import HelmReleaser
from shared.kubernetes.releases.program import Helm
from shared.ports.cluster import Workload
from tests.shared.kubernetes.helming import Cluster, NoOutputs, served
from tests.shared.kubernetes.releasing import KEY, NAME, NAMESPACE, keys, server, settings

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(helm: str) -> Iterator[Cluster]:
    with served(helm) as found:
        yield found


def test_installed_upgraded_and_taken_away(cluster: Cluster):
    cluster.releaser().apply(server())
    made = cluster.deployment()
    assert made is not None
    assert made["spec"]["template"]["spec"]["serviceAccountName"] == "engine"
    assert cluster.core.find(Ref(SERVICE, NAMESPACE, NAME)) is not None
    assert [name for _, name in cluster.objects.held] == [f"{NAME}-key"]
    cluster.api.requests.clear()
    cluster.releaser().apply(server())
    asked = {request.method for request in cluster.api.requests}
    assert asked == {"GET"}, "the same again changes nothing"

    cluster.releaser(priority_class="serving").apply(server())
    upgraded = cluster.deployment()
    assert upgraded is not None
    assert upgraded["spec"]["template"]["spec"]["priorityClassName"] == "serving"
    assert cluster.revisions() == ["superseded", "deployed"]
    cluster.helm("rollback", NAME, "1")
    assert "priorityClassName" not in cluster.deployment()["spec"]["template"]["spec"]  # type: ignore[index]
    assert cluster.revisions() == ["superseded", "superseded", "deployed"]

    cluster.releaser().stop(NAME, NAMESPACE)
    assert (cluster.deployment(), cluster.revisions(), cluster.objects.held) == (None, [], {})
    cluster.releaser().stop(NAME, NAMESPACE)


def test_another_workload_under_the_name_is_refused(cluster: Cluster):
    cluster.releaser().apply(server())
    with pytest.raises(Reject, match=f"another workload is released as {NAME}"):
        cluster.releaser().apply(server(engine="llamafactory"))
    assert cluster.revisions() == ["deployed"]


def test_no_key_lies_where_it_can_be_read(cluster: Cluster):
    cluster.releaser().apply(server())
    assert KEY not in cluster.helm("get", "all", NAME)


def test_what_the_cluster_refuses_leaves_what_stood(cluster: Cluster):
    releaser = cluster.releaser(priority_class="none")
    cluster.api.before = refusing("deployments")
    with pytest.raises(Reject, match="the cluster refuses"):
        releaser.apply(server())
    assert (cluster.revisions(), cluster.deployment()) == ([], None)

    cluster.api.before = lambda _request: None
    cluster.releaser().apply(server())
    cluster.api.before = refusing("deployments", times=1)
    with pytest.raises(Reject, match="the cluster refuses"):
        releaser.apply(server())
    assert cluster.revisions()[-1] == "deployed"
    assert "priorityClassName" not in cluster.deployment()["spec"]["template"]["spec"]  # type: ignore[index]


def refusing(plural: str, times: int = 100) -> Callable[[Request], Answer | None]:
    left = [times]

    def before(request: Request) -> Answer | None:
        if request.method != "PATCH" or f"/{plural}/" not in request.path or not left[0]:
            return None
        left[0] -= 1
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Invalid", "code": 422}
        return Answer(422, {**status, "message": f"{plural} is invalid: spec: Invalid value"})

    return before


class TestHalfWay:
    """Helm was killed, and left a release that no helm would touch."""

    def test_an_install(self, cluster: Cluster):
        killed(cluster, server())
        assert cluster.revisions() == ["pending-install"]
        with pytest.raises(Retry, match="another helm is at work on it") as told:
            cluster.releaser().apply(server())
        assert 0 < (told.value.after or 0) <= 60
        cluster.clock.ahead = timedelta(minutes=5)
        cluster.releaser().apply(server())
        assert cluster.revisions() == ["deployed"]

    def test_an_upgrade(self, cluster: Cluster):
        cluster.releaser().apply(server())
        killed(cluster, server(), priority_class="serving")
        assert cluster.revisions() == ["deployed", "pending-upgrade"]
        cluster.clock.ahead = timedelta(minutes=5)
        cluster.releaser(priority_class="serving").apply(server())
        assert cluster.revisions()[-1] == "deployed"
        assert cluster.deployment()["spec"]["template"]["spec"]["priorityClassName"] == "serving"  # type: ignore[index]

    def test_it_is_stopped_at_once(self, cluster: Cluster):
        killed(cluster, server())
        cluster.releaser().stop(NAME, NAMESPACE)
        assert (cluster.revisions(), cluster.deployment()) == ([], None)


def killed(cluster: Cluster, workload: Workload, **more: Any) -> None:
    """Kill -9 the helm of a release as it is about to make the Deployment."""
    told = threading.Event()
    go_on = threading.Event()

    def before(request: Request) -> Answer | None:
        if request.method == "PATCH" and "/deployments/" in request.path:
            told.set()
            go_on.wait(30)
            return Answer(503, {"kind": "Status", "message": "gone"})
        return None

    cluster.api.before = before
    faults: list[Exception] = []

    def release() -> None:
        try:
            cluster.releaser(**more).apply(workload)
        except (Retry, Unknown, Reject) as error:
            faults.append(error)

    thread = threading.Thread(target=release)
    thread.start()
    assert told.wait(30)
    for pid in children(cluster.program):
        os.kill(pid, signal.SIGKILL)
    cluster.api.before = lambda _request: None
    go_on.set()
    thread.join()
    assert faults


def children(program: str) -> list[int]:
    """Processes of ours that run this program."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(stat[1]) == os.getpid() and (folder / "exe").readlink() == Path(program).resolve():
                found.append(int(folder.name))
        except (OSError, ValueError, IndexError):
            continue
    return found


class TestNoAnswer:
    def test_what_was_done_all_the_same_is_read_back(self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
        def change(self: Helm, words: list[str], values: dict[str, Any] | None = None) -> None:
            original(self, words, values)
            raise Unknown("helm upgrade did not end within 10 s")

        original = Helm.change
        monkeypatch.setattr(Helm, "change", change)
        cluster.releaser().apply(server())
        cluster.releaser().stop(NAME, NAMESPACE)
        assert cluster.revisions() == []

    def test_what_was_not_done_stays_unknown(self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
        def change(self: Helm, words: list[str], values: dict[str, Any] | None = None) -> None:
            raise Unknown("helm upgrade did not end within 10 s")

        cluster.releaser().apply(server("serve-other"))
        monkeypatch.setattr(Helm, "change", change)
        with pytest.raises(Unknown):
            cluster.releaser().apply(server())
        with pytest.raises(Unknown):
            cluster.releaser().stop("serve-other", NAMESPACE)

    def test_no_cluster(self, cluster: Cluster):
        chosen = settings(url="http://127.0.0.1:1")
        releaser = HelmReleaser(chosen, keys(cluster.objects), cluster.clock, Helm(chosen, cluster.program))
        began = time.monotonic()
        with pytest.raises(Retry, match="the cluster cannot be reached"):
            releaser.apply(server())
        with pytest.raises(Retry, match="the cluster cannot be reached"):
            releaser.stop(NAME, NAMESPACE)
        assert time.monotonic() - began < 60


def test_a_namespace_that_is_not_there(cluster: Cluster):
    cluster.core = Core(lambda: datetime.now(UTC))
    cluster.api._server = ApiServer(cluster.core, NoOutputs())
    with pytest.raises(Reject, match="add the tenant"):
        cluster.releaser().apply(server())


def test_a_moment_of_helms():
    assert module._moment("2026-11-23T10:40:57.624157417Z") == datetime(2026, 11, 23, 10, 40, 57, 624157, UTC)
    assert module._moment("") is None
