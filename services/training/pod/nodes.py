"""A run of several nodes: which of them this is, whether it died of another's death, and what only it has.

Each node has a disk of its own and writes a checkpoint of its own (`save_on_each_node`). The first one uploads and
speaks; the others add what the first one has not, the states of their own processes.
"""

from __future__ import annotations

import itertools
import re
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from services.training.pod.run import Run
from shared.errors import Retry
from shared.podkit.manifests import File
from shared.podkit.patience import Patience

LOST_PEER = 76  # EX_PROTOCOL: this node is well, another one is not
NAME_SECONDS = 600.0  # for the first node's name to be known
_BEAT_SECONDS = 1.0
# States of single processes: random numbers, shards of FSDP, of DeepSpeed's optimizer and weights.
_OWN = ("rng_state_*.pth", "*.distcp", "*zero_pp_rank_*")
_PEERS = re.compile(
    r"closed by peer|reset by peer|Connection refused|Broken pipe|DistNetworkError|DistStoreError|ncclRemoteError"
    r"|remote process exit|collective operation timeout|Rendezvous\w*Error|Timed out waiting \d+ms|failed to connect",
    re.IGNORECASE,
)
_ERROR = re.compile(r"^[\w.]*(Error|Exception)\b")
_WRAPPED = re.compile(r"ChildFailedError|SignalException")
_RANK = re.compile(r"^\[rank\d+\]: ?")
_REPORT = re.compile(r"^E\d{4} .*\] failed \(exitcode")
_TOGETHER = re.compile(r"exitcode\s*:\s*75\b")


class LostPeer(Exception):
    """Another node is gone; this one's trainer could not go on alone."""


def stopped_together(lines: Sequence[str]) -> bool:
    """Whether torchrun says of its processes that they left with their state saved: asked on any node, all do."""
    return any(_TOGETHER.search(line) for line in lines)


def without_report(lines: Sequence[str]) -> list[str]:
    """What the trainer itself printed: no names of ranks, and nothing of what torchrun reports after its end."""
    own = itertools.takewhile(lambda line: not _REPORT.match(line), lines)
    return [_RANK.sub("", line) for line in own]


def lost_peer(lines: Sequence[str]) -> str:
    """The line by which the trainer says that another node is gone; empty where it has an error of its own."""
    errors = [line for line in lines if _ERROR.match(line) and not _WRAPPED.search(line)]
    own = [line for line in errors if not _PEERS.search(line)]
    told = [line for line in errors or lines if _PEERS.search(line)]
    return told[-1] if told and not own else ""


def await_first(address: str, check: Callable[[], None], seconds: float = NAME_SECONDS) -> None:
    """Wait until the first node's name is known: once its pod has an address. Raises Retry, what `check` raises."""
    deadline = time.monotonic() + seconds
    while not _known(address):
        check()
        if time.monotonic() > deadline:
            raise Retry(f"the first node's name, {address}, was not known within {seconds:g} s")
        time.sleep(_BEAT_SECONDS)


def _known(address: str) -> bool:
    try:
        socket.getaddrinfo(address, None)
    except OSError:
        return False
    return True


def add_own_part(run: Run, step: int, folder: Path, patience: Patience) -> None:
    """Upload what only this node has of a checkpoint, then the list of it, by which it counts. Raises Retry."""
    store, place = run.ports.artifacts, f"{run.prefix}/checkpoints/step-{step}"
    files = []
    for path in sorted(path for pattern in _OWN for path in folder.rglob(pattern)):
        name = path.relative_to(folder).as_posix()
        put = patience.insist(f"uploading {name}", partial(store.upload, path, f"{place}/{name}"))
        files.append(File(path=name, size=put.size, digest=put.digest))
    content = msgspec.json.encode(files)
    patience.insist("uploading a node's part", lambda: store.write(_list_of(run, step, run.rank), content))


def parts(run: Run, step: int) -> tuple[File, ...] | None:
    """What all other nodes added; None as long as one is missing. Raises Retry."""
    wanted = [_list_of(run, step, rank) for rank in range(1, run.nodes)]
    if not wanted:
        return ()
    store = run.ports.artifacts
    if not set(wanted) <= set(store.list(f"{run.prefix}/parts/step-{step}/")):
        return None
    lists = [msgspec.json.decode(store.read(path), type=list[File]) for path in wanted]
    return tuple(file for files in lists for file in files)


def _list_of(run: Run, step: int, rank: int) -> str:
    """Of this start: a checkpoint that an earlier one did not bring to its end is another one."""
    return f"{run.prefix}/parts/step-{step}/{run.document.job or 'job'}-{run.attempt}-{rank}.json"
