"""Server-sent events: passed on whole, so that a stream that breaks can still end in an event that reads."""

from __future__ import annotations

ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")
LONGEST = 1024 * 1024


class Events:
    """Holds back only the unfinished tail of the last event, which no client could use yet."""

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, chunk: bytes) -> bytes:
        """What may be sent on now; nearly always the chunk itself."""
        data = self._tail + chunk if self._tail else chunk
        if data.endswith(ENDS) or len(data) > LONGEST:
            self._tail = b""
            return data
        cut = max(_after(data, end) for end in ENDS)
        self._tail = data[cut:]
        return data[:cut]

    def rest(self) -> bytes:
        """What is left at an orderly end."""
        tail, self._tail = self._tail, b""
        return tail


def event(data: bytes) -> bytes:
    """One event holding one line."""
    return b"data: " + data + b"\n\n"


def _after(data: bytes, end: bytes) -> int:
    found = data.rfind(end)
    return 0 if found < 0 else found + len(end)
