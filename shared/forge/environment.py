"""The trainer's environment: LLaMA-Factory in a virtual environment of its own, found by its pins."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from shared.errors import Reject

ROOT = Path(__file__).resolve().parents[2]
PINS = ROOT / "infra" / "pins" / "trainer-cpu.txt"
STUBS = Path(__file__).resolve().parent / "inside" / "stubs"
STAMP = "kuznia.json"

# What must not reach a trainer: it runs a data scientist's config, and needs none of our secrets.
_SECRET = re.compile(r"TOKEN(?!IZERS)|SECRET|PASSW|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|_KEY$")
# What would make it another program: our own environment's Python paths, LLaMA-Factory's safety switches.
_FOREIGN = frozenset(
    {
        "ALLOW_EXTRA_ARGS",
        "DISABLE_VERSION_CHECK",
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "VIRTUAL_ENV",
        "__PYVENV_LAUNCHER__",
    }
)
_OFFLINE = {
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
}


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """Written last into a whole environment. versions: of python, llamafactory, torch, transformers, peft.

    needs_stub: torchaudio cannot be imported there, though LLaMA-Factory imports it for audio data.
    """

    versions: dict[str, str]
    needs_stub: bool


class Trainer(msgspec.Struct, frozen=True, kw_only=True):
    """Where it lies. cli: `llamafactory-cli`. stubs: folder for PYTHONPATH, where a stub is needed."""

    home: Path
    python: Path
    cli: Path
    stubs: Path | None
    versions: dict[str, str]


def folder(cache: Path, pins: Path = PINS) -> Path:
    """`<cache>/trainer-cpu-<hash of the pins>`. Raises Reject where the pins are not there."""
    try:
        content = pins.read_bytes()
    except OSError as error:
        raise Reject(
            f"the trainer's pins cannot be read ({error}); run Kuźnia from a checkout of its repository"
        ) from error
    return cache / f"{pins.stem}-{hashlib.sha256(content).hexdigest()[:12]}"


def locate(cache: Path, pins: Path = PINS) -> Trainer | None:
    """The environment, if it is there and whole. Starts no process. Raises Reject (no pins)."""
    home = folder(cache, pins)
    python, cli = home / "bin" / "python", home / "bin" / "llamafactory-cli"
    try:
        stamp = msgspec.json.decode((home / STAMP).read_bytes(), type=Stamp)
    except (OSError, msgspec.DecodeError):
        return None
    if not (python.exists() and cli.exists()):
        return None
    stubs = STUBS if stamp.needs_stub else None
    return Trainer(home=home, python=python, cli=cli, stubs=stubs, versions=stamp.versions)


def require(cache: Path, pins: Path = PINS) -> Trainer:
    """The environment. Raises Reject with how to make it."""
    trainer = locate(cache, pins)
    if trainer is None:
        raise Reject(
            f"the LLaMA-Factory environment is not there ({folder(cache, pins)}); make it with `make trainer`"
            " (1.7 GB, once for all clones of this user), or name another cache with XDG_CACHE_HOME"
        )
    return trainer


def environment(
    trainer: Trainer, *, threads: int = 0, base: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Environment variables to run it with: `base` without secrets, offline, its own `bin` first.

    threads: at most so many for one process; 0: as many as there are CPUs for us.
    """
    count = min(threads or available_cpus(), available_cpus())
    python_path = {"PYTHONPATH": str(trainer.stubs)} if trainer.stubs else {}
    return inherited(trainer.home, base) | python_path | {"OMP_NUM_THREADS": str(count)}


def inherited(home: Path, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a process of the environment at `home` keeps of `base`: no secrets, offline, its own `bin` first."""
    kept = {name: value for name, value in base.items() if not _withheld(name)}
    paths = [str(home / "bin"), *filter(None, [kept.get("PATH", os.defpath)])]
    return kept | _OFFLINE | {"PATH": os.pathsep.join(paths)}


def _withheld(name: str) -> bool:
    return name in _FOREIGN or name.startswith("KUZNIA_") or bool(_SECRET.search(name.upper()))


def available_cpus(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """CPUs that this process may use: its affinity, cut by its control group's quota; at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        allowed, period = quota.read_text().split()
        return max(1, min(count, round(int(allowed) / int(period))))
    except (OSError, ValueError):  # no such control group, or "max"
        return count
