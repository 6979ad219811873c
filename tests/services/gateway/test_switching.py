"""Versions come and go, engines close, refuse and hang: no request fails that need not."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.gateway.options import Options
from tests.services.gateway.engine import Engine
from tests.services.gateway.world import MODEL, DictStore, World, until


def test_a_switch_under_load_fails_no_request(world: World):
    old, new = world.serve("1.0.0"), world.engine("1.1.0")
    token = world.token()
    stop = threading.Event()
    answers: Counter[tuple[int, str]] = Counter()
    lock = threading.Lock()

    def load(stream: bool) -> None:
        while not stop.is_set():
            answer = world.chat(token, stream=stream)
            with lock:
                answers[answer.status, answer.headers.get("x-engine", answer.content.decode())] += 1

    def switch() -> None:
        until(lambda: answers[200, "1.0.0"] > 50)
        before, after = world.place("1.0.0", "live", old.address), world.place("1.1.0", "ready", new.address)
        world.release("1.0.0", v1_0_0=before, v1_1_0=after)
        world.release("1.1.0", v1_0_0=before | {"state": "draining"}, v1_1_0=after | {"state": "live"})
        until(lambda: answers[200, "1.1.0"] > 50 and world.app.active(old.address) == 0)
        world.run(old.stop())
        world.engines.remove(old)
        seen = answers[200, "1.1.0"]
        until(lambda: answers[200, "1.1.0"] > seen + 50)

    with ThreadPoolExecutor(9) as pool:
        loads = [pool.submit(load, number % 2 == 0) for number in range(8)]
        try:
            switch()
        finally:
            stop.set()
        for each in loads:
            each.result()
    assert set(answers) == {(200, "1.0.0"), (200, "1.1.0")}


def test_what_is_under_way_ends_on_the_old_engine(world: World):
    old, new = world.serve("1.0.0"), world.engine("1.1.0")
    token = world.token()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(world.chat, token, "slow", stream=True)
        until(lambda: old.requests)
        world.release("1.1.0", v1_1_0=world.place("1.1.0", "live", new.address))
        until(lambda: world.chat(token).headers["x-engine"] == "1.1.0")
        assert world.app.active(old.address) == 1
        world.call(old.gate.set)
        answer = waiting.result()
    assert answer.headers["x-kuznia-model"] == f"{MODEL}@1.0.0"
    assert answer.content.endswith(b"data: [DONE]\r\n\r\n")


def test_a_version_may_be_asked_for_by_name(world: World):
    first, second = world.engine("1.0.0"), world.engine("2.0.0")
    ready, live = world.place("1.0.0", "ready", first.address), world.place("1.1.0", "live", first.address)
    drained = world.place("0.9.0", "draining", first.address)
    world.release(
        "1.1.0", v1_0_0=ready, v1_1_0=live, v0_9_0=drained, v1_2_0=world.place("1.2.0", "starting", "")
    )
    world.release("2.0.0", "team-x.llm-qa.v2", v2_0_0=world.place("2.0.0", "live", second.address))
    token = world.token()
    assert world.chat(token, model=f"{MODEL}@1.0.0").headers["x-kuznia-model"] == f"{MODEL}@1.0.0"
    assert world.chat(token, model="team-x/llm-qa").headers["x-kuznia-model"] == "team-x.llm-qa.v2@2.0.0"
    assert world.chat(token, model="team-x/llm-qa@1.0.0").headers["x-kuznia-model"] == f"{MODEL}@1.0.0"
    assert world.chat(token, model=f"{MODEL}@0.9.0").status == 404
    assert world.chat(token, model=f"{MODEL}@1.2.0").status == 503
    narrow = world.token("t2", models=[MODEL])
    assert world.chat(narrow, model="team-x.llm-qa.v2").status == 404


def test_an_engine_that_runs_before_it_is_cleared_is_nobodys_to_ask(world: World):
    live, early = world.engine("1.0.0"), world.engine("1.1.0")
    token = world.token()
    going = world.place("1.0.0", "live", live.address)
    coming = world.place("1.1.0", "ready", early.address)
    approval = {
        "manifest_digest": coming["manifest_digest"],
        "card_digest": coming["card_digest"],
        "by": "someone",
    }
    needed = coming | {"approval_needed": True, "approvals": [approval]}

    def status(version: dict[str, object]) -> int:
        world.release("1.0.0", v1_0_0=going, v1_1_0=version)
        world.directory.refresh()
        return world.chat(token, model=f"{MODEL}@1.1.0").status

    assert status(coming) == 200
    assert status(needed) == 200
    assert status(coming | {"validated_digest": ""}) == 404
    assert status(coming | {"validated_digest": "sha256:other"}) == 404
    assert status(coming | {"card_digest": ""}) == 404
    assert status(needed | {"approvals": []}) == 404
    assert status(needed | {"approvals": [approval | {"card_digest": "sha256:other"}]}) == 404
    assert len(early.requests) == 2


def test_all_of_it_on_the_plain_event_loop(tmp_path: Path):
    world = World(tmp_path, loop=asyncio.new_event_loop).start()
    try:
        engine = world.serve()
        token = world.token()
        assert world.chat(token).status == 200
        assert world.chat(token, stream=True).content.endswith(b"data: [DONE]\r\n\r\n")
        assert world.chat(token, "long 3000000").content == b"x" * 3_000_000
        assert world.chat(token, "drop").status == 502
        world.run(engine.drop_idle())
        assert world.chat(token).status == 200
    finally:
        world.close()


def test_a_connection_is_kept_and_a_stale_one_is_no_failure(world: World):
    engine = world.serve()
    token = world.token()
    assert {world.chat(token).status for _ in range(5)} == {200}
    assert engine.connections == 1
    for _ in range(20):
        world.run(engine.drop_idle())
        assert world.chat(token).status == 200


def test_a_kept_connection_that_closes_on_the_request_is_tried_once_more(world: World):
    """`drop` on a kept connection looks like an idle close, so the request goes out again: the fresh one tells."""
    engine = world.serve()
    token = world.token()
    assert world.chat(token).status == 200
    assert world.chat(token, "drop").status == 502
    assert [body["messages"][0]["content"] for _, _, body in engine.requests] == ["hello", "drop", "drop"]
    assert world.chat(token).status == 200
    world.ask("POST", "/v1/responses", {"model": MODEL, "messages": []}, token=token)
    assert b"kuznia_gateway_upstream_repeats_total 1" in world.ask("GET", "/metrics").content


def test_what_may_not_be_repeated_never_meets_a_stale_connection(world: World):
    engine = world.serve()
    token = world.token()
    assert world.chat(token).status == 200
    assert world.ask("POST", "/v1/responses", {"model": MODEL, "messages": []}, token=token).status == 404
    assert engine.connections == 2


def test_an_engine_that_closes_after_each_answer(world: World):
    engine = world.serve(keep_alive=False)
    token = world.token()
    assert {world.chat(token).status for _ in range(5)} == {200}
    assert engine.connections == 5


def test_an_engine_that_moved_is_found_by_looking_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A store without a change marker is read every 2 s only; a refused connection does not wait for that."""
    monkeypatch.setattr("services.gateway.directory.APART_BLIND", 0.05)
    world = World(tmp_path, store=DictStore()).start()
    try:
        gone = world.serve()
        token = world.token()
        assert world.chat(token).status == 200
        world.run(gone.stop())
        world.engines.remove(gone)
        world.serve("1.0.1")
        assert world.chat(token).headers["x-kuznia-model"] == f"{MODEL}@1.0.1"
    finally:
        world.close()


def test_an_engine_that_is_gone_is_a_503_to_be_tried_again(world: World):
    engine = world.serve()
    token = world.token()
    assert world.chat(token).status == 200
    world.run(engine.stop())
    world.engines.remove(engine)
    answer = world.chat(token)
    assert (answer.status, answer.error["code"]) == (503, "engine_unavailable")
    assert answer.headers["retry-after"] == "1"
    entry = world.audit(2)[1]
    assert (entry["status"], entry["error"]) == (503, "refused")


def test_a_wrong_key_is_not_the_clients_fault(world: World):
    world.serve(key="another")
    answer = world.chat(world.token())
    assert (answer.status, answer.error["code"]) == (502, "engine_refused_key")


@pytest.mark.parametrize(("prompt", "silence"), [("slow", "start to answer"), ("hang", "silent")])
def test_a_silent_engine_is_a_timeout(tmp_path: Path, prompt: str, silence: str):
    world = World(tmp_path, Options(first_byte=0.2, idle=0.2)).start()
    try:
        engine = world.serve()
        answer = world.chat(world.token(), prompt, stream=True)
        assert b"engine_timeout" in answer.content
        assert silence.encode() in answer.content
        assert answer.status == (504 if prompt == "slow" else 200)
        until(lambda: engine.gone == 1)
    finally:
        world.close()


def test_an_engine_that_takes_no_connection_is_a_timeout(tmp_path: Path):
    """A full backlog: the kernel lets the caller wait."""
    world = World(tmp_path, Options(connect=0.1)).start()
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = [socket.socket() for _ in range(4)]
    try:
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        world.release("1.0.0", v1_0_0=world.place("1.0.0", "live", address))
        answer = world.chat(world.token())
        assert (answer.status, answer.error["code"]) == (504, "engine_timeout")
        assert world.audit(1)[0]["error"] == "connect_timeout"
    finally:
        for each in (*waiting, listener):
            each.close()
        world.close()


def test_idle_connections_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("services.gateway.background.SWEEP_EVERY", 0.05)
    world = World(tmp_path, Options(keep_alive=0.01)).start()
    try:
        engine: Engine = world.serve()
        assert world.chat(world.token()).status == 200
        until(lambda: not engine._writers)
    finally:
        world.close()


def test_a_release_that_does_not_read_is_left_out_alone(world: World, caplog: pytest.LogCaptureFixture):
    world.serve()
    world.store.put("releases/broken", {"model_id": 7})
    world.store.put("tokens/broken", {"hash": None})
    token = world.token()
    assert world.chat(token).status == 200
    told = [record.getMessage() for record in caplog.records if "is left out" in record.getMessage()]
    assert len([line for line in told if line.startswith("releases/broken")]) == 1
