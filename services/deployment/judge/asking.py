"""One question to one engine, as any client asks it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import msgspec

from services.deployment.judge.document import Engine
from shared.errors import Reject, Retry
from shared.evaluation.metrics import Row
from shared.podkit.engines import key_of
from shared.settings import Settings

KEYS = "KUZNIA_ENGINE_KEYS"  # a folder with a file for each keeper; without it keys are derived
ANSWER_SECONDS = 120.0
MOST_BYTES = 4 * 1024 * 1024
SHOWN = 200
_LATER = frozenset({408, 429, 500, 502, 503, 504})


class _Message(msgspec.Struct, frozen=True):
    content: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    message: _Message


class _Reply(msgspec.Struct, frozen=True):
    choices: tuple[_Choice, ...]


class Asker:
    """key: that the engine asks for. max_new_tokens: of an answer, which is the likeliest one, as in validation."""

    def __init__(self, engine: Engine, key: str, max_new_tokens: int) -> None:
        self._engine = engine
        self._key = key
        self._max_new_tokens = max_new_tokens

    def ask(self, row: Row) -> str:
        """The answer. Raises Retry (no answer, or not now), Reject (it refuses, or speaks another language)."""
        system = [{"role": "system", "content": row.system}] if row.system else []
        told = {
            "model": self._engine.model,
            "messages": [*system, {"role": "user", "content": row.prompt}],
            "max_tokens": self._max_new_tokens,
            "temperature": 0.0,
            "stream": False,
        }
        status, body = self._post("/v1/chat/completions", told)
        if status in _LATER:
            raise Retry(f"{self._named} answers {status}: {_shown(body)}")
        if status != 200:
            raise Reject(f"{self._named} refuses a question with {status}: {_shown(body)}")
        try:
            choices = msgspec.json.decode(body, type=_Reply).choices
        except msgspec.DecodeError as error:
            raise Reject(f"{self._named} does not answer as an OpenAI chat API does: {error}") from error
        return (choices[0].message.content or "") if choices else ""

    @property
    def _named(self) -> str:
        return f"the engine of {self._engine.version} at {self._engine.address}"

    def _post(self, path: str, told: Mapping[str, Any]) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        with closing(HTTPConnection(self._engine.address, timeout=ANSWER_SECONDS)) as connection:
            try:
                connection.request("POST", path, msgspec.json.encode(told), headers)
                response = connection.getresponse()
                return response.status, response.read(MOST_BYTES)
            except (OSError, HTTPException) as error:
                raise Retry(f"{self._named} does not answer: {error or type(error).__name__}") from error


def key(engine: Engine, settings: Settings, environ: Mapping[str, str] = os.environ) -> str:
    """What the engine asks for: given to the pod as a file, or derived where the pod has the installation's secret.

    Raises Reject where the file is empty, OSError where it is not there.
    """
    folder = environ.get(KEYS)
    return key_of(settings, engine.keeper, str(Path(folder) / engine.keeper) if folder else "")


def _shown(body: bytes) -> str:
    return " ".join(body[:SHOWN].decode(errors="replace").split())
