"""Following a file that another process appends to."""

from __future__ import annotations

from pathlib import Path


class Tail:
    """Whole lines, as they come; a line not yet ended waits for its end."""

    def __init__(self, path: Path, *, from_end: bool = False) -> None:
        self._path = path
        self._position = path.stat().st_size if from_end and path.exists() else 0
        self._rest = b""

    def lines(self) -> list[str]:
        """Lines since the last call, without their ends; none while the file does not exist."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                content = file.read()
        except FileNotFoundError:
            return []
        self._position += len(content)
        *whole, self._rest = (self._rest + content).split(b"\n")
        return [line.decode("utf-8", "replace") for line in whole]


def last_lines(path: Path, count: int, limit: int = 64 * 1024) -> list[str]:
    """The last lines that are not blank; of a progress bar, what it showed last. At most `limit` bytes."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - limit))
            content = file.read()
    except FileNotFoundError:
        return []
    lines = [line.rsplit("\r", 1)[-1].rstrip() for line in content.decode("utf-8", "replace").split("\n")]
    return [line for line in lines if line][-count:]
