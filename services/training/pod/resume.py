"""Puts the newest checkpoint that is whole where LLaMA-Factory looks for it, and the broken ones out of its way."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from services.training.pod import checkpoints
from services.training.pod.run import Run
from shared.errors import Reject
from shared.podkit import manifests
from shared.podkit.manifests import Manifest

LOG = "trainer_log.jsonl"
_FINAL_WEIGHTS = ("adapter_model", "model", "pytorch_model")


def resume(run: Run) -> int:
    """The step that training goes on from, 0 for the start. Raises Retry."""
    run.output.mkdir(parents=True, exist_ok=True)
    _set_broken_aside(run)
    step = max(checkpoints.local_steps(run.output), default=0)
    for stored in reversed(stored_steps(run)):
        if stored > step and _restore(run, stored):
            step = stored
    if not step:
        _set_final_aside(run)
    _trim_log(run.output, step)
    return step


def stored_steps(run: Run) -> list[int]:
    """Steps of the checkpoints that have a manifest in the store, oldest first."""
    prefix = f"{run.prefix}/checkpoints/"
    parts = [path.removeprefix(prefix).split("/") for path in run.ports.artifacts.list(prefix)]
    names = [part[0] for part in parts if part[1:] == [manifests.NAME]]
    return sorted(int(name.removeprefix("step-")) for name in names if name.removeprefix("step-").isdecimal())


def checkpoint_prefix(run: Run, step: int) -> str:
    """Where the checkpoint of a step lies in the store."""
    return f"{run.prefix}/checkpoints/step-{step}"


def _set_broken_aside(run: Run) -> None:
    for step in checkpoints.local_steps(run.output):
        folder = run.output / f"checkpoint-{step}"
        faults = checkpoints.faults(folder)
        if faults:
            sys.stdout.write(f"checkpoint {step} is not whole ({'; '.join(faults)}): set aside\n")
            _set_aside(run, folder)


def _set_final_aside(run: Run) -> None:
    """Weights without a checkpoint, of a start that died while it wrote them: LLaMA-Factory refuses them."""
    for stem in _FINAL_WEIGHTS:
        for path in sorted(run.output.glob(f"{stem}*")):
            _set_aside(run, path)


def _set_aside(run: Run, path: Path) -> None:
    target = run.work / "aside" / f"{run.attempt}-{path.name}"
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        shutil.rmtree(target)
    path.rename(target)


def _restore(run: Run, step: int) -> bool:
    prefix = checkpoint_prefix(run, step)
    loaded = manifests.load(run.ports.artifacts, prefix)
    if loaded is None:
        return False
    fresh = run.output / f"restoring-{step}"
    shutil.rmtree(fresh, ignore_errors=True)
    fault = _download(run, prefix, loaded[0], fresh)
    if fault:
        sys.stdout.write(f"stored checkpoint {step} is not whole ({fault}): an older one is taken\n")
        shutil.rmtree(fresh, ignore_errors=True)
        return False
    log = fresh / LOG
    if log.exists() and not (run.output / LOG).exists():
        shutil.copy(log, run.output / LOG)
    fresh.rename(run.output / f"checkpoint-{step}")
    sys.stdout.write(f"restored checkpoint {step} from the artifact store\n")
    return True


def _download(run: Run, prefix: str, manifest: Manifest, fresh: Path) -> str:
    try:
        manifests.download(run.ports.artifacts, prefix, manifest, fresh)
    except Reject as error:
        return str(error)
    whole = fresh.rename(fresh.with_name(f"checkpoint-{manifest.step}"))  # its name is part of the check
    found = checkpoints.faults(whole)
    whole.rename(fresh)
    return "; ".join(found)


def _trim_log(output: Path, step: int) -> None:
    """Drop what was logged after the step we go on from: it will be logged again."""
    path = output / LOG
    if not path.exists():
        return
    kept = [line for line in path.read_text(encoding="utf-8").splitlines() if 0 <= step_of_line(line) <= step]
    fresh = path.with_suffix(".fresh")
    fresh.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    fresh.replace(path)


def step_of_line(line: str) -> int:
    """`current_steps` of a line of the trainer's log; -1 where it is no such line (cut short by a kill)."""
    try:
        return int(json.loads(line)["current_steps"])
    except (ValueError, KeyError, TypeError):
        return -1
