"""Each finished checkpoint goes to the artifact store as it appears, whole, before anybody hears of it."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

import msgspec

from events.checkpoint_written import CheckpointWritten
from events.parts import Artifact
from services.training.pod import checkpoints, nodes
from services.training.pod.remote import read_data
from services.training.pod.resume import LOG, checkpoint_prefix, stored_steps
from services.training.pod.run import Run
from shared.podkit import manifests
from shared.podkit.manifests import File, Manifest
from shared.podkit.patience import Patience

PARTS_SECONDS = 60.0  # what nodes wait for each other at the end; after SIGTERM no longer than there is grace
PARTS_BEAT_SECONDS = 0.2
_LEFT_OUT = frozenset({"README.md"})  # LLaMA-Factory's own card, with a licence that is not ours


class Uploader:
    """Uploads what is new in the output folder and not yet in the store."""

    def __init__(self, run: Run, patience: Patience | None = None) -> None:
        self._run = run
        self._patience = patience or Patience()
        self._known = set(stored_steps(run))
        self._waiting: dict[int, Path] = {}  # step -> copy, of what is not in the store yet

    def catch_up(self) -> None:
        """Upload and say every finished checkpoint. Raises Retry where store or bus are away: the next call goes on
        with what this one did not bring to its end.
        """
        for step in checkpoints.local_steps(self._run.output):
            if step not in self._known and checkpoints.finished(self._run.output / f"checkpoint-{step}"):
                self._found(step)
        for step, copy in list(self._waiting.items()):
            parts = nodes.parts(self._run, step)
            if parts is not None:
                self._upload(step, copy, parts)
                del self._waiting[step]

    def close(self, seconds: float = PARTS_SECONDS) -> None:
        """The trainer has ended: wait a moment for what other nodes have of its last checkpoints. Raises Retry."""
        deadline = time.monotonic() + seconds
        while self._waiting and time.monotonic() < deadline and not self._run.stopping.overdue:
            time.sleep(PARTS_BEAT_SECONDS)
            self.catch_up()

    def _found(self, step: int) -> None:
        copy = _snapshot(self._run, step)
        if copy is None:
            return
        if not self._run.leads:
            nodes.add_own_part(self._run, step, copy, self._patience)
            shutil.rmtree(copy)
        else:
            self._waiting[step] = copy
        self._known.add(step)

    def _upload(self, step: int, copy: Path, parts: tuple[File, ...]) -> None:
        run, prefix = self._run, checkpoint_prefix(self._run, step)
        files = {path.relative_to(copy).as_posix(): path for path in copy.rglob("*") if path.is_file()}
        blank = msgspec.structs.replace(new_manifest(run, step, final=False), files=parts)
        manifest, digest = manifests.upload(run.ports.artifacts, prefix, blank, files, self._patience)
        said = CheckpointWritten(
            run_id=run.document.run_id,
            step=step,
            final=False,
            artifact=artifact(run, prefix, manifest, digest),
        )
        run.voice.say(said, subject=run.subject, discriminator=f"step-{step}")
        shutil.rmtree(copy)
        sys.stdout.write(f"checkpoint {step} uploaded ({manifest.size / 1e6:.1f} MB)\n")


def new_manifest(run: Run, step: int, *, final: bool) -> Manifest:
    """A manifest of this run, its files not yet listed."""
    return Manifest(
        run_id=run.document.run_id,
        step=step,
        final=final,
        kind="adapter" if run.makes_adapter else "model",
        base_model=run.base_name,
        base_digest=run.base.digest if run.base else "",
        base_revision=run.base.revision if run.base else "",
        versions=run.trainer.versions,
        data={one.name: one.digest for one in read_data(run.work)},
    )


def artifact(run: Run, prefix: str, manifest: Manifest, digest: str) -> Artifact:
    """What an event says of uploaded weights."""
    return Artifact(
        uri=run.ports.artifacts.uri(prefix),
        manifest_digest=digest,
        kind=manifest.kind,
        base_model=manifest.base_model,
        base_digest=manifest.base_digest,
        base_revision=manifest.base_revision,
        size=manifest.size,
    )


def _snapshot(run: Run, step: int) -> Path | None:
    """The checkpoint by hard links: the trainer may rotate it away while we upload. None if it has already."""
    source, copy = run.output / f"checkpoint-{step}", run.work / "outgoing" / f"checkpoint-{step}"
    shutil.rmtree(copy, ignore_errors=True)
    try:
        shutil.copytree(source, copy, copy_function=os.link, ignore=lambda _, names: _LEFT_OUT & set(names))
    except (FileNotFoundError, shutil.Error):
        shutil.rmtree(copy, ignore_errors=True)
        return None
    log = run.output / LOG
    if log.exists():  # goes along, so that another machine can go on with the whole curve
        shutil.copy(log, copy / LOG)
    return copy
