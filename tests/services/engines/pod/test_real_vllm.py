"""The real thing: vLLM on a CPU, adapters loaded while it runs, and nobody else who could."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.forge.vllm import Vllm
from tests.services.engines.pod.world import MODEL_ID, EngineWorld, release
from tests.shared.podkit.world import PodWorld, alive, wait_for
from tests.standin import lora


@pytest.fixture
def engine(world: PodWorld) -> Iterator[EngineWorld]:
    made = EngineWorld(world, lora.BASE)
    yield made
    made.close()


@pytest.mark.slow
def test_adapters_come_and_go_while_it_answers(
    engine: EngineWorld, vllm_engine: Vllm, smollm: Path, tmp_path: Path
) -> None:
    assert vllm_engine.versions["vllm"]
    assert smollm.exists()
    first = engine.store("1.0.0", lora.write(tmp_path / "a", 1))
    second = engine.store("1.1.0", lora.write(tmp_path / "b", 2, strength=0.5))
    engine.want("1.0.0", first)
    pod, address = engine.start()
    wait_for("the first adapter", lambda: pod.poll() is not None or engine.phases(), timeout=300)
    assert pod.poll() is None, engine.pods.log()
    assert engine.phases() == [(release("1.0.0"), "ready", 1)]
    assert "Paris" in engine.answer(address, "1.0.0")

    engine.want("1.1.0", second)
    wait_for("the second adapter", lambda: len(engine.phases()) == 2, timeout=60)
    assert engine.answer(address, "1.1.0") != engine.answer(address, "1.0.0"), "each its own"
    assert {f"{MODEL_ID}@1.0.0", f"{MODEL_ID}@1.1.0", lora.BASE} == engine.models(address)

    body = {"lora_name": "x", "lora_path": str(tmp_path / "a")}
    for path in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/adapters", "/invocations"):
        assert engine.ask(address, path, body)[0] == 404, path
    assert engine.ask(address, "/v1/models", key="wrong")[0] == 401
    assert engine.ask(address, "/kuznia/reload", {}, key="wrong")[0] == 401
    assert engine.ask(address, "/kuznia/reload", {})[0] == 202

    engine.drop("1.0.0")
    wait_for("the first one's end", lambda: f"{MODEL_ID}@1.0.0" not in engine.models(address), timeout=60)
    (child,) = engine.pods.children()
    pod.send_signal(signal.SIGTERM)
    assert pod.wait(60) == 0
    wait_for("vLLM's end", lambda: not alive(child), timeout=30)
