"""`kuznia chat`: ask a model through the gateway, as any client would."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import click

from services.cli.common import endpoints, find_version, installation, json_option, print_json
from services.cli.tokens import own_token
from shared.errors import Reject

TIMEOUT_SECONDS = 300


@click.command()
@click.argument("model")
@click.argument("question", nargs=-1)
@click.option("--max-tokens", default=128, show_default=True, help="Longest answer.")
@json_option
def chat(model: str, question: tuple[str, ...], max_tokens: int, as_json: bool) -> None:
    """Ask MODEL a question, or talk with it line by line if no QUESTION is given.

    The token is KUZNIA_TOKEN, or one that this command makes for itself.
    """
    with installation() as (settings, ports):
        gateway = endpoints(settings).gateway
        tenant = find_version(ports, model).data["tenant"]
        token = os.environ.get("KUZNIA_TOKEN") or own_token(ports, settings.home, tenant)
    talk = Talk(gateway, token, model, max_tokens)
    if question:
        _answer(talk, " ".join(question), as_json)
        return
    click.echo("An empty line ends it.")
    while line := click.prompt("you", default="", show_default=False):
        _answer(talk, line, as_json)


class Talk:
    """A conversation with one model; remembers what was said."""

    def __init__(self, gateway: str, token: str, model: str, max_tokens: int) -> None:
        self._url = f"{gateway}/v1/chat/completions"
        self._token = token
        self._model = model
        self._max_tokens = max_tokens
        self._messages: list[dict[str, str]] = []
        self.release = ""

    def ask(self, question: str) -> Iterator[str]:
        """The answer, piece by piece. Raises Reject with the gateway's own words."""
        self._messages.append({"role": "user", "content": question})
        pieces = []
        for piece in self._stream():
            pieces.append(piece)
            yield piece
        self._messages.append({"role": "assistant", "content": "".join(pieces)})

    def forget(self) -> None:
        """Begin a new conversation."""
        self._messages.clear()

    def _stream(self) -> Iterator[str]:
        body = {
            "model": self._model,
            "messages": self._messages,
            "max_tokens": self._max_tokens,
            "temperature": 0,
            "stream": True,
        }
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self._url, json.dumps(body).encode(), headers)  # noqa: S310 - our gateway
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310
                self.release = response.headers.get("x-kuznia-model", "")
                yield from _pieces(response)
        except urllib.error.HTTPError as error:
            with error:
                raise Reject(_words(error.read())) from error
        except OSError as error:
            raise Reject(f"the gateway does not answer: {error}") from error


def _pieces(response: Any) -> Iterator[str]:
    for line in response:
        text = line.decode().strip()
        if not text.startswith("data: ") or text == "data: [DONE]":
            continue
        chunk = json.loads(text.removeprefix("data: "))
        if "error" in chunk:
            raise Reject(str(chunk["error"]["message"]))
        for choice in chunk["choices"][:1]:  # the figures at the end come without one
            yield str(choice["delta"].get("content") or "")


def _words(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return body.decode(errors="replace")


def _answer(talk: Talk, question: str, as_json: bool) -> None:
    if as_json:
        answer = "".join(talk.ask(question))
        print_json({"question": question, "answer": answer, "release": talk.release})
        return
    for piece in talk.ask(question):
        click.echo(piece, nl=False)
    click.echo()
