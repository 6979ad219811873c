"""Runs LLaMA-Factory and stays beside it: progress, uploads, and a stop that loses no step."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from services.training.pod import nodes
from services.training.pod.fetch import variables
from services.training.pod.progress import Progress
from services.training.pod.run import Run
from services.training.pod.upload import Uploader
from shared.errors import Reject, Retry
from shared.forge.process import Running, Work, start
from shared.podkit.causes import TAIL_LINES, explain
from shared.podkit.echo import Echo
from shared.podkit.machine import peak_memory
from shared.podkit.patience import Patience
from shared.podkit.stopping import PREEMPTED, Preempted
from shared.podkit.tail import last_lines

MARKER = "trained.json"
MOST_LINES = 10 * TAIL_LINES  # torchrun's report alone has forty
BEAT_SECONDS = 0.2
AWAY_SECONDS = 15.0


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """What a finished training leaves for the end of the run; a file of the work folder.

    seconds: of this start, from the trainer's process to its exit. peak_memory: bytes, of its main process.
    """

    steps: int
    seconds: float
    peak_memory: int
    resumed_from: int
    warm: bool
    threads: int = 0


def trained_before(run: Run) -> Trained | None:
    """What an earlier start left that trained to the end, and died while it uploaded."""
    marker = run.work / MARKER
    return msgspec.json.decode(marker.read_bytes(), type=Trained) if marker.exists() else None


def train(run: Run, config: Path, resumed_from: int, threads: int) -> Trained:
    """Train to the end. Raises Reject with the cause, Preempted after SIGTERM, Retry (uploads), Lost."""
    began = time.monotonic()
    if run.nodes > 1:
        nodes.await_first(os.environ.get("MASTER_ADDR", "127.0.0.1"), run.stopping.check)
    progress, uploader = Progress(run), Uploader(run)
    progress.phase("loading")
    run.log.unlink(missing_ok=True)
    work = Work(argv=("train", str(config)), env=variables(run, threads), cwd=run.folder, log=run.log)
    running = start(work, trainer=run.trainer, home=run.ports.settings.home)
    run.stopping.forward(running.terminate)
    try:
        code, peak = _watch(run, running, progress, uploader)
    finally:
        running.kill()  # nothing of it may outlive us, whatever we failed at
    _judge(run, code)
    trained = Trained(
        steps=progress.last.current_steps if progress.last else resumed_from,
        seconds=time.monotonic() - began,
        peak_memory=peak,
        resumed_from=resumed_from,
        warm=running.warm,
        threads=threads,
    )
    fresh = run.work / "trained.fresh"
    fresh.write_bytes(msgspec.json.encode(trained))
    fresh.replace(run.work / MARKER)
    return trained


def _watch(run: Run, running: Running, progress: Progress, uploader: Uploader) -> tuple[int, int]:
    """Exit code, and peak memory in bytes."""
    output, code, peak = Echo(run.log), None, 0
    told, kept = _Patiently(progress.follow), _Patiently(uploader.catch_up)
    while code is None:
        code = running.wait(BEAT_SECONDS)
        peak = max(peak, peak_memory(running.pid))
        output.follow()
        told.once()
        kept.once()
        if run.stopping.overdue:
            running.kill()
    _close(run, progress, uploader)
    return code, peak


class _Patiently:
    """Store and bus may be away for a while: that is no reason for a training to end, for nothing is lost here."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._not_before = 0.0

    def once(self) -> None:
        if time.monotonic() < self._not_before:
            return
        try:
            self._work()
        except Retry as error:
            sys.stdout.write(f"{error}; training goes on, and it is tried again in {AWAY_SECONDS:g} s\n")
            self._not_before = time.monotonic() + AWAY_SECONDS


def _close(run: Run, progress: Progress, uploader: Uploader) -> None:
    """What is left once the trainer has ended. Raises Retry, unless it was told to stop: then there is no time to
    wait in, and it goes on from the newest checkpoint that the store has.
    """
    _Patiently(partial(progress.follow, closing=True)).once()
    patience = Patience(tries=1) if run.stopping.asked else Patience()
    try:
        patience.insist("uploading what is left", uploader.catch_up)
        uploader.close()
    except Retry as error:
        if not run.stopping.asked:
            raise
        sys.stdout.write(f"not uploaded: {error}\n")


def _judge(run: Run, code: int) -> None:
    if code == 0:
        return
    lines = last_lines(run.log, MOST_LINES)
    if code == PREEMPTED or run.stopping.asked or nodes.stopped_together(lines):
        raise Preempted
    told = nodes.without_report(lines) or lines
    lost = nodes.lost_peer(told) if run.nodes > 1 else ""
    if lost:
        raise nodes.LostPeer(f"another node of the run was lost; goes on from its last checkpoint ({lost})")
    raise Reject(explain(code, told))
