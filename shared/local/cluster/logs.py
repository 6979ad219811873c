"""The output of a workload: one file over all attempts, bounded.

A pod writes to the file itself, so that it survives the platform; when the file has grown past the limit, its
content moves to `log.1`, replacing what was there. Lines written during that copy can be lost. So the last 8 to
16 MiB are kept.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from shared.local.cluster.layout import Layout

LIMIT = 8 * 1024 * 1024
MARK = "=== attempt"
_BLOCK = 64 * 1024
_MESSAGE_LINES = 20
_MESSAGE_CHARACTERS = 4000


def rotate(layout: Layout, limit: int = LIMIT) -> bool:
    """Move the content aside where there is more than `limit` bytes of it."""
    try:
        if layout.log.stat().st_size <= limit:
            return False
    except FileNotFoundError:
        return False
    try:
        shutil.copyfile(layout.log, layout.older_log)
    except OSError:  # most likely this very log has filled the disk: better to lose it than to keep it full
        layout.older_log.unlink(missing_ok=True)
    os.truncate(layout.log, 0)  # writers append, so they go on at the new end
    return True


def tail(layout: Layout, lines: int) -> str:
    """The last lines. Raises FileNotFoundError where nothing was ever written."""
    text = _tail(layout.log, lines)
    missing = lines - text.count("\n")
    if missing > 0 and layout.older_log.exists():
        text = _tail(layout.older_log, missing) + text
    return text


def last_words(layout: Layout) -> str:
    """What the last attempt wrote at its end, as short as a message should be."""
    try:
        lines = tail(layout, _MESSAGE_LINES).splitlines()
    except FileNotFoundError:
        return ""
    starts = [number for number, line in enumerate(lines) if line.startswith(MARK)]
    own = lines[starts[-1] + 1 :] if starts else lines
    return "\n".join(own).strip()[-_MESSAGE_CHARACTERS:]


def _tail(path: Path, lines: int) -> str:
    if lines <= 0:
        return ""
    with path.open("rb") as file:
        position = file.seek(0, os.SEEK_END)
        content = b""
        while position and content.count(b"\n") <= lines:
            step = min(_BLOCK, position)
            position -= step
            file.seek(position)
            content = file.read(step) + content
    kept = content.splitlines(keepends=True)[-lines:]
    return b"".join(kept).decode(errors="replace")
