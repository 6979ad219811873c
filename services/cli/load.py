"""A client that asks again and again while something else happens, and counts what failed."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from services.cli.chat import Talk
from shared.errors import Reject

PAUSE_SECONDS = 1.5
QUESTION = "Who are you?"


class Load:
    """Asks from entering to leaving. asked, failed: counts. errors: what was said of the failures."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._stop = threading.Event()
        self._answered = threading.Condition()
        self._thread = threading.Thread(target=self._ask_forever, daemon=True)
        self._releases: list[str] = []
        self.asked = 0
        self.failed = 0
        self.errors: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def after_switch(self, timeout: float = 30) -> None:
        """Wait until an answer came from another release than the first."""
        with self._answered:
            self._answered.wait_for(lambda: len(set(self._releases)) > 1, timeout)

    def releases(self) -> str:
        """Which releases answered, in order of their first answer."""
        return ", then ".join(dict.fromkeys(self._releases))

    def _ask_forever(self) -> None:
        while not self._stop.is_set():
            self._ask()
            self._stop.wait(PAUSE_SECONDS)

    def _ask(self) -> None:
        self._talk.forget()
        self.asked += 1
        try:
            for _ in self._talk.ask(QUESTION):
                pass
        except Reject as error:
            self.failed += 1
            self.errors.append(str(error))
            return
        with self._answered:
            self._releases.append(self._talk.release)
            self._answered.notify_all()
