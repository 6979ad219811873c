"""What a client meets: answers, streams, errors in OpenAI's words, headers that trace every token."""

from __future__ import annotations

import hashlib
import json
import socket
from pathlib import Path

import pytest

from services.gateway.options import Options
from tests.services.gateway.world import MODEL, World, until


def test_an_answer_passes_through_and_can_be_traced(world: World):
    engine = world.serve()
    answer = world.chat(world.token(), headers={"x-request-id": "my-id-1"})
    assert answer.status == 200
    assert answer.json()["choices"][0]["message"]["content"] == "I am 1.0.0"
    assert answer.headers["x-request-id"] == "my-id-1"
    assert answer.headers["x-kuznia-model"] == f"{MODEL}@1.0.0"
    assert answer.headers["x-kuznia-manifest"] == "sha256:manifest-1.0.0"
    assert answer.headers["x-kuznia-card"] == "sha256:card-1.0.0"
    path, headers, body = engine.requests[0]
    assert path == "/v1/chat/completions"
    assert headers["x-request-id"] == "my-id-1"
    assert body["model"] == MODEL


def test_an_engine_gets_its_own_key_and_nothing_else_of_the_client(world: World):
    engine = world.serve()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    token = world.token()
    headers = {"cookie": "a=b", "x-secret": "c", "traceparent": trace, "openai-organization": "o"}
    assert world.chat(token, headers=headers).status == 200
    sent = engine.requests[0][1]
    assert sent["authorization"] == f"Bearer {engine.key}"
    assert token not in json.dumps(sent)
    assert sent["traceparent"] == trace
    assert set(sent) == {
        "host",
        "authorization",
        "accept",
        "content-type",
        "content-length",
        "x-request-id",
        "traceparent",
    }


@pytest.mark.parametrize("given", ["bad id", "x" * 200, "", "a\tb", "é"])
def test_an_unfit_request_id_is_replaced(world: World, given: str):
    world.serve()
    answer = world.chat(world.token(), headers={"x-request-id": given})
    assert answer.headers["x-request-id"].startswith("req-")


def test_a_stream_comes_as_it_is_made(world: World):
    """The first word is read while the engine still holds the second back."""
    engine = world.serve()
    body = json.dumps({"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "hang"}]})
    with socket.create_connection(("127.0.0.1", world.port), timeout=20) as client:
        client.sendall(_raw(world.token(), body))
        got = b""
        while b'"well"' not in got:
            got += client.recv(65536)
        assert b"text/event-stream" in got
        assert engine.gone == 0
    until(lambda: engine.gone == 1)  # the client left, so the engine's connection was closed
    assert world.audit(1)[0]["status"] == 499
    until(lambda: world.app.active(engine.address) == 0)


def test_a_whole_stream_ends_with_done(world: World):
    world.serve()
    answer = world.chat(world.token(), stream=True)
    assert answer.content.endswith(b"data: [DONE]\r\n\r\n")
    assert answer.content.count(b"data: ") == 4


@pytest.mark.parametrize("prompt", ["die", "half"])
def test_a_stream_that_breaks_ends_in_an_error_event_that_reads(world: World, prompt: str):
    world.serve()
    answer = world.chat(world.token(), prompt, stream=True)
    events = [json.loads(line.removeprefix(b"data: ")) for line in answer.content.splitlines() if line]
    assert events[0]["choices"][0]["delta"]["content"] == "well"
    assert events[1]["error"]["code"] == "engine_failed"
    assert len(events) == 2
    assert b"[DONE]" not in answer.content
    assert world.audit(1)[0]["error"] == "broken"


def test_a_client_that_leaves_while_the_engine_thinks_closes_it(world: World):
    engine = world.serve()
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "slow"}]})
    with socket.create_connection(("127.0.0.1", world.port), timeout=20) as client:
        client.sendall(_raw(world.token(), body))
        until(lambda: engine.requests)
        assert world.app.active(engine.address) == 1
    until(lambda: engine.gone == 1)
    assert world.audit(1)[0]["status"] == 499


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (b"{", None, "invalid_json"),
        (b"", None, "invalid_json"),
        (b"\xff\xfe", None, "invalid_json"),
        (b'{"a":' + b"[" * 50_000, None, "invalid_json"),
        (b"[]", None, "invalid_type"),
        (b'{"messages": []}', "model", "missing_required_parameter"),
        (b'{"model": ""}', "model", "missing_required_parameter"),
        (b'{"model": 7}', "model", "invalid_type"),
        (b'{"model": "a", "stream": "yes"}', "stream", "invalid_type"),
    ],
)
def test_a_body_that_cannot_be_routed(world: World, body: bytes, param: str | None, code: str):
    answer = world.ask("POST", "/v1/chat/completions", body, token=world.token())
    assert answer.status == 400
    assert (answer.error["param"], answer.error["code"]) == (param, code)
    assert answer.error["type"] == "invalid_request_error"


def test_a_body_over_the_limit_said_or_found(world: World):
    token = world.token()
    big = b'{"model": "' + b"a" * 200_000 + b'"}'
    answer = world.ask("POST", "/v1/chat/completions", big, token=token)
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
    chunked = b"".join(b"%x\r\n%s\r\n" % (50_000, b"a" * 50_000) for _ in range(3)) + b"0\r\n\r\n"
    with socket.create_connection(("127.0.0.1", world.port), timeout=20) as client:
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n"
            b"authorization: Bearer %s\r\n\r\n" % token.encode() + chunked
        )
        assert client.recv(100).startswith(b"HTTP/1.1 413")


def test_a_body_that_does_not_go_on_holds_nothing_for_long(tmp_path: Path):
    world = World(tmp_path, Options(body=0.05)).start()
    try:
        raw = _raw(world.token(), '{"model": "a"}')
        with socket.create_connection(("127.0.0.1", world.port), timeout=20) as client:
            client.sendall(raw[:-5])
            got = client.recv(65536)
        assert got.startswith(b"HTTP/1.1 408")
        assert b"connection: close" in got
    finally:
        world.close()


def test_wrong_tokens_do_not_make_it_read_the_registry_again_and_again(world: World):
    read = world.store.lists
    assert {world.ask("GET", "/v1/models", token=f"kz-{number}").status for number in range(8)} == {401}
    assert world.store.lists == read


def test_paths_and_methods(world: World):
    answer = world.ask("POST", "/v1/sleep")
    assert (answer.status, answer.error["code"]) == (404, "unknown_url")
    assert world.ask("GET", "/").status == 404
    answer = world.ask("GET", "/v1/chat/completions")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    answer = world.ask("DELETE", "/v1/models")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "authorization", ["", "Basic abc", "Bearer", "Bearer ", "Bearer kz-wrong", "kz-wrong"]
)
def test_without_a_token_nothing(world: World, authorization: str):
    world.serve()
    headers = {"authorization": authorization} if authorization else {}
    for method, path in (
        ("GET", "/v1/models"),
        ("POST", "/v1/chat/completions"),
        ("GET", f"/v1/models/{MODEL}"),
    ):
        answer = world.ask(method, path, headers=headers)
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"


def test_expired_and_revoked_tokens(world: World):
    world.serve()
    expired = world.token("t1", expires_at="2020-01-01T00:00:00Z")
    revoked = world.token("t2", revoked=True)
    valid = world.token("t3", expires_at="2999-01-01T00:00:00Z")
    assert "expired" in world.chat(expired).error["message"]
    assert "revoked" in world.chat(revoked).error["message"]
    assert world.chat(valid).status == 200
    world.store.put("tokens/t3", world.store.load("tokens/t3").data, status="REVOKED")
    until(lambda: world.chat(valid).status == 401)


def test_models_are_those_of_the_token(world: World):
    engine = world.serve()
    world.release("1.0.0", "team-y.other.v1", "team-y", v1_0_0=world.place("1.0.0", "live", engine.address))
    world.release("", "team-x.coming.v1", v1_0_0=world.place("1.0.0", "starting", ""))
    token = world.token()
    listed = world.ask("GET", "/v1/models", token=token).json()
    assert [model["id"] for model in listed["data"]] == [MODEL]
    assert listed["data"][0]["owned_by"] == "team-x"
    assert world.ask("GET", "/v1/models/team-x/llm-qa", token=token).json()["version"] == "1.0.0"
    hidden = world.ask("GET", "/v1/models/team-y.other.v1", token=token)
    absent = world.ask("GET", "/v1/models/team-y.absent.v1", token=token)
    assert hidden.status == absent.status == 404
    assert hidden.content.replace(b"other", b"absent") == absent.content
    coming = world.chat(token, model="team-x.coming.v1")
    assert (coming.status, coming.headers["retry-after"]) == (503, "1")


def test_health_and_metrics_say_nothing_of_tenants(world: World):
    world.serve()
    token = world.token()
    world.chat(token)
    world.chat(token, "die", stream=True)
    assert world.ask("GET", "/healthz").json() == world.ask("GET", "/readyz").json() == {"status": "ok"}
    answer = world.ask("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    text = answer.content.decode()
    assert 'kuznia_gateway_requests_total{route="/v1/chat/completions",code="200"} 2' in text
    assert 'kuznia_gateway_upstream_errors_total{kind="broken"} 1' in text
    assert 'request_duration_seconds_count{route="/v1/chat/completions"} 2' in text
    assert 'request_duration_seconds_bucket{route="/v1/chat/completions",le="+Inf"} 2' in text
    assert "kuznia_gateway_in_flight 1" in text  # this very request
    assert "team-x" not in text


def test_the_audit_names_who_and_what_but_never_what_was_said(world: World):
    world.serve()
    token = world.token("laptop")
    world.chat(token, "my private words", headers={"x-request-id": "r1"})
    world.ask("GET", "/v1/models")
    first, second = world.audit(2)
    assert first.pop("duration_ms") > 0
    assert first.pop("time").endswith("Z")
    assert first.pop("bytes_in") > 0
    assert first.pop("bytes_out") > 0
    assert first == {
        "request_id": "r1",
        "route": "/v1/chat/completions",
        "status": 200,
        "token": "laptop",
        "tenant": "team-x",
        "model": f"{MODEL}@1.0.0",
        "manifest_digest": "sha256:manifest-1.0.0",
        "stream": False,
        "error": "",
    }
    assert (second["status"], second["token"]) == (401, "")
    log = (world.settings.home / "logs" / "gateway.jsonl").read_text()
    assert "private" not in log
    assert token not in log
    assert hashlib.sha256(token.encode()).hexdigest() not in log


def _raw(token: str, body: str) -> bytes:
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n{body}".encode()
