"""What runs in a trainer process, warm or cold: `llamafactory-cli` with a way to stop, or our generation.

Runs under the trainer's Python as a script: it imports nothing of ours but its neighbours in this folder.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

PREEMPTED = 75  # EX_TEMPFAIL: stopped on request, the state is saved, start again
_PR_SET_PDEATHSIG = 1


def main(argv: Sequence[str]) -> None:
    """`train <yaml>`, `api <yaml>` and every other `llamafactory-cli` command; or `generate <json>`.

    A trainer that was asked to stop leaves with PREEMPTED.
    """
    command, *rest = argv
    if command == "train":
        _train(rest)
    elif command == "generate":
        from generate import main as generate  # type: ignore[import-not-found] # noqa: PLC0415

        generate(*rest)
    else:
        _llamafactory(argv)


def die_with(parent: int) -> None:
    """Be killed when the parent dies, however it dies; at once, if that has already happened. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(f"the process that started this one ({parent}) is gone")


def _train(rest: Sequence[str]) -> None:
    if "LOCAL_RANK" not in os.environ and _wants_torchrun():
        _torchrun(rest)
    if "LOCAL_RANK" in os.environ:
        _know_cpus_by_number()
    from llamafactory.train import tuner  # noqa: PLC0415
    from preempt import Preempt  # type: ignore[import-not-found] # noqa: PLC0415

    sys.argv = ["llamafactory-cli", *rest]
    tuner.run_exp(callbacks=[Preempt(PREEMPTED)])


def _know_cpus_by_number() -> None:
    """Distributed on CPUs transformers loads the optimizer to `cpu:0`, a place that torch has no name for."""
    import torch  # noqa: PLC0415

    torch.serialization.register_package(
        9, lambda _storage: None, lambda storage, place: storage if place.startswith("cpu:") else None
    )


def _llamafactory(argv: Sequence[str]) -> None:
    from llamafactory.cli import main as cli  # noqa: PLC0415

    sys.argv = ["llamafactory-cli", *argv]
    cli()


def _wants_torchrun() -> bool:
    return os.environ.get("FORCE_TORCHRUN", "").lower() in {"1", "true", "y"}


def _torchrun(rest: Sequence[str]) -> None:
    """Become torchrun with this file as its workers, by the variables that LLaMA-Factory reads.

    Done here because LLaMA-Factory's own command cannot carry a path with a space, nor our callback.
    """
    get = os.environ.get
    if get("RDZV_ID"):
        nodes = f"{get('MIN_NNODES')}:{get('MAX_NNODES')}" if get("MIN_NNODES") else get("NNODES", "1")
        where = [
            "--rdzv-id",
            get("RDZV_ID", ""),
            "--rdzv-backend",
            "c10d",
            "--max-restarts",
            get("MAX_RESTARTS", "0"),
        ]
        where += ["--rdzv-endpoint", f"{get('MASTER_ADDR', '127.0.0.1')}:{get('MASTER_PORT', '29500')}"]
    else:
        nodes = get("NNODES", "1")
        where = ["--node-rank", get("NODE_RANK", "0"), "--master-addr", get("MASTER_ADDR", "127.0.0.1")]
        where += ["--master-port", get("MASTER_PORT", "29500")]
    size = ["--nnodes", str(nodes), "--nproc-per-node", get("NPROC_PER_NODE", "1")]
    os.environ["KUZNIA_PARENT"] = str(os.getpid())
    command = ["-m", "torch.distributed.run", *size, *where, str(Path(__file__).resolve()), "train", *rest]
    os.execv(sys.executable, [sys.executable, *command])  # noqa: S606 - there is no shell


if __name__ == "__main__":
    if "KUZNIA_PARENT" in os.environ:
        die_with(int(os.environ["KUZNIA_PARENT"]))
    main(sys.argv[1:])
