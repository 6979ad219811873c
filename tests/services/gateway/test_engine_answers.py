"""Whatever an engine says, and however it says it, the client reads OpenAI's words or the engine's own bytes."""

from __future__ import annotations

import http.client

import pytest

from services.gateway.translate import passed_on
from tests.services.gateway.world import MODEL, World


def test_an_engine_that_knows_the_model_by_another_name_gets_that_one(world: World):
    engine = world.engine("1.0.0")
    world.release("1.0.0", v1_0_0=world.place("1.0.0", "live", engine.address, engine_model="adapter-7"))
    token = world.token()
    text = "zażółć \\ud83d\\ude00"
    raw = f'{{"temperature": 0.10, "model": "{MODEL}", "messages": [{{"role":"user","content":"{text}"}}]}}'
    assert world.ask("POST", "/v1/chat/completions", raw.encode(), token=token).status == 200
    body = engine.requests[0][2]
    assert body["model"] == "adapter-7"
    assert body["messages"][0]["content"] == "zażółć 😀"


@pytest.mark.parametrize(
    ("prompt", "status", "code"),
    [
        ("drop", 502, "engine_failed"),
        ("noise", 502, "engine_failed"),
        ("cut", 502, "engine_failed"),
        ("401", 502, "engine_refused_key"),
        ("400", 400, "engine_error"),
        ("422", 422, "engine_error"),
        ("429", 429, "engine_error"),
        ("500", 500, "engine_error"),
    ],
)
def test_an_engine_that_fails_is_told_in_openai_words(world: World, prompt: str, status: int, code: str):
    world.serve()
    answer = world.chat(world.token(), prompt)
    assert (answer.status, answer.error["code"]) == (status, code)
    assert ("retry-after" in answer.headers) == (status == 429)
    assert b"secret words" not in answer.content
    assert answer.headers["x-kuznia-model"] == f"{MODEL}@1.0.0"


def test_what_an_engine_says_in_openai_words_passes_unchanged(world: World):
    world.serve()
    answer = world.chat(world.token(), "shaped")
    assert answer.status == 400
    assert answer.json() == {"error": {"message": "too long", "code": "context", "extra": 1}}


@pytest.mark.parametrize(
    ("prompt", "status", "said"), [("plain", 500, "answered 500"), ("older", 503, "loading")]
)
def test_what_it_says_in_other_words_is_put_into_them(world: World, prompt: str, status: int, said: str):
    world.serve()
    answer = world.chat(world.token(), prompt)
    assert answer.status == status
    assert said in answer.error["message"]
    assert answer.headers.get("retry-after") == ("1" if status == 503 else None)


def test_a_model_that_the_engine_has_not_loaded_yet_is_worth_another_try(world: World):
    """The client asked for the right one: a client library gives up on a 404, and comes again after a 503."""
    world.serve()
    answer = world.chat(world.token(), "missing")
    assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (
        503,
        "model_not_ready",
        "1",
    )
    assert b"does not exist" not in answer.content


def test_headers_of_the_hop_to_the_engine_stay_there():
    headers = ((b"connection", b"X-Hop, close"), (b"x-hop", b"1"), (b"keep-alive", b"5"), (b"x-engine", b"e"))
    assert passed_on(headers) == ((b"x-engine", b"e"),)


def test_odd_but_legal_http(world: World):
    engine = world.serve()
    token = world.token()
    assert world.chat(token, "eof").json() == {"some": "thing"}
    answer = world.chat(token, "interim")
    assert answer.json()["choices"][0]["message"]["content"] == "I am 1.0.0"
    assert "x-interim" not in answer.headers
    assert engine.connections == 2


def test_words_nobody_asked_for_reach_nobody(world: World):
    """An answer too many would be taken for the next request's: its connection is not used again."""
    engine = world.serve()
    token = world.token()
    for _ in range(5):
        assert world.chat(token, "chatty").json()["choices"][0]["message"]["content"] == "I am 1.0.0"
        assert world.chat(token).json()["choices"][0]["message"]["content"] == "I am 1.0.0"
    assert engine.connections >= 5


def test_a_long_answer_that_breaks_off_does_not_look_complete(world: World):
    world.serve()
    with pytest.raises(http.client.IncompleteRead):
        world.chat(world.token(), "snap")
    assert world.audit(1)[0]["error"] == "broken"


def test_an_endpoint_the_engine_lacks(world: World):
    world.serve()
    token = world.token()
    for path in ("/v1/completions", "/v1/responses"):
        answer = world.ask("POST", path, {"model": MODEL}, token=token)
        assert answer.status == 404
        assert answer.error["code"] == "unsupported_endpoint"
        assert path in answer.error["message"]
    assert world.ask("POST", "/v1/embeddings", {"model": MODEL, "input": "a"}, token=token).status == 200


def test_a_long_answer_is_streamed_whole(world: World):
    world.serve()
    assert world.chat(world.token(), "long 3000000").content == b"x" * 3_000_000
