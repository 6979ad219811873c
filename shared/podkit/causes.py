"""From the end of a trainer's output to a cause that a person understands. Pure."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence

TAIL_LINES = 20
# What the trainer says, what it means, how to mend it.
_KNOWN = (
    (r"(CUDA|HIP) out of memory|torch\.(cuda\.)?OutOfMemoryError",
     "the GPU ran out of memory: lower per_device_train_batch_size or cutoff_len, or ask for a larger GPU"),
    (r"No space left on device|Disk quota exceeded|errno 28",
     "the disk is full: free some space, or keep fewer checkpoints (save_total_limit)"),
    (r"Cannot allocate memory|MemoryError|DefaultCPUAllocator: can't allocate memory",
     "out of memory: lower per_device_train_batch_size or cutoff_len, or raise resources.memory_gb"),
    (r"Undefined dataset (\S+) in", "data set \\1 is not in dataset_info.json: add it there, or correct `dataset`"),
    (r"Template (\S+) does not exist", "template \\1 does not exist: correct `template` in config.yaml"),
    (r"Some keys are not used by the HfArgumentParser: (.+)", "config.yaml has unknown keys: \\1"),
    (r"File (\S+) not found", "\\1 is not in the experiment's folder: commit it, or correct dataset_info.json"),
    (r"(does not appear to have a file named|is not a local folder and is not a valid model identifier)",
     "the base model cannot be loaded: correct model_name_or_path in config.yaml"),
    (r"Cannot find valid samples, check `data/README.md`",
     "no row of the data set could be used: check its columns against dataset_info.json"),
    (r"loss.{0,20}(is nan|nan\b)", "the loss became NaN: lower the learning rate"),
)  # fmt: skip
_ERROR = re.compile(r"^[\w.]*(Error|Exception|Interrupt|Exit)\b.*")


def explain(code: int, lines: Sequence[str]) -> str:
    """code: exit code, negative for a signal. lines: the end of what the trainer printed."""
    told = [line for line in lines if not line.startswith("[INFO|")]
    tail = "\n".join(f"  {line}" for line in told[-TAIL_LINES:])
    end = f"\nThe end of its output:\n{tail}" if tail else "\nIt printed nothing."
    known = _known(told)
    if known:
        return known + end
    if code in {-signal.SIGKILL, 128 + signal.SIGKILL}:
        return (
            "the trainer was killed: out of memory? Lower per_device_train_batch_size or cutoff_len, or raise"
            " resources.memory_gb" + end
        )
    if code < 0:
        return f"the trainer died of signal {-code} ({_signal_name(-code)})" + end
    errors = [line for line in told if _ERROR.match(line)]
    return (errors[-1] if errors else f"the trainer ended with exit code {code}") + end


def _known(lines: Sequence[str]) -> str:
    """The last line that we have words for: the first ones may be source code of a traceback."""
    for line in reversed(lines):
        for pattern, meaning in _KNOWN:
            found = re.search(pattern, line, re.IGNORECASE)
            if found:
                return found.expand(meaning)
    return ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
