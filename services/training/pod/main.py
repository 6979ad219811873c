"""The steps of a run, in order; every way out of them is said.

Exit codes: 0 succeeded, 1 failed, 75 stopped on request with its state saved, 76 another node was lost.
"""

from __future__ import annotations

import sys
from typing import Literal

import msgspec

from events.training_finished import TrainingFinished
from services.training.pod import attempts
from services.training.pod.fetch import fetch
from services.training.pod.finish import finish, finished_before
from services.training.pod.nodes import LOST_PEER, LostPeer
from services.training.pod.progress import Progress
from services.training.pod.resume import resume
from services.training.pod.run import Document, Run, node_rank
from services.training.pod.training import Trained, train, trained_before
from services.training.pod.upload import Uploader
from shared.errors import KuzniaError, Retry
from shared.forge.environment import require
from shared.forge.models import BaseModel
from shared.forge.process import Lost, insist
from shared.podkit import document as documents
from shared.podkit.bases import pinned
from shared.podkit.cores import allotted
from shared.podkit.locked import locked
from shared.podkit.patience import Patience
from shared.podkit.ports import PodPorts, open_ports
from shared.podkit.stopping import PREEMPTED, Preempted, Stopping
from shared.podkit.voice import Voice

LOCK_SECONDS = 30  # an earlier start of the same run may still be dying
UPLOAD_SHARE = 0.5  # of the grace is for the trainer to save in, the rest for us to upload in


def main() -> int:
    """As the cluster starts it."""
    try:
        document, ports = documents.read(Document), open_ports()
        number = attempts.attempt(ports.artifacts, document.place)
    except KuzniaError as error:  # nobody can be told yet; the cluster reads the end of this output
        sys.stdout.write(f"failed: {error}\n")
        return 1
    return perform(document, number, ports)


def perform(document: Document, attempt: int, ports: PodPorts) -> int:
    """Run it, whatever comes; the exit code."""
    voice = Voice(
        ports=ports, source="/kuznia/training", cause=document.cause, traceparent=document.traceparent
    )
    stopping = Stopping(document.limits.grace_seconds * UPLOAD_SHARE)
    try:
        run = Run(
            document=document,
            attempt=attempt,
            ports=ports,
            voice=voice,
            stopping=stopping,
            trainer=require(ports.settings.cache),
            base=_base(document, ports),
        )
        run.work.mkdir(parents=True, exist_ok=True)
        with locked(run.work / "lock", LOCK_SECONDS):
            _steps(run)
    except Preempted:
        return _end(
            voice, document, attempt, "preempted", "stopped on request; goes on from its last checkpoint"
        )
    except LostPeer as error:
        _end(voice, document, attempt, "preempted", str(error))
        return LOST_PEER
    except (KuzniaError, Lost, OSError) as error:
        return _end(voice, document, attempt, "failed", str(error))
    return 0


def _base(document: Document, ports: PodPorts) -> BaseModel:
    config = document.origin.config
    asked = str(config.get("model_revision") or "")
    name = config.get("model_name_or_path")
    return pinned(ports.settings, ports.artifacts, document.place, name, asked)


def _steps(run: Run) -> None:
    if finished_before(run):
        return
    progress = Progress(run)
    trained = trained_before(run) or _train(run, progress)
    if run.leads:
        progress.phase("uploading")
        finish(run, trained)


def _train(run: Run, progress: Progress) -> Trained:
    progress.phase("fetching")
    config = fetch(run)

    def go_on() -> Trained:
        run.stopping.check()
        step = resume(run)
        Uploader(run).catch_up()  # what an earlier start saved and could not upload
        run.stopping.check()
        return train(run, config, step, threads)

    told = run.document.threads
    with allotted(run.ports.settings, told, share=1.0, check=run.stopping.check) as threads:
        return insist(go_on)


def _end(
    voice: Voice, document: Document, attempt: int, outcome: Literal["failed", "preempted"], cause: str
) -> int:
    """Say it, and print it: where the bus is away, the cluster still tells by the code how it ended."""
    rank = node_rank()
    told = f"node {rank}: {cause}" if rank else cause
    finished = TrainingFinished(
        run_id=document.run_id, attempt=attempt, outcome=outcome, cause=told, job=document.job
    )
    if not rank or outcome == "failed":  # a node that fails by its own fault knows best why
        if outcome == "preempted":  # the grace is short
            voice = msgspec.structs.replace(voice, patience=Patience(tries=3))
        try:
            voice.say(finished, subject=f"runs/{document.run_id}", discriminator=f"{attempt}/{outcome}")
        except Retry as error:
            sys.stdout.write(f"not said: {error}\n")
    sys.stdout.write(f"{outcome}: {cause}\n")
    return PREEMPTED if outcome == "preempted" else 1
