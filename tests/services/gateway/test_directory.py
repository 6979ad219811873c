"""The directory over the registry: fresh, shared by those who look at once, standing when the store is away."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from services.gateway.directory import StoreDirectory
from services.gateway.tokens import new_token
from shared.errors import Retry
from shared.local.store import SqliteStore, open_database
from shared.record import Record
from tests.services.gateway.world import DictStore, VersionedStore, until


class FlakyStore(DictStore):
    """One that can be away."""

    away = False

    def list(self, kind: str, **options: Any) -> Any:
        if self.away:
            raise Retry("away")
        return super().list(kind, **options)


def _put(store: DictStore, name: str) -> None:
    store.put(f"releases/{name}", {"model_id": name, "tenant": "t"})


def test_a_store_that_is_away_leaves_the_last_snapshot(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("services.gateway.directory.APART_BLIND", 0.01)

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


def test_a_store_without_a_marker_is_not_read_as_often_as_somebody_asks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("services.gateway.directory.APART_BLIND", 1000)

    async def scenario() -> None:
        store = DictStore()
        directory = StoreDirectory(store)
        await directory.refresh_now()
        asked = [asyncio.ensure_future(directory.refresh_now()) for _ in range(3)]
        done, _ = await asyncio.wait(asked, timeout=0.05)
        assert not done
        assert store.lists == 2
        for each in asked:
            each.cancel()
        assert directory._next is not None
        directory._next.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
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
    monkeypatch.setattr("services.gateway.directory.APART_BLIND", 0.05)

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
