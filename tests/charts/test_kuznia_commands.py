"""What the platform's chart has its containers run is really run here."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.engine_key import engine_key
from tests.charts.kuznia import PlatformChart
from tests.charts.rendering import ROOT, Chart, Document

LONGEST = 60


@pytest.fixture(scope="module")
def chart(helm: str, tmp_path_factory: pytest.TempPathFactory) -> Chart:
    return PlatformChart(helm, tmp_path_factory.mktemp("kuznia"))


def pod(documents: list[Document], name: str) -> dict[str, Any]:
    (found,) = [d for d in documents if (d["kind"], d["metadata"]["name"]) == ("Deployment", name)]
    return found["spec"]["template"]["spec"]


def secret(folder: Path, **files: bytes) -> None:
    """As the kubelet mounts one: a folder behind two links, readable by its group."""
    inner = folder / "..2026_11_23"
    inner.mkdir(parents=True)
    (folder / "..data").symlink_to(inner.name)
    for name, content in files.items():
        (inner / name).write_bytes(content)
        (inner / name).chmod(0o440)
        (folder / name).symlink_to(f"..data/{name}")


def test_a_home_is_furnished_with_secrets_that_only_its_owner_reads(chart: Chart, tmp_path: Path):
    script = pod(chart.documents("push.yaml"), "webhook")["initContainers"][0]["args"][0]
    home, mounts = tmp_path / "home", tmp_path / "mounts"
    home.mkdir()
    secret(mounts / "0", **{"engine.secret": b"e" * 32})
    secret(mounts / "1", github=b"token", gitlab=b"other")
    secret(mounts / "2", **{".gitconfig": b"[credential]"})
    script = script.replace("/var/lib/kuznia", str(home)).replace("/run/secrets/kuznia", str(mounts))
    for _ in range(2):  # a container may begin again
        subprocess.run(["sh", "-ec", script], check=True)
    assert len(engine_key(home, "serve-a")) == 64
    kept = {path.relative_to(home).as_posix(): path for path in home.rglob("*") if path.is_file()}
    assert sorted(kept) == [".gitconfig", "engine.secret", "secrets/github", "secrets/gitlab"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept.values()} == {0o600}
    assert kept["secrets/github"].read_bytes() == b"token"


@pytest.fixture
def gateway(chart: Chart, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The gateway's process, by the chart's command, and where it answers."""
    tini, dashes, *words = pod(chart.documents("apart.yaml"), "gateway")["containers"][0]["command"]
    assert (tini, dashes, words[:2]) == ("tini", "--", ["kuznia", "gateway"])
    own = {"KUZNIA_HOME": str(tmp_path / "home"), "KUZNIA_GATEWAY_PORT": "0"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KUZNIA_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "services.cli.main", *words[1:]],
        cwd=ROOT,
        env={**kept, **own},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    line = process.stdout.readline()
    found = re.search(r"(http://\S+)/v1", line)
    assert found, line
    try:
        yield process, found[1]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.slow
def test_a_gateway_answers_helms_test_and_ends_when_told_to(
    gateway: tuple[subprocess.Popen[str], str], chart: Chart
):
    process, url = gateway
    (asking,) = [document for document in chart.documents("apart.yaml") if document["kind"] == "Pod"]
    (ask,) = asking["spec"]["containers"]
    words = [sys.executable, ask["command"][1], ask["args"][0]]

    def asked(console: str) -> subprocess.CompletedProcess[str]:
        env = {"CONSOLE": console, "GATEWAY": url, "no_proxy": "*"}
        return subprocess.run(words, env=env, capture_output=True, text=True, check=False)

    done = asked(url)  # it has the console's paths too
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{url}/v1/models: 401, as it should be" in done.stdout
    assert asked("http://127.0.0.1:1").returncode == 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(LONGEST) == 0
