"""The serving pod with the real API server."""

from __future__ import annotations

import json
import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.engine_key import engine_key
from tests.shared.podkit.world import TINY, PodWorld, alive, wait_for

MODULE = "services.deployment.pod"


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def document(world: PodWorld, tiny_model: Path, **more: Any) -> dict[str, Any]:
    return {
        "release": "serve-qa-1",
        "model": "team-x.qa.v1@1.0.0",
        "engine_model": "team-x.qa.v1",
        "artifact": msgspec.to_builtins(world.model_artifact(tiny_model)),
        "base_model": TINY,
        "template": "chatml",
        "cause": "cause-1",
        "threads": 1,
        "generation": {"max_new_tokens": 4},
        **more,
    }


def call(address: str, path: str, body: Any = None, key: str = "") -> Any:
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(f"http://{address}{path}", data=data, headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def answers(address: str, key: str) -> bool:
    try:
        return bool(call(address, "/v1/models", key=key))
    except OSError:
        return False


@pytest.mark.trainer
@pytest.mark.slow
def test_it_answers_and_ends_when_asked(either_world: tuple[str, PodWorld], tiny_model: Path) -> None:
    start, world = either_world
    key = world.root / "key"
    key.write_text("s3cret\n", encoding="utf-8")
    address = free_address()
    asked = document(world, tiny_model, api_key_file=str(key), release=f"serve-{start}")
    pod = world.start(MODULE, asked, KUZNIA_ADDRESS=address)
    wait_for("the engine's answer", lambda: pod.poll() is not None or answers(address, "s3cret"))
    assert pod.poll() is None, world.log()
    assert call(address, "/v1/models", key="s3cret")["data"][0]["id"] == "team-x.qa.v1"
    with pytest.raises(urllib.error.HTTPError) as refused:
        call(address, "/v1/models", key="wrong")
    refused.value.close()
    assert refused.value.code == 401
    question = {"model": "team-x.qa.v1", "messages": [{"role": "user", "content": "Say one"}]}
    answer = call(address, "/v1/chat/completions", question, key="s3cret")
    assert answer["usage"]["completion_tokens"] <= 4
    (child,) = world.children()
    assert alive(child)
    pod.send_signal(signal.SIGTERM)
    assert pod.wait(30) == 0
    assert not alive(child)


@pytest.mark.trainer
@pytest.mark.slow
def test_its_engine_dies_with_it(warm_world: PodWorld, tiny_model: Path) -> None:
    """And asks for the key that the gateway derives from its name."""
    address = free_address()
    asked = document(warm_world, tiny_model)
    key = engine_key(warm_world.home, asked["release"])
    pod = warm_world.start(MODULE, asked, KUZNIA_ADDRESS=address)
    wait_for("the engine's answer", lambda: pod.poll() is not None or answers(address, key))
    assert not answers(address, "")
    (child,) = warm_world.children()
    pod.kill()
    pod.wait()
    wait_for("the engine's end", lambda: not alive(child), 20)


@pytest.mark.trainer
def test_exchanged_weights_are_refused(world: PodWorld, tiny_model: Path) -> None:
    asked = document(world, tiny_model)
    world.artifacts.write("runs/r-0123456789abcdef/final/model.safetensors", b"other weights")
    pod = world.start(MODULE, asked, KUZNIA_ADDRESS=free_address())
    assert pod.wait(60) == 1
    assert "not those that were registered" in world.log()
    assert world.children() == []
