"""The fake API server as others see it: the very kubectl, over HTTP."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.kubernetes.fake.service import FakeService
from tests.shared.kubernetes.fake.requests import deployment, job

Kubectl = Callable[..., str]
ROOT = Path(__file__).parents[4]


@pytest.fixture
def service() -> Iterator[FakeService]:
    made = FakeService()
    made.cluster.node("node-0", gpus="8")
    made.start()
    yield made
    made.close()


@pytest.fixture
def kubectl(service: FakeService, capability: Callable[[str, bool, str], None], tmp_path: Path) -> Kubectl:
    program = shutil.which("kubectl")
    capability("kubectl", program is not None, "kubectl")

    def call(*words: str, stdin: Any = None) -> str:
        done = subprocess.run(
            [str(program), "--server", service.url, "--cache-dir", str(tmp_path), *words],
            input=json.dumps(stdin) if stdin else None,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


@pytest.mark.slow
def test_kubectl_takes_it_for_a_cluster(kubectl: Kubectl, service: FakeService):
    both = {"apiVersion": "v1", "kind": "List", "items": [deployment(replicas=2), job()]}
    assert kubectl("apply", "-f", "-", stdin=both).splitlines() == [
        "deployment.apps/web created",
        "job.batch/fit created",
    ]
    assert "unchanged" in kubectl("apply", "-f", "-", stdin=both)
    assert "successfully rolled out" in kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    kubectl("scale", "deployment/web", "--replicas=1")
    pods = json.loads(kubectl("get", "pods", "-l", "app=it", "-o", "json"))["items"]
    assert {pod["status"]["phase"] for pod in pods} == {"Running"}
    with service.cluster.moved:
        for pod in service.cluster.pods():
            service.cluster.life(pod).output = "hello\n"
    assert kubectl("logs", "job/fit") == "hello\n"
    assert "serverside-applied" in kubectl(
        "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=both
    )
    assert "Image:" in kubectl("describe", "deployment/web")
    assert "labeled" in kubectl("label", "namespace", "default", "a=b")
    assert "condition met" in kubectl("wait", "--for=condition=available", "deployment/web", "--timeout=20s")
    assert "deleted" in kubectl("delete", "deployment,job", "--all", "--timeout=40s")
    assert kubectl("get", "all", "-o", "name") == ""


@pytest.mark.slow
def test_it_may_be_started_by_hand(tmp_path: Path):
    words = [
        sys.executable,
        "-m",
        "shared.kubernetes.fake",
        "--port",
        "0",
        "--namespace",
        "acme",
        "--run",
        str(tmp_path),
    ]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    url = process.stdout.readline().strip()
    with urllib.request.urlopen(f"{url}/api/v1/namespaces/acme", timeout=10) as answer:
        assert json.load(answer)["status"]["phase"] == "Active"
    process.terminate()
    assert process.wait(20) == 0
    process.stdout.close()
