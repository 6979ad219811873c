"""Who may compute with how many threads, among the pods of one machine.

Two trainers with two threads each on two cores do not take twice the time but ten times: their threads wait
for each other at every operation. So each takes cores, by file locks that even kill -9 gives back.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path

from shared.forge.environment import available_cpus
from shared.podkit.machine import visible_gpus
from shared.settings import Settings

POLL_SECONDS = 0.1
PATIENCE_SECONDS = 900.0  # then it is better to be slow than to be late


def allotted(
    settings: Settings, told: int, *, share: float, check: Callable[[], None]
) -> AbstractContextManager[int]:
    """The threads of a trainer process, held while it runs: as many as it was `told`, else a `share` of the
    cores of this machine as far as they are free. On a GPU they do not matter: 0, which is all.
    """
    if told or visible_gpus():
        return nullcontext(told)
    total = available_cpus()
    most = max(1, round(total * share))
    return cores(settings.cache / "cores", total, most=most, patience=PATIENCE_SECONDS, check=check)


@contextmanager
def cores(
    folder: Path, total: int, *, most: int, patience: float, check: Callable[[], None]
) -> Iterator[int]:
    """Hold up to `most` of the machine's `total` cores; how many they are, at least 1.

    Waits for a free one, calling `check` (which may raise) meanwhile, for `patience` seconds; then it shares.
    """
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience
    with ExitStack() as held:
        found = _take(folder, total, most, held)
        if not found:
            sys.stdout.write("waiting for a free core\n")
            sys.stdout.flush()
        while not found and time.monotonic() < deadline:
            check()
            time.sleep(POLL_SECONDS)
            found = _take(folder, total, most, held)
        yield max(found, 1)


def _take(folder: Path, total: int, most: int, held: ExitStack) -> int:
    found = 0
    for number in range(total):
        if found < most and _lock(folder / str(number), held):
            found += 1
    return found


def _lock(path: Path, held: ExitStack) -> bool:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return False
    held.callback(os.close, handle)
    return True
