"""The stand-in for a trainer's process: what `shared/forge/inside/child.py` is to the real one.

It is a real child process under a real pod, and it takes milliseconds where torch takes seconds. It is no
LLaMA-Factory: `tests/integration/test_real_trainer.py` runs that.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def main(arguments: Sequence[str]) -> None:
    """arguments: the script that the platform named, then `train <yaml>`, `generate <json>` or `api <yaml>`."""
    _script, command, *rest = arguments
    if command == "train":
        from training import main as run  # type: ignore[import-not-found] # noqa: PLC0415 - beside us
    elif command == "generate":
        from answering import main as run  # type: ignore[import-not-found] # noqa: PLC0415
    elif command == "api":
        from engine import main as run  # type: ignore[import-not-found] # noqa: PLC0415
    else:
        raise SystemExit(f"the stand-in does not know {command!r}")
    run(*rest)


def die_with(parent: int) -> None:
    """Be killed when the parent dies, as the real child is."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(f"the process that started this one ({parent}) is gone")


if __name__ == "__main__":
    if "KUZNIA_PARENT" in os.environ:
        die_with(int(os.environ["KUZNIA_PARENT"]))
    main(sys.argv[1:])
