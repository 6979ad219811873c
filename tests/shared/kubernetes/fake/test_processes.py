"""Containers that really run: paths, signals, memory, leftovers, probes."""

from __future__ import annotations

import os
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.kubernetes.fake.cluster import FakeCluster
from shared.kubernetes.fake.core import Deletion
from shared.kubernetes.fake.processes import ProcessRuntime
from shared.kubernetes.kinds import POD, Ref
from shared.local.clock import SystemClock

PATIENCE = 30.0


class Machine:
    """One node whose pods are processes."""

    def __init__(self, folder: Path) -> None:
        self.runtime = ProcessRuntime(folder, {"PATH": os.environ["PATH"], "COMMON": "1"})
        self.fake = FakeCluster(SystemClock().now, self.runtime)
        self.fake.node("node-0")

    def start(self, script: str, **more: Any) -> None:
        main = {
            "name": "main",
            "image": "i",
            "command": ["python", "-c", script],
            **more.pop("container", {}),
        }
        spec = {"restartPolicy": "Never", "containers": [main], **more}
        metadata = {"name": "one", "annotations": {"a/b": "zażółć"}}
        self.fake.core.create(POD, "default", {"metadata": metadata, "spec": spec})

    @property
    def pod(self) -> dict[str, Any]:
        return self.fake.core.read(Ref(POD, "default", "one"))

    @property
    def output(self) -> str:
        return self.runtime.output(f"{self.pod['metadata']['uid']}/main", previous=False)

    def until(self, question: Callable[[], Any]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not question():
            assert time.monotonic() < deadline, (self.pod, self.output)
            self.fake.settle()
            time.sleep(0.01)

    def ended(self) -> dict[str, Any]:
        self.until(lambda: self.pod["status"]["phase"] in {"Succeeded", "Failed"})
        found: dict[str, Any] = self.pod["status"]["containerStatuses"][0]["state"]["terminated"]
        return found


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.runtime.close()


def test_mounts_are_folders_of_the_pod(machine: Machine):
    item = {"path": "document.json", "fieldRef": {"fieldPath": "metadata.annotations['a/b']"}}
    script = "import os; print(open(os.environ['DOCUMENT']).read()); open('/scratch/x', 'w').write('kept'); print(open('/scratch/x').read())"
    container = {
        "env": [{"name": "DOCUMENT", "value": "/etc/kuznia/document.json"}],
        "volumeMounts": [{"name": "d", "mountPath": "/etc/kuznia"}, {"name": "s", "mountPath": "/scratch"}],
    }
    volumes = [{"name": "d", "downwardAPI": {"items": [item]}}, {"name": "s", "emptyDir": {}}]
    machine.start(script, container=container, volumes=volumes)
    assert machine.ended()["exitCode"] == 0
    assert machine.output == "zażółć\nkept\n"


def test_an_entrypoint_of_images_is_passed_over(machine: Machine):
    machine.start(
        "",
        container={
            "command": None,
            "args": ["tini", "--", "python", "-c", "import os; print(os.environ['COMMON'])"],
        },
    )
    machine.ended()
    assert machine.output == "1\n"


def test_what_cannot_be_started_is_told(machine: Machine):
    machine.start("", container={"command": ["no-such-program"]})
    ended = machine.ended()
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert "no-such-program" in ended["message"]


def test_a_signal_is_told_as_the_shell_tells_it(machine: Machine):
    machine.start("import os, signal; os.kill(os.getpid(), signal.SIGTERM)")
    assert (machine.ended()["exitCode"], machine.ended()["reason"]) == (143, "Error")


def test_the_grace_is_between_two_signals(machine: Machine):
    machine.start(
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    machine.until(
        lambda: (
            "up" in machine.output if machine.fake.pods() and machine.pod["spec"].get("nodeName") else False
        )
    )
    machine.fake.core.delete(Ref(POD, "default", "one"), Deletion(grace=1))
    machine.until(lambda: not machine.fake.pods())


def test_memory_has_a_limit(machine: Machine):
    script = "import time; held = bytearray(b'x') * (80 * 2**20); time.sleep(600)"
    machine.start(script, container={"resources": {"limits": {"memory": "40Mi"}}})
    assert (machine.ended()["exitCode"], machine.ended()["reason"]) == (137, "OOMKilled")


def test_what_it_leaves_behind_ends_with_it(machine: Machine):
    script = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid)"
    machine.start(script)
    machine.ended()
    left = Path(f"/proc/{int(machine.output)}/stat")
    machine.until(lambda: not left.exists() or left.read_text().split()[2] == "Z")


def test_every_pod_has_its_own_ports_and_probes_ask_them(machine: Machine):
    container = {
        "command": ["python", "-m", "http.server", "--bind", "$(IP)", "8000"],
        "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "ports": [{"name": "http", "containerPort": 8000}],
        "startupProbe": {"tcpSocket": {"port": "http"}},
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}},
    }
    machine.start("", container=container)
    machine.until(lambda: machine.pod["status"].get("containerStatuses", [{}])[0].get("ready"))
    with urllib.request.urlopen(f"http://{machine.pod['status']['podIP']}:8000/", timeout=5) as answer:
        assert answer.status == 200
