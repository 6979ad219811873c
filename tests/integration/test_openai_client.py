"""The official `openai` Python client talks to the gateway: list, chat, stream, errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from tests.services.gateway.world import MODEL, World, until


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path).start()
    yield world
    world.close()


@pytest.fixture
def client(world: World) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=world.url, api_key=world.token(), max_retries=0, timeout=20) as client:
        yield client


def _ask(client: openai.OpenAI, prompt: str = "hello", model: str = MODEL):
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": prompt}])


def _stream(client: openai.OpenAI, prompt: str = "hello"):
    return client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": prompt}], stream=True
    )


def test_models(world: World, client: openai.OpenAI):
    world.serve()
    assert [(model.id, model.owned_by) for model in client.models.list()] == [(MODEL, "team-x")]
    assert client.models.retrieve(MODEL).id == MODEL
    assert client.models.retrieve("team-x/llm-qa").object == "model"


def test_chat(world: World, client: openai.OpenAI):
    world.serve()
    answer = _ask(client)
    assert answer.choices[0].message.content == "I am 1.0.0"
    assert answer.model == MODEL
    assert answer._request_id is not None
    raw = client.chat.completions.with_raw_response.create(
        model="team-x/llm-qa", messages=[{"role": "user", "content": "hello"}]
    )
    assert raw.headers["x-kuznia-model"] == f"{MODEL}@1.0.0"
    assert client.embeddings.create(model=MODEL, input="a", encoding_format="float").data[0].embedding == [
        0.5,
        0.25,
    ]


def test_stream(world: World, client: openai.OpenAI):
    world.serve()
    with _stream(client) as stream:
        assert [chunk.choices[0].delta.content for chunk in stream] == ["I ", "am ", "1.0.0"]


def test_a_client_that_stops_reading_frees_the_engine(world: World, client: openai.OpenAI):
    engine = world.serve()
    with _stream(client, "hang") as stream:
        assert next(iter(stream)).choices[0].delta.content == "well"
    until(lambda: engine.gone == 1)


@pytest.mark.parametrize("prompt", ["die", "half"])
def test_a_stream_that_breaks_is_an_error_of_the_client(world: World, client: openai.OpenAI, prompt: str):
    world.serve()
    words = []
    with _stream(client, prompt) as stream, pytest.raises(openai.APIError, match="engine failed"):
        words.extend(chunk.choices[0].delta.content for chunk in stream)
    assert words == ["well"]


def test_errors_have_the_types_users_catch(world: World, client: openai.OpenAI):
    world.serve()
    with pytest.raises(openai.NotFoundError) as missing:
        _ask(client, model="team-y.other.v1")
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model=7, messages=[])  # type: ignore[arg-type]
    assert bad.value.param == "model"
    with pytest.raises(openai.AuthenticationError) as unknown:
        _ask(client.with_options(api_key="kz-wrong"))
    assert unknown.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError, match="does not offer /v1/responses"):
        client.responses.create(model=MODEL, input="hello")
    with pytest.raises(openai.RateLimitError):
        _ask(client, "429")
    with pytest.raises(openai.InternalServerError):
        _ask(client, "500")


def test_a_client_that_retries_outlives_a_gap(world: World, client: openai.OpenAI):
    """No version answers yet: 503 with Retry-After, which the client honours by itself."""
    engine = world.engine("1.0.0")
    world.release("", v1_0_0=world.place("1.0.0", "starting", ""))
    with pytest.raises(openai.InternalServerError, match="no live version"):
        _ask(client)
    world.release("1.0.0", v1_0_0=world.place("1.0.0", "live", engine.address))
    assert _ask(client.with_options(max_retries=5)).choices[0].message.content == "I am 1.0.0"
