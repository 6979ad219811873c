"""A load on an OpenAI-compatible server: so many requests at once, of so many tokens each; tokens a second."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """prompt_words: of each request. tokens: that each answer has, whatever the model would rather say."""

    requests: int = 256
    at_once: int = 64
    prompt_words: int = 256
    tokens: int = 256


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """address: host:port. key: empty for none."""

    address: str
    model: str
    key: str = ""


class ServerError(RuntimeError):
    """It answered something else than 200; with what."""


def tokens_a_second(server: Server, load: Load) -> float:
    """Answer tokens of all requests by the time from the first to the last. Raises ServerError, OSError."""
    shares = [
        range(number, load.requests, load.at_once) for number in range(min(load.at_once, load.requests))
    ]
    with ThreadPoolExecutor(len(shares)) as pool:
        began = time.perf_counter()
        counts = list(pool.map(lambda share: _ask(server, load, share), shares))
        return sum(counts) / (time.perf_counter() - began)


def _ask(server: Server, load: Load, share: Sequence[int]) -> int:
    """One client on one connection, one request after another."""
    headers = {"content-type": "application/json"}
    headers |= {"authorization": f"Bearer {server.key}"} if server.key else {}
    connection = http.client.HTTPConnection(server.address, timeout=600)
    try:
        return sum(_one(connection, headers, body(server, load, number)) for number in share)
    finally:
        connection.close()


def _one(connection: http.client.HTTPConnection, headers: dict[str, str], content: bytes) -> int:
    connection.request("POST", "/v1/completions", content, headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != http.client.OK:
        raise ServerError(f"{answer.status} {text[:300].decode(errors='replace')}")
    return int(json.loads(text)["usage"]["completion_tokens"])


def body(server: Server, load: Load, number: int) -> bytes:
    """Each prompt begins otherwise, so that no cache of prefixes answers for another's."""
    words = " ".join([f"request-{number}", *(["word"] * (load.prompt_words - 1))])
    asked = {"model": server.model, "prompt": words, "max_tokens": load.tokens, "temperature": 0}
    return json.dumps(asked | {"ignore_eos": True}).encode()
