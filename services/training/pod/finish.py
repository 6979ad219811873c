"""The end of a run: final weights in the store, their manifest, and only then the word of it."""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path

import msgspec

from events.checkpoint_written import CheckpointWritten
from events.training_finished import TrainingFinished
from services.training.pod.data import data_facts
from services.training.pod.remote import clear_data, read_data
from services.training.pod.resume import LOG
from services.training.pod.run import Run
from services.training.pod.training import MARKER, Trained
from services.training.pod.upload import artifact, new_manifest
from shared.errors import Reject
from shared.podkit import manifests
from shared.podkit.machine import device_name, visible_gpus
from shared.podkit.manifests import Manifest
from shared.podkit.patience import Patience

# Of the output folder's own files these are no part of the model: optimizer, logs, LLaMA-Factory's own card.
_NOT_WEIGHTS = ("README.md", "training_args.bin", "trainer_*", "*_results.json", "*.png", "optimizer*",
                "scheduler*", "rng_state*", "restoring-*", "*.fresh")  # fmt: skip


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What is said beside the weights; kept with them, so that a repeat says the same."""

    metrics: dict[str, float]
    runtime: dict[str, str]


def finished_before(run: Run) -> bool:
    """Whether an earlier start already left whole final weights; then it only remains to say so."""
    loaded = manifests.load(run.ports.artifacts, _prefix(run))
    if loaded is None or manifests.faults(run.ports.artifacts, _prefix(run), loaded[0]):
        return False
    result = msgspec.json.decode(run.ports.artifacts.read(f"{run.prefix}/result.json"), type=Result)
    if run.leads:
        _say(run, *loaded, result)
    return True


def finish(run: Run, trained: Trained) -> None:
    """Upload the final weights and say that they are there. Raises Reject (no weights), Retry (the store)."""
    files = {path.name: path for path in run.output.iterdir() if path.is_file() and not _left_out(path)}
    _name_base(run, files)
    if not any(name.endswith((".safetensors", ".bin")) for name in files):
        raise Reject("the trainer ended well and left no weights: does config.yaml say `do_train: true`?")
    patience = Patience()
    result = Result(metrics=metrics(run.output / "all_results.json"), runtime=_runtime(run, trained))
    store = run.ports.artifacts
    if (run.output / LOG).exists():
        patience.insist("uploading the log", lambda: store.upload(run.output / LOG, f"{run.prefix}/{LOG}"))
    content = msgspec.json.encode(result)
    patience.insist("uploading the result", lambda: store.write(f"{run.prefix}/result.json", content))
    blank = new_manifest(run, trained.steps, final=True)
    manifest, digest = manifests.upload(store, _prefix(run), blank, files, patience)
    _say(run, manifest, digest, result)
    _clear(run)
    sys.stdout.write(f"final weights uploaded ({manifest.size / 1e6:.1f} MB) to {store.uri(_prefix(run))}\n")


def metrics(path: Path) -> dict[str, float]:
    """The numbers of `all_results.json`; none where the trainer wrote none."""
    if not path.exists():
        return {}
    found = msgspec.json.decode(path.read_bytes())
    return {
        name: float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _name_base(run: Run, files: dict[str, Path]) -> None:
    """An adapter names its base by the path it had here: give it the name that it has everywhere.

    Its modules are a set, written in an order of chance: sorted, so that equal weights are equal manifests.
    """
    said = files.get("adapter_config.json")
    if said is None:
        return
    config = msgspec.json.decode(said.read_bytes())
    config["base_model_name_or_path"] = run.base_name
    if isinstance(config.get("target_modules"), list):
        config["target_modules"].sort()
    named = run.work / "adapter_config.json"
    named.write_bytes(msgspec.json.format(msgspec.json.encode(config, order="sorted"), indent=2))
    files[named.name] = named


def _clear(run: Run) -> None:
    """What lies in the store now, or is needed by nobody; a run leaves hundreds of megabytes else."""
    (run.work / MARKER).unlink(missing_ok=True)
    shutil.rmtree(run.output, ignore_errors=True)
    clear_data(run.work)


def _prefix(run: Run) -> str:
    return f"{run.prefix}/final"


def _left_out(path: Path) -> bool:
    return any(path.match(pattern) for pattern in _NOT_WEIGHTS)


def _runtime(run: Run, trained: Trained) -> dict[str, str]:
    return (
        run.trainer.versions
        | data_facts(run.folder, run.document.origin.config)
        | _read_facts(run)
        | {
            "seconds": f"{trained.seconds:.1f}",
            "steps": str(trained.steps),
            "attempts": str(run.attempt),
            "resumed_from": str(trained.resumed_from),
            "device": _device(run),
            "platform": f"{platform.system()} {platform.machine()}",
            "peak_memory_mb": f"{trained.peak_memory / 1e6:.0f}",
            "start": "warm" if trained.warm else "cold",
            "threads": str(trained.threads) if trained.threads else "all",
        }
    )


def _read_facts(run: Run) -> dict[str, str]:
    """As `data_facts`, of what URLs name."""
    read = read_data(run.work)
    facts = {f"data.{one.name}": one.digest for one in read}
    return facts | {f"rows.{one.name}": str(one.rows) for one in read if one.rows is not None}


def _device(run: Run) -> str:
    device = device_name(visible_gpus())
    return f"{run.nodes} nodes, each {device}" if run.nodes > 1 else device


def _say(run: Run, manifest: Manifest, digest: str, result: Result) -> None:
    """Neither word depends on the attempt: one run, one registration."""
    written = CheckpointWritten(
        run_id=run.document.run_id,
        step=manifest.step,
        final=True,
        artifact=artifact(run, _prefix(run), manifest, digest),
        metrics=result.metrics,
        runtime=result.runtime,
        model=run.document.model,
        origin=run.document.origin,
    )
    run.voice.say(written, subject=run.subject, discriminator="final")
    finished = TrainingFinished(
        run_id=run.document.run_id,
        attempt=run.attempt,
        outcome="succeeded",
        metrics=result.metrics,
        runtime=result.runtime,
        job=run.document.job,
    )
    run.voice.say(finished, subject=run.subject, discriminator="succeeded")
