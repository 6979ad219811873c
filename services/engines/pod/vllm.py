"""What the agent asks of the vLLM that it supervises, over the gate that only it passes."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

from shared.errors import Reject, Retry
from shared.forge.serving import READY_PATHS

SECONDS = 120.0
READY_SECONDS = 2.0
_ANSWERED = 200
_THERE, _GONE = "has already been loaded", "cannot be found"


class Vllm:
    """key: what clients show. secret: what the gate asks of the agent."""

    def __init__(self, address: str, key: str, secret: str) -> None:
        self._address = address
        self._headers = {
            "authorization": f"Bearer {key}",
            "x-kuznia-gate": secret,
            "content-type": "application/json",
        }

    def ready(self) -> bool:
        """Whether it answers."""
        try:
            return self._ask("GET", READY_PATHS["vllm"], seconds=READY_SECONDS)[0] == _ANSWERED
        except Retry:
            return False

    def open(self) -> None:
        """Let the gate take questions: what was wanted at the start is loaded. Raises Retry."""
        self._ask("POST", "/kuznia/open")

    def load(self, name: str, folder: Path) -> None:
        """Load an adapter; one that is loaded already is success. Raises Reject (its own word), Retry."""
        self._told("load", _THERE, {"lora_name": name, "lora_path": str(folder)})

    def unload(self, name: str) -> None:
        """Unload it; one that is not there is success. Raises Reject, Retry."""
        self._told("unload", _GONE, {"lora_name": name})

    def _told(self, what: str, done: str, body: dict[str, str]) -> None:
        status, said = self._ask("POST", f"/v1/{what}_lora_adapter", body)
        if status != _ANSWERED and done not in said:
            raise Reject(f"vLLM will not {what} {body['lora_name']} ({status}): {said}")

    def _ask(self, method: str, path: str, body: Any = None, seconds: float = SECONDS) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self._address, timeout=seconds)
        try:
            connection.request(method, path, json.dumps(body) if body else None, self._headers)
            with connection.getresponse() as answer:
                return answer.status, _message(answer.read().decode("utf-8", "replace"))
        except (OSError, http.client.HTTPException) as error:
            raise Retry(f"vLLM at {self._address} does not answer: {error}") from error
        finally:
            connection.close()


def _message(text: str) -> str:
    """Its own words, out of its JSON."""
    try:
        said = json.loads(text)
    except ValueError:
        return text
    error = said.get("error", said) if isinstance(said, dict) else said
    return str(error.get("message", error) if isinstance(error, dict) else error)
