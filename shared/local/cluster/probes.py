"""Asks a starting server whether it is ready, beside the supervisor, so that a slow answer delays nobody."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 0.5
_TIMEOUT = 2.0


class Probe:
    """GETs `http://<address><path>` until it answers 200; then `answered` is set and `wake` is called, once."""

    def __init__(self, address: str, path: str, wake: Callable[[], None]) -> None:
        self.answered = threading.Event()
        self._enough = threading.Event()
        self._address = address
        self._path = path
        self._wake = wake
        threading.Thread(target=self._run, name=f"probe-{address}", daemon=True).start()

    def stop(self) -> None:
        """Ask no more. The request that is under way may take another two seconds; nobody waits for it."""
        self._enough.set()

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._enough.wait(pause):
            if is_ready(self._address, self._path) and not self._enough.is_set():
                self.answered.set()
                self._wake()
                return
            pause = min(pause * 1.5, _LONGEST_PAUSE)


def is_ready(address: str, path: str) -> bool:
    """Whether a GET is answered with 200."""
    connection = http.client.HTTPConnection(address, timeout=_TIMEOUT)
    try:
        connection.request("GET", path)
        with connection.getresponse() as response:
            return response.status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
