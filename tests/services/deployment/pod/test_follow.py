"""A next version is loaded into the running engine, whole and checked; what cannot be loaded changes nothing."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.deployment.pod.follow import Follower
from shared.errors import Reject
from shared.podkit.patience import Patience
from tests.services.deployment.pod.registry import MODEL, Forge
from tests.services.deployment.pod.stored import FILES
from tests.shared.podkit.world import wait_for

KEY = "the-key"
NEXT = FILES | {"more": b"1.1.0"}


class Engine:
    """Takes adapters as vLLM does, and remembers what it found where it was told to look."""

    def __init__(self) -> None:
        self.status, self.asked, self.found = 200, [], []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.take(self.path, dict(self.headers), body)
                self.send_response(outer.status)
                self.end_headers()
                self.wfile.write(b'{"error": {"message": "its own words"}}')

            def log_message(self, *_: object) -> None:
                return

        self._server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def take(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> None:
        self.asked.append((path, headers, body))
        folder = Path(body["lora_path"])
        self.found.append({one.name: one.read_bytes() for one in folder.iterdir()})

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine()
    yield made
    made.close()


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    made = Forge(tmp_path)
    made.live("1.0.0")
    made.stored.fetch(made.asked())
    yield made
    made.close()


def follower(forge: Forge, engine: Engine, **more: Any) -> Follower:
    return Follower(forge.asked(engine.url, **more), KEY, Patience(tries=1))


def test_the_next_version_takes_the_place(forge: Forge, engine: Engine, capsys: pytest.CaptureFixture[str]):
    followed = follower(forge, engine)
    followed.look()
    assert engine.asked == []
    forge.live("1.1.0")
    followed.look()
    followed.look()
    ((path, headers, body),) = engine.asked
    assert path == "/v1/load_lora_adapter"
    assert body == {"lora_name": MODEL, "lora_path": str(forge.stored.folder), "load_inplace": True}
    assert (headers["Authorization"], headers["X-Kuznia-Gate"]) == (f"Bearer {KEY}", KEY)
    assert engine.found == [NEXT]
    assert "version 1.1.0 answers from now on" in capsys.readouterr().out
    assert sorted(path.name for path in forge.stored.folder.parent.iterdir()) == ["current.json", "weights"]
    forge.live("1.0.0")
    followed.look()
    assert engine.found[-1] == FILES, "and back"


def test_an_engine_that_is_not_up_is_asked_again(forge: Forge, engine: Engine):
    followed = follower(forge, engine)
    forge.live("1.1.0")
    engine.status = 503
    followed.look()
    assert forge.stored.here() == FILES, "what it started with is back in its place"
    engine.status = 200
    followed.look()
    assert forge.stored.here() == NEXT


def test_what_the_engine_refuses_is_not_offered_again(
    forge: Forge, engine: Engine, capsys: pytest.CaptureFixture[str]
):
    followed = follower(forge, engine)
    forge.live("1.1.0")
    engine.status = 400
    for _ in range(3):
        followed.look()
    assert len(engine.asked) == 1
    assert forge.stored.here() == FILES
    assert capsys.readouterr().out.count("its own words") == 1
    engine.status = 200
    for version in ("1.0.0", "1.1.0"):
        forge.live(version)
        followed.look()
    assert forge.stored.here() == NEXT, "named anew it is tried anew"
    forge.register("1.2.0", "third", forge.stored.upload("third", FILES | {"more": b"1.2.0"}))
    forge.live("1.2.0")
    followed.look()
    assert forge.stored.here() == FILES | {"more": b"1.2.0"}


def test_damaged_weights_never_reach_the_engine(forge: Forge, engine: Engine):
    (forge.stored.path("next") / "more").write_bytes(b"1.1.1")
    forge.live("1.1.0")
    follower(forge, engine).look()
    assert engine.asked == []
    assert forge.stored.here() == FILES


def test_a_registry_that_is_away_is_said_once(
    forge: Forge, engine: Engine, capsys: pytest.CaptureFixture[str]
):
    followed = follower(forge, engine)
    forge.served.close()
    capsys.readouterr()
    for _ in range(3):
        followed.look()
    assert capsys.readouterr().out.count("not followed: ") == 1


def test_killed_between_two_renames_it_mends_the_place(forge: Forge, engine: Engine):
    forge.stored.folder.rename(forge.stored.folder.with_name("previous"))
    follower(forge, engine).look()
    assert forge.stored.here() == FILES
    assert sorted(path.name for path in forge.stored.folder.parent.iterdir()) == ["current.json", "weights"]


def test_there_must_be_something_to_follow(forge: Forge, engine: Engine):
    with pytest.raises(Reject, match="nothing to follow"):
        follower(forge, engine, kind="model")
    with pytest.raises(Reject, match="nothing to follow"):
        Follower(forge.asked(), KEY, Patience(tries=1))


def test_it_ends_when_it_is_told_to(forge: Forge, engine: Engine):
    env = {**os.environ, **forge.stored.write(forge.asked(engine.url)), "ENGINE_KEY": KEY}
    forge.live("1.1.0")
    process = subprocess.Popen([sys.executable, "-m", "services.deployment.pod.follow"], env=env)
    try:
        wait_for("the next version", lambda: process.poll() is not None or engine.found == [NEXT], 30)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
