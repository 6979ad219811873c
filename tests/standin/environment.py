"""A cache folder with the stand-in in the place of the trainer's environment, and a base model for it.

Declared as what it is: the stamp's versions say `standin`, and so does every card made with it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from shared.forge import environment, models, vllm
from tests.standin import weights

MODEL = "standin/parrot"
VERSIONS = dict.fromkeys(("python", "llamafactory", "torch", "transformers", "peft"), "standin")
SCRIPT = Path(__file__).with_name("trainer.py")


def make(xdg_cache: Path) -> Path:
    """Make it below a folder for XDG_CACHE_HOME; the path that `Settings.cache` has then."""
    cache = xdg_cache / "kuznia"
    home = environment.folder(cache)
    (home / "bin").mkdir(parents=True)
    _script(home / "bin" / "python", f'exec "{sys.executable}" "{SCRIPT}" "$@"')
    _script(home / "bin" / "llamafactory-cli", f'exec "{sys.executable}" "{SCRIPT}" cli "$@"')
    stamp = environment.Stamp(versions=VERSIONS, needs_stub=False)
    (home / environment.STAMP).write_bytes(msgspec.json.encode(stamp))
    _base_model(cache / "models")
    return cache


def make_vllm(xdg_cache: Path) -> Path:
    """The same in the place of vLLM's environment."""
    cache = xdg_cache / "kuznia"
    home = environment.folder(cache, vllm.PINS)
    (home / "bin").mkdir(parents=True)
    server = SCRIPT.with_name("vllm_server.py")
    _script(home / "bin" / "python", f'exec "{sys.executable}" "{server}" "$@"')
    stamp = vllm.Stamp(versions=dict.fromkeys(("python", "vllm", "torch", "transformers"), "standin"))
    (home / environment.STAMP).write_bytes(msgspec.json.encode(stamp))
    return cache


def _script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(0o755)


def _base_model(folder: Path) -> None:
    path = models.folder(folder, MODEL)
    path.mkdir(parents=True)
    weights.write(path / "model.safetensors", {})
    (path / "config.json").write_text('{"model_type": "standin"}', encoding="utf-8")
    source = models.Source(name=MODEL, revision="1", licence="apache-2.0", origin="made by the tests")
    models.write_source(path, source)
