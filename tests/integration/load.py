"""Clients that ask without a pause, and count what they get."""

from __future__ import annotations

import threading
from collections import Counter
from types import TracebackType
from typing import Self

import openai

from tests.integration import ends
from tests.integration.installation import Installation
from tests.integration.repository import QUESTION, model_id

CLIENTS = 4


class Load:
    """A context: asks while it is open. releases: answers by the version that gave them."""

    def __init__(self, installation: Installation, name: str = "qa") -> None:
        self.releases: Counter[str] = Counter()
        self.failures: list[str] = []
        self._model = model_id(name)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._clients = [ends.client(installation) for _ in range(CLIENTS)]
        self._threads = [threading.Thread(target=self._ask, args=(one,)) for one in self._clients]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for client in self._clients:
            client.close()

    def answered_by(self, version: str) -> int:
        """How many answers a version has given."""
        with self._lock:
            return self.releases[f"{self._model}@{version}"]

    def _ask(self, client: openai.OpenAI) -> None:
        messages: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": QUESTION}]
        while not self._stop.wait(0.01):
            try:
                raw = client.chat.completions.with_raw_response.create(model=self._model, messages=messages)
            except openai.APIError as error:
                with self._lock:
                    self.failures.append(repr(error))
                continue
            with self._lock:
                self.releases[raw.headers["x-kuznia-model"]] += 1
