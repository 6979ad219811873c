"""The small parts by themselves: the peek, the events, the audit, the directory, the lifespan."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.app import create_app
from services.gateway.audit import Audit, Entry
from services.gateway.directory import StoreDirectory
from services.gateway.errors import ApiError
from services.gateway.peek import peek, with_model
from services.gateway.sse import Events
from services.gateway.tokens import new_token
from shared.errors import Retry
from shared.local.store import SqliteStore, open_database
from shared.record import Record
from shared.settings import Settings
from tests.services.gateway.world import DictStore, VersionedStore, until

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.text(), json_values), st.text(min_size=1), st.booleans() | st.none())
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


def _entry(number: int) -> Entry:
    return Entry(
        time=datetime(2026, 1, 1, tzinfo=UTC), request_id=str(number), route="/", status=200, duration_ms=1.0
    )


def test_the_audit_is_flushed_while_it_runs_and_survives_a_rotation(tmp_path: Path):
    path = tmp_path / "logs" / "gateway.jsonl"
    audit = Audit(path)
    audit.start()
    audit.put(_entry(1))
    until(lambda: path.exists() and path.read_text().endswith("\n"))
    path.rename(tmp_path / "old")
    for number in range(2, 1002):
        audit.put(_entry(number))
    audit.stop()
    audit.stop()
    assert [json.loads(line)["request_id"] for line in path.read_text().splitlines()] == [
        str(number) for number in range(2, 1002)
    ]
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_audit_that_cannot_be_written_waits_and_complains_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = tmp_path / "gateway.jsonl"
    path.mkdir()
    audit = Audit(path)
    audit.start()
    audit.put(_entry(1))
    until(lambda: "cannot be written" in caplog.text)
    audit.put(_entry(2))
    path.rmdir()
    until(path.is_file)
    audit.stop()
    assert len(path.read_text().splitlines()) == 2
    assert caplog.text.count("cannot be written") == 1


def test_a_full_disk_cannot_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("services.gateway.audit.MAX_PENDING", 1000)
    path = tmp_path / "gateway.jsonl"
    path.mkdir()
    audit = Audit(path)
    audit.start()
    for number in range(100):
        audit.put(_entry(number))
    audit.stop()
    assert 0 < audit.lost < 100


def test_half_a_line_is_finished_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A disk that fills up in the middle of a write leaves no torn line behind."""
    real, path, faults = os.write, tmp_path / "gateway.jsonl", iter([None])

    def write(handle: int, data: bytes) -> int:
        if next(faults, 1) is None:
            return real(handle, bytes(data[:10]))
        monkeypatch.setattr(os, "write", real)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    audit = Audit(path)
    audit.start()
    audit.put(_entry(1))
    until(lambda: os.write is real)
    audit.stop()
    assert json.loads(path.read_text())["request_id"] == "1"


class FlakyStore(DictStore):
    """One that can be away."""

    away = False

    def list(self, kind: str, **options: Any) -> Any:
        if self.away:
            raise Retry("away")
        return super().list(kind, **options)


def _put(store: DictStore, name: str) -> None:
    store.put(f"releases/{name}", {"model_id": name, "tenant": "t"})


def test_a_store_that_is_away_leaves_the_last_snapshot(caplog: pytest.LogCaptureFixture):
    async def scenario() -> None:
        store = FlakyStore()
        directory = StoreDirectory(store)
        store.away = True
        await directory.refresh_now()
        assert not directory.loaded
        store.away = False
        _put(store, "t.a.v1")
        await directory.refresh_now()
        store.away = True
        await directory.refresh_now()
        assert directory.loaded
        assert set(directory.snapshot().routes) == {"t.a.v1"}
        directory.close()

    asyncio.run(scenario())
    assert caplog.text.count("does not answer") == 2


def test_many_who_look_at_once_share_one_reading_which_began_after_they_asked():
    async def scenario() -> None:
        store = DictStore()
        directory = StoreDirectory(store)

        async def ask(name: str) -> bool:
            _put(store, name)
            await directory.refresh_now()
            return name in directory.snapshot().routes

        assert all(await asyncio.gather(*(ask(f"t.m.v{number}") for number in range(200))))
        assert store.lists <= 2 * 3
        directory.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", [VersionedStore, DictStore])
def test_the_watch_sees_a_change_and_reads_nothing_without_one(
    kind: type[DictStore], monkeypatch: pytest.MonkeyPatch
):
    asked: list[int] = []
    real = StoreDirectory._stale
    monkeypatch.setattr(StoreDirectory, "_stale", lambda directory: asked.append(1) or real(directory))
    monkeypatch.setattr("services.gateway.directory.RELOAD_EVERY", 0.05)
    monkeypatch.setattr("services.gateway.directory.MARKER_EVERY", 0.05)

    async def scenario() -> None:
        store = kind()
        directory = StoreDirectory(store)
        await directory.refresh_now()
        watch = asyncio.create_task(directory.watch())
        _put(store, "t.a.v1")
        await asyncio.to_thread(until, lambda: directory.snapshot().routes)
        looks, read = len(asked), store.lists
        await asyncio.to_thread(until, lambda: len(asked) > looks + 1)
        assert store.lists == read or kind is DictStore
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        directory.close()

    asyncio.run(scenario())


def test_over_the_embedded_store(tmp_path: Path):
    """The real one, written by its own thread: the marker must move for the directory's connection."""

    async def scenario() -> None:
        database = open_database(tmp_path / "kuznia.db")
        store = SqliteStore(database)
        directory = StoreDirectory(store)
        await directory.refresh_now()
        watch = asyncio.create_task(directory.watch())
        _, data = new_token(tenant="team-x")
        await asyncio.to_thread(store.commit, Record(key="tokens/t1", status="ACTIVE", data=data))
        await asyncio.to_thread(until, lambda: data["hash"] in directory.snapshot().tokens)
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        directory.close()
        database.close()

    asyncio.run(scenario())


def test_more_records_than_a_page(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("services.gateway.records.PAGE", 7)
    store = DictStore()
    for number in range(21):
        _put(store, f"t.m.v{number}")
    directory = StoreDirectory(store)
    directory.refresh()
    assert len(directory.snapshot().routes) == 21
    assert directory.snapshot().families["t.m"][0].model_id == "t.m.v20"
    directory.close()


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
