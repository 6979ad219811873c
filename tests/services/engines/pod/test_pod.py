"""The pod as a process, with the stand-in for vLLM."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.services.engines.pod.world import MODEL_ID, EngineWorld, release
from tests.shared.podkit.world import PodWorld, alive, wait_for
from tests.standin import environment, lora


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineWorld]:
    cache = environment.make_vllm(tmp_path / "cache")
    environment.make(tmp_path / "cache")
    pods = PodWorld(tmp_path / "pods", cache)
    (tmp_path / "pods").mkdir()
    made = EngineWorld(pods, environment.MODEL)
    yield made
    pods.close()
    made.close()


@pytest.mark.slow
def test_it_follows_its_record_while_it_runs(engine: EngineWorld, tmp_path: Path) -> None:
    first = engine.store("1.0.0", lora.write(tmp_path / "a", 1))
    large = engine.store("1.1.0", lora.write(tmp_path / "b", 2, rank=32))
    engine.want("1.0.0", first)
    pod, address = engine.start()
    wait_for("the first", lambda: pod.poll() is not None or engine.phases(), timeout=60)
    assert engine.phases() == [(release("1.0.0"), "ready", 1)], engine.pods.log()

    engine.want("1.1.0", large)
    tampered = msgspec.structs.replace(first, manifest_digest="sha256:" + "0" * 64)
    engine.want("1.2.0", tampered)
    wait_for("both verdicts", lambda: len(engine.phases()) == 3, timeout=60)
    failed = {event.data["name"]: event.data["message"] for event in engine.said()[1:]}
    assert "LoRA rank 32 is greater than max_lora_rank 16" in failed[release("1.1.0")]
    assert "the weights were exchanged, and are not used" in failed[release("1.2.0")]
    assert engine.models(address) == {environment.MODEL, f"{MODEL_ID}@1.0.0"}
    assert engine.ask(address, "/v1/load_lora_adapter", {"lora_name": "x", "lora_path": "/"})[0] == 404
    assert engine.ask(address, "/kuznia/reload", {})[0] == 202

    (child,) = engine.pods.children()
    os.kill(child, signal.SIGKILL)
    assert pod.wait(30) == 128 + signal.SIGKILL, "it ends as its engine ends"
    for version in ("1.1.0", "1.2.0"):
        engine.drop(version)
    again, _ = engine.start(attempt=2)
    wait_for("the first again", lambda: len(engine.phases()) == 4, timeout=60)
    assert engine.phases()[-1] == (release("1.0.0"), "ready", 2), "all is loaded anew"
    child = engine.pods.children()[-1]
    again.send_signal(signal.SIGTERM)
    assert again.wait(30) == 0
    wait_for("the engine's end", lambda: not alive(child), timeout=30)


@pytest.mark.slow
def test_what_keeps_it_from_starting_is_told(engine: EngineWorld) -> None:
    pod, _ = engine.start(base_model="nobody/nothing")
    assert pod.wait(60) == 1
    assert "engine-team-x-0123 does not run: base model nobody/nothing" in engine.pods.log()
