"""Only what the right key signed is loaded; the signatures are made by openssl, as a person would."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from services.deployment.pod.signature import verify
from shared.errors import Reject
from tests.services.deployment.pod.stored import FILES, Stored

CURVE = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]


@pytest.fixture(autouse=True)
def openssl(capability: Callable[[str, bool, str], None]) -> None:
    pytest.importorskip("cryptography")
    capability("openssl", shutil.which("openssl") is not None, "openssl: apt install openssl")


def run(*words: str | Path, stdin: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *words], input=stdin, capture_output=True, check=True).stdout


def pair(folder: Path, name: str = "a", how: list[str] = CURVE) -> tuple[Path, Path]:
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    run("genpkey", *how, "-out", private)
    public.write_bytes(run("pkey", "-in", private, "-pubout"))
    return private, public


def sign(content: bytes, private: Path) -> bytes:
    return base64.encodebytes(run("dgst", "-sha256", "-sign", private, stdin=content))


def test_a_signature_of_this_key_and_of_this_content(tmp_path: Path):
    private, public = pair(tmp_path)
    signature = sign(b"manifest", private)
    verify(b"manifest", signature, public)
    with pytest.raises(Reject, match="not signed by this key"):
        verify(b"Manifest", signature, public)
    with pytest.raises(Reject, match="not signed by this key"):
        verify(b"manifest", signature, pair(tmp_path, "b")[1])


def test_what_is_no_signature_or_no_key_is_told(tmp_path: Path):
    private, public = pair(tmp_path)
    with pytest.raises(Reject, match="is not base64"):
        verify(b"manifest", b"-- no --", public)
    with pytest.raises(Reject, match="not signed by this key"):
        verify(b"manifest", b"", public)
    with pytest.raises(Reject, match="holds no public key in PEM"):
        verify(b"manifest", sign(b"manifest", private), private)
    with pytest.raises(Reject, match="cannot be read"):
        verify(b"manifest", b"", tmp_path / "none")
    with pytest.raises(Reject, match=r"should hold a public key of ECDSA on P-256"):
        verify(b"manifest", b"", pair(tmp_path, "ed", ["-algorithm", "ed25519"])[1])


def test_only_signed_weights_are_brought(tmp_path: Path):
    stored = Stored(tmp_path)
    private, public = pair(tmp_path)
    asked = stored.asked(public_key=str(public))
    with pytest.raises(Reject, match=r"has no manifest.json.sig: its weights are not used"):
        stored.fetch(asked)
    manifest = (stored.path() / "manifest.json").read_bytes()
    stored.store.write("runs/final/manifest.json.sig", sign(manifest, private))
    stored.fetch(asked)
    assert stored.here() == FILES
    with pytest.raises(Reject, match="not signed by this key"):
        stored.fetch(stored.asked(public_key=str(pair(tmp_path, "b")[1])))
