"""The record is read when something changed, when asked to, and never for another server."""

from __future__ import annotations

from typing import Any

import pytest

from services.engines.pod import orders
from services.engines.pod.orders import Registry
from shared.errors import Retry
from shared.record import Record
from tests.memory import MemoryStore

KEY, SERVER = "engines/e", "e-1"


class Marked(MemoryStore):
    """Says how often it was written."""

    def version(self) -> int:
        return self.commits


def write(store: MemoryStore, **data: Any) -> None:
    known = store.load(KEY)
    store.commit(Record(key=KEY, revision=known.revision, status="ACTIVE", data=data))


def told(name: str) -> dict[str, Any]:
    artifact = {"uri": "u", "manifest_digest": "sha256:0", "kind": "adapter", "base_model": "b"}
    return {
        "release": name, "model_id": "t.m.v1", "version": "1.0.0", "engine_model": "t.m.v1@1.0.0",
        "artifact": artifact, "cause": "e-1", "engine": "what a newer version of ours may add",
    }  # fmt: skip


def test_its_own_adapters() -> None:
    store: Any = Marked()
    write(store, server=SERVER, adapters={"serve-1": told("serve-1")})
    assert set(Registry(store, KEY, SERVER).wanted()) == {"serve-1"}
    assert Registry(store, KEY, "e-2").wanted() == {}, "another generation carries them"
    assert Registry(store, "engines/never", SERVER).wanted() == {}


def test_it_looks_again_after_a_commit_or_when_poked() -> None:
    store: Any = Marked()
    write(store, server=SERVER, adapters={})
    registry = Registry(store, KEY, SERVER)
    assert registry.changed()
    registry.wanted()
    assert not registry.changed()
    write(store, server=SERVER, adapters={"serve-1": told("serve-1")})
    assert registry.changed()
    registry.wanted()
    registry.poke()
    assert registry.changed()
    registry.wanted()
    assert not registry.changed()


def test_nothing_is_read_that_did_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    store: Any = Marked()
    write(store, server=SERVER, adapters={"serve-1": told("serve-1")})
    registry = Registry(store, KEY, SERVER)
    known = registry.wanted()
    monkeypatch.setattr(store, "load", lambda key: pytest.fail(f"{key} was read again"))
    assert registry.wanted() == known


def test_a_store_without_a_marker_is_read_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    store: Any = MemoryStore()
    registry = Registry(store, KEY, SERVER)
    registry.wanted()
    assert not registry.changed()
    monkeypatch.setattr(orders, "EVERY_SECONDS", 0.0)
    registry.poke()
    registry.wanted()
    assert registry.changed()


def test_a_record_of_no_sense_is_waited_for() -> None:
    store: Any = Marked()
    write(store, server=SERVER, adapters={"serve-1": {"release": 1}})
    with pytest.raises(Retry, match="engines/e does not read as an engine's record"):
        Registry(store, KEY, SERVER).wanted()
