"""The small parts by themselves: the peek at the body, the events of a stream, the lifespan."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.app import create_app
from services.gateway.directory import StoreDirectory
from services.gateway.errors import ApiError
from services.gateway.peek import peek, with_model
from services.gateway.sse import Events
from shared.settings import Settings
from tests.services.gateway.world import DictStore

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values, max_size=4), st.text(min_size=1), st.booleans() | st.none())
def test_the_peek_finds_the_two_fields_whatever_stands_around_them(
    around: dict[str, Any], model: str, stream: Any
):
    body = json.dumps(around | {"model": model, "stream": stream}).encode()
    found = peek(body)
    assert (found.model, found.stream) == (model, stream)
    assert json.loads(with_model(body, "other")) == around | {"model": "other", "stream": stream}


def test_another_model_name_leaves_the_other_fields_their_bytes():
    body = b'{"seed": 12345678901234567890123, "temperature": 1.10e0, "model": "a", "x": "\\u00e9\\n"}'
    assert with_model(body, "b") == (
        b'{"seed":12345678901234567890123,"temperature":1.10e0,"model":"b","x":"\\u00e9\\n"}'
    )


@given(st.binary() | st.binary().map(lambda some: b'{"model":"a","' + some + b'":1}'))
def test_no_body_is_worse_than_a_400(body: bytes):
    for read in (peek, lambda body: with_model(body, "b")):
        try:
            read(body)
        except ApiError as error:
            assert error.status == 400  # noqa: PT017 - both an answer and this refusal are right


@given(st.lists(st.text("ab :\n\r").map(str.encode)), st.sampled_from([b"\n\n", b"\r\n\r\n"]))
def test_events_lose_no_byte_and_wait_for_no_other(chunks: list[bytes], end: bytes):
    events = Events()
    sent = b""
    for chunk in chunks:
        sent += events.feed(chunk)
        assert sent == b"" or sent.endswith((b"\n\n", b"\r\n\r\n", b"\r\r"))
    assert sent + events.feed(b"data: x" + end) == b"".join(chunks) + b"data: x" + end
    assert events.feed(b"data: tail") == b""
    assert events.rest() == b"data: tail"
    assert events.rest() == b""


def test_an_endless_event_is_not_hoarded():
    events = Events()
    assert sum(len(events.feed(b"x" * 100_000)) for _ in range(20)) > 1_000_000


def _gateway(home: Path) -> tuple[Any, StoreDirectory]:
    directory = StoreDirectory(DictStore())
    return create_app(directory, Settings(home=home, cache=home)), directory


def test_not_ready_before_the_start_and_no_start_without_an_audit_log(tmp_path: Path):
    (tmp_path / "logs").write_text("in the way")
    app, directory = _gateway(tmp_path)
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    async def scenario() -> None:
        await app({"type": "http", "method": "GET", "path": "/readyz", "headers": []}, receive, send)
        await app({"type": "lifespan"}, receive, send)
        await app({"type": "websocket"}, receive, send)

    asyncio.run(scenario())
    directory.close()
    assert sent[0]["status"] == 503
    assert (b"retry-after", b"1") in sent[0]["headers"]
    assert sent[2]["type"] == "lifespan.startup.failed"
    assert "no audit log" in sent[2]["message"]
    assert sent[3] == {"type": "websocket.close"}


def test_a_watch_that_dies_is_told_of_and_started_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("services.gateway.background.SWEEP_EVERY", 0.01)
    app, directory = _gateway(tmp_path)
    starts: list[int] = []
    over = asyncio.Event()

    async def watch() -> None:
        starts.append(1)
        if len(starts) == 3:
            over.set()
        raise LookupError("unforeseen")

    monkeypatch.setattr(directory, "watch", watch)
    messages = iter(["lifespan.startup"])

    async def receive() -> Any:
        if next(messages, None) is None:
            await over.wait()
        return {"type": ""}

    async def send(message: Any) -> None: ...

    asyncio.run(app({"type": "lifespan"}, receive, send))
    assert caplog.text.count("ended and is started again") >= 2
    assert "unforeseen" in caplog.text
