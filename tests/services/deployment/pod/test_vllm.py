"""The serving pod with the engine `vllm`, which is the stand-in here."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.deployment.pod.document import Document
from shared.engine_key import engine_key
from shared.podkit.weights import chat_template, lora_rank
from tests.services.engines.pod.world import EngineWorld
from tests.shared.podkit.world import PodWorld, alive, wait_for
from tests.standin import environment, lora

NAME = "team-x.qa.v1@1.0.0"
MODULE = "services.deployment.pod"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineWorld]:
    cache = environment.make_vllm(tmp_path / "cache")
    environment.make(tmp_path / "cache")
    (tmp_path / "pods").mkdir()
    pods = PodWorld(tmp_path / "pods", cache)
    made = EngineWorld(pods, environment.MODEL)
    yield made
    pods.close()
    made.close()


def document(engine: EngineWorld, files: dict[str, Path]) -> dict[str, Any]:
    told = Document(
        release="serve-qa-1",
        model=NAME,
        engine_model=NAME,
        artifact=engine.store("1.0.0", files),
        base_model=environment.MODEL,
        template="chatml",
        cause="cause-1",
        engine="vllm",
        threads=1,
    )
    return dict(msgspec.to_builtins(told))


@pytest.mark.slow
def test_an_adapter_is_served_on_its_base_under_its_own_name(engine: EngineWorld, tmp_path: Path) -> None:
    engine.key = engine_key(engine.settings.home, "serve-qa-1")
    address = engine.free_address()
    told = document(engine, lora.write(tmp_path / "a", 1, rank=20))
    pod = engine.pods.start(MODULE, told, KUZNIA_ADDRESS=address)
    wait_for("the engine", lambda: pod.poll() is not None or engine.models(address), timeout=60)
    assert pod.poll() is None, engine.pods.log()
    assert engine.models(address) == {environment.MODEL, NAME}
    assert engine.ask(address, "/v1/models", key="wrong")[0] == 401
    question = {"model": NAME, "messages": [{"role": "user", "content": "?"}]}
    assert engine.ask(address, "/v1/chat/completions", question)[1]["model"] == NAME
    (child,) = engine.pods.children()
    pod.send_signal(signal.SIGTERM)
    assert pod.wait(30) == 0
    wait_for("the engine's end", lambda: not alive(child), timeout=30)


@pytest.mark.slow
def test_without_its_environment_it_says_how_to_make_it(engine: EngineWorld, tmp_path: Path) -> None:
    told = document(engine, lora.write(tmp_path / "a", 1))
    nothing = tmp_path / "empty"
    environment.make(nothing)
    pod = engine.pods.start(MODULE, told, KUZNIA_ADDRESS="127.0.0.1:1", XDG_CACHE_HOME=str(nothing))
    assert pod.wait(30) == 1
    assert "make it with `make vllm`" in engine.pods.log()


def test_what_an_adapter_says_of_itself(tmp_path: Path) -> None:
    lora.write(tmp_path / "a", 1, rank=4)
    assert lora_rank(tmp_path / "a") == 4
    assert chat_template(tmp_path / "a") == ""
    (tmp_path / "a" / "chat_template.jinja").write_text("{{ messages }}")
    assert chat_template(tmp_path / "a") == str(tmp_path / "a" / "chat_template.jinja")
    (tmp_path / "a" / "adapter_config.json").write_text('{"r": 4, "rank_pattern": {"q_proj": 64}}')
    assert lora_rank(tmp_path / "a") == 64
    assert lora_rank(tmp_path) == 0
