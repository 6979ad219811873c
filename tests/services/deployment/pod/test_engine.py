"""What the engine is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from events.parts import Artifact
from services.deployment.pod.document import Document
from services.deployment.pod.engine import Places, config, variables
from shared.errors import Reject

PLACES = Places(weights=Path("/store/final"), base="/models/base", gpus=0)


def document(kind: Literal["adapter", "model"] = "adapter", **more: Any) -> Document:
    artifact = Artifact(uri="runs/r-1/final", manifest_digest="sha256:0", kind=kind, base_model="org/base")
    said = {"release": "serve-1", "model": "t.m.v1@1.0.0", "base_model": "org/base", "template": "chatml"}
    return Document(**said, cause="c", artifact=artifact, **more)


def test_an_adapter_is_loaded_on_its_base() -> None:
    told = config(document(), PLACES)
    assert told["model_name_or_path"] == "/models/base"
    assert told["adapter_name_or_path"] == "/store/final"
    assert told["infer_backend"] == "huggingface"
    assert told["infer_dtype"] == "float32"
    assert told["trust_remote_code"] is False


def test_a_whole_model_is_loaded_alone() -> None:
    told = config(document("model", generation={"max_new_tokens": 7}), PLACES)
    assert told["model_name_or_path"] == "/store/final"
    assert "adapter_name_or_path" not in told
    assert told["max_new_tokens"] == 7


def test_another_engine_is_refused() -> None:
    with pytest.raises(Reject, match="engine 'vllm'"):
        config(document(engine="vllm"), PLACES)


def test_the_address_becomes_variables() -> None:
    told = variables(document(engine_model="t.m.v1"), "127.0.0.1:8123", "key")
    assert told == {
        "API_HOST": "127.0.0.1",
        "API_PORT": "8123",
        "API_MODEL_NAME": "t.m.v1",
        "MAX_CONCURRENT": "4",
        "API_KEY": "key",
    }
    assert "API_KEY" not in variables(document(), "[::1]:1", "")
    assert variables(document(), "[::1]:1", "")["API_HOST"] == "::1"


@pytest.mark.parametrize("address", ["", "8123", "host:", ":8123", "host:x"])
def test_an_address_that_is_none_is_told(address: str) -> None:
    with pytest.raises(Reject, match="KUZNIA_ADDRESS"):
        variables(document(), address, "")
