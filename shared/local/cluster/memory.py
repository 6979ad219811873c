"""How much memory processes use together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shared.local.cluster.processes import Process


def over(processes: Sequence[Process], limit: int) -> int:
    """Bytes in use where they are above the limit, else 0.

    Resident sizes count shared pages once a process, so they only raise the suspicion; proportional sizes,
    which cost the kernel a walk through the page tables, decide.
    """
    if sum(process.resident for process in processes) <= limit:
        return 0
    used = sum(_proportional(process) for process in processes)
    return used if used > limit else 0


def _proportional(process: Process) -> int:
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return 0
    except PermissionError:
        return process.resident
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), process.resident)
