"""What this machine has, found out without torch."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path


def visible_gpus(environ: Mapping[str, str] = os.environ, dev: Path = Path("/dev")) -> int:
    """GPUs that a trainer would see: device nodes, cut by CUDA_VISIBLE_DEVICES."""
    present = sum(1 for path in dev.glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name))
    if not present and (dev / "kfd").exists():  # AMD
        present = sum(1 for _ in dev.glob("dri/renderD*"))
    chosen = environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return present
    named = chosen.split(",") if chosen.strip() else []
    return min(present, len(named[: named.index("-1")] if "-1" in named else named))


def device_name(gpus: int, proc: Path = Path("/proc")) -> str:
    """`2 × NVIDIA L4`, or the CPU and how many of it: what a card says about the machine."""
    if gpus:
        paths = sorted(proc.glob("driver/nvidia/gpus/*/information"))
        models = [_field(path, "Model") for path in paths]
        return f"{gpus} × {models[0] if models else 'GPU'}"
    model = _field(proc / "cpuinfo", "model name") or platform.processor() or platform.machine()
    return f"CPU ({model}, {os.cpu_count()} cores)"


def peak_memory(pid: int, proc: Path = Path("/proc")) -> int:
    """Largest resident size of a process so far, bytes; 0 where it is gone or the system does not say."""
    text = _field(proc / str(pid) / "status", "VmHWM")
    return int(text.split()[0]) * 1024 if text else 0


def _field(path: Path, name: str) -> str:
    try:
        found = re.search(
            rf"^{name}\s*:\s*(.+)$", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE
        )
    except OSError:
        return ""
    return found[1].strip() if found else ""
