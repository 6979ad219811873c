"""`vllm serve` in this process, which dies when the pod that started it dies.

Runs under the engine's Python as a script: it imports nothing of ours, and its folder holds what vLLM is to find.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Be killed when the parent dies, however it dies; at once, if that has already happened. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(f"the process that started this one ({parent}) is gone")


if __name__ == "__main__":
    die_with(int(os.environ["KUZNIA_PARENT"]))
    from vllm.entrypoints.cli.main import main  # type: ignore[import-not-found]

    sys.argv[0] = "vllm"
    main()
