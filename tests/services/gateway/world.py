"""The gateway under a real uvicorn, with engines beside it, on a loop in a thread; a store in a dict."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import uvicorn
import uvloop

from events.envelope import Event
from services.gateway.app import create_app
from services.gateway.directory import StoreDirectory
from services.gateway.options import Options
from services.gateway.tokens import new_token
from shared.engine_key import engine_key
from shared.errors import Conflict, Retry
from shared.record import Record
from shared.settings import Settings
from tests.servers import PromptServer
from tests.services.gateway.engine import Engine

T = TypeVar("T")
MODEL = "team-x.llm-qa.v1"


class DictStore:
    """Records in a dict; compare-and-set, no lifecycle."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.lists = 0
        self._version = 0
        self._lock = threading.Lock()

    def load(self, key: str) -> Record:
        return self.records.get(key, Record(key=key))

    def commit(self, record: Record) -> Record:
        with self._lock:
            if self.load(record.key).revision != record.revision:
                raise Conflict(record.key)
            stored = msgspec.structs.replace(
                record, revision=record.revision + 1, created_at=datetime(2026, 1, 1, tzinfo=UTC)
            )
            self.records[record.key] = stored
            self._version += 1
        return stored

    def list(
        self, kind: str, *, status: str = "", prefix: str = "", after: str = "", limit: int = 1000
    ) -> list[Record]:
        self.lists += 1
        keys = sorted(key for key in self.records if key.startswith(f"{kind}/") and key > after)
        return [self.records[key] for key in keys[:limit]]

    def owing(self, *, before: datetime, limit: int = 100) -> list[Record]:
        return []

    def put(self, key: str, data: dict[str, Any], status: str = "ACTIVE") -> None:
        self.commit(msgspec.structs.replace(self.load(key), data=data, status=status))


class VersionedStore(DictStore):
    """One that can say cheaply whether it has changed."""

    def version(self) -> int:
        return self._version


class World:
    """Everything a test needs; `close` leaves nothing behind."""

    def __init__(
        self,
        home: Path,
        options: Options | None = None,
        *,
        store: DictStore | None = None,
        loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
    ) -> None:
        self.settings = Settings(home=home, cache=home / "cache", max_body_bytes=100_000)
        self.store = store or VersionedStore()
        self.options = options or Options()
        self.engines: list[Engine] = []
        self.said: list[Event] = []
        self.deaf = False  # then the bus takes nothing
        self._loop = loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="world")
        self._thread.start()

    def start(self) -> World:
        self.directory = StoreDirectory(self.store)
        self.app = create_app(self.directory, self.settings, self.options, publish=self.publish)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        config = uvicorn.Config(
            self.app, http="httptools", ws="none", lifespan="on", log_config=None, timeout_graceful_shutdown=2
        )
        self._server = PromptServer(config)
        self._serving = asyncio.run_coroutine_threadsafe(self._server.serve([self._socket]), self._loop)
        until(lambda: self._server.started)
        return self

    def publish(self, events: Sequence[Event]) -> None:
        """As a bus does: what it knows already changes nothing."""
        if self.deaf:
            raise Retry("the bus is deaf")
        known = {event.id for event in self.said}
        self.said += [event for event in events if event.id not in known]

    def close(self) -> None:
        self._server.should_exit = True
        self._serving.result(20)
        for engine in self.engines:
            self.run(engine.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._socket.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def call(self, work: Callable[[], Any]) -> None:
        self._loop.call_soon_threadsafe(work)

    def engine(self, name: str, *, keep_alive: bool = True, key: str | None = None) -> Engine:
        derived = engine_key(self.settings.home, f"serve-{name}")
        engine = Engine(name, derived if key is None else key, keep_alive=keep_alive)
        self.engines.append(engine)
        return self.run(engine.start())

    def place(
        self, version: str, state: str, address: str, engine_model: str = "", **more: Any
    ) -> dict[str, Any]:
        return more | {
            "state": state,
            "address": address,
            "release": f"serve-{version}",
            "manifest_digest": f"sha256:manifest-{version}",
            "card_digest": f"sha256:card-{version}",
            "engine_model": engine_model,
            "validated_digest": f"sha256:manifest-{version}",
        }

    def release(
        self, live: str, model: str = MODEL, tenant: str = "team-x", **versions: dict[str, Any]
    ) -> None:
        """Versions as `v1_0_0`; `weights` and `split` beside them are the canary's."""
        canary = {name: versions.pop(name) for name in ("weights", "split") if name in versions}
        named = {name.lstrip("v").replace("_", "."): place for name, place in versions.items()}
        data = {"model_id": model, "tenant": tenant, "live": live, "versions": named} | canary
        self.store.put(f"releases/{model}", data)

    def token(self, identity: str = "t1", **fields: Any) -> str:
        token, data = new_token(tenant=fields.pop("tenant", "team-x"), models=fields.pop("models", ["*"]))
        self.store.put(f"tokens/{identity}", data | fields)
        return token

    def serve(self, version: str = "1.0.0", **options: Any) -> Engine:
        """The usual case: one version, live."""
        engine = self.engine(version, **options)
        self.release(
            version, **{f"v{version.replace('.', '_')}": self.place(version, "live", engine.address)}
        )
        return engine

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str = "",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One plain HTTP request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        content = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        sent = {"authorization": f"Bearer {token}"} if token else {}
        try:
            connection.request(method, path, content, sent | (headers or {}))
            response = connection.getresponse()
            heads = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, heads, response.read())
        finally:
            connection.close()

    def chat(self, token: str, prompt: str = "hello", model: str = MODEL, **more: Any) -> Answer:
        headers = more.pop("headers", None)
        body = {"model": model, "messages": [{"role": "user", "content": prompt}], **more}
        return self.ask("POST", "/v1/chat/completions", body, token=token, headers=headers)

    def audit(self, count: int) -> list[dict[str, Any]]:
        """The audit log, once it has so many lines."""
        path = self.settings.home / "logs" / "gateway.jsonl"
        until(lambda: path.exists() and len(path.read_text().splitlines()) >= count)
        return [json.loads(line) for line in path.read_text().splitlines()]


class Answer(msgspec.Struct):
    """What came back."""

    status: int
    headers: dict[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def error(self) -> dict[str, Any]:
        found = self.json()["error"]
        assert set(found) == {"message", "type", "param", "code"}
        return found


def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    """Wait for it; fail after a deadline that only a broken run meets."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)
