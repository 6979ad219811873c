"""What is to be served, by the pod's document."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from events.parts import Artifact
from services.deployment.pod.document import Document
from services.deployment.pod.engine import Places, serving
from shared.errors import Reject
from shared.forge.serving import Adapters

ADDRESS = "127.0.0.1:8123"
PLACES = Places(weights=Path("/store/final"), base="/models/base", gpus=0, rank=16)
SAID = {"release": "serve-1", "model": "t.m.v1@1.0.0", "base_model": "org/base", "template": "chatml"}


def document(kind: Literal["adapter", "model"] = "adapter", **more: Any) -> Document:
    artifact = Artifact(uri="runs/r-1/final", manifest_digest="sha256:0", kind=kind, base_model="org/base")
    return Document(**SAID, cause="c", artifact=artifact, **more)


def test_llamafactory_loads_an_adapter_onto_its_base():
    told = serving(document(), PLACES, ADDRESS)
    assert (told.place, told.adapter, told.adapters) == ("/models/base", "/store/final", None)
    assert (told.name, told.template) == ("t.m.v1@1.0.0", "chatml")


def test_llamafactory_loads_a_whole_model_alone():
    told = serving(document("model", generation={"max_new_tokens": 7}), PLACES, ADDRESS)
    assert (told.place, told.adapter) == ("/store/final", "")
    assert told.generation == {"max_new_tokens": 7}


def test_vllm_names_the_base_as_the_hub_does_and_the_adapter_as_clients_do():
    told = serving(document(engine="vllm", engine_model="t.m.v1@1.0.0"), PLACES, ADDRESS)
    assert (told.name, told.place, told.adapter) == ("org/base", "/models/base", "")
    assert told.adapters == Adapters(max_rank=16, first={"t.m.v1@1.0.0": "/store/final"})


def test_vllm_loads_a_whole_model_under_the_model_s_name():
    told = serving(document("model", engine="vllm", engine_model="t.m.v1"), PLACES, ADDRESS)
    assert (told.name, told.place, told.adapters) == ("t.m.v1", "/store/final", None)


def test_a_rank_that_vllm_has_no_size_for_is_rounded_up_and_a_larger_one_is_refused():
    places = msgspec.structs.replace(PLACES, rank=17)
    told = serving(document(engine="vllm"), places, ADDRESS)
    assert told.adapters is not None
    assert told.adapters.max_rank == 32
    with pytest.raises(Reject, match="the adapter's rank is 513, and vLLM serves up to 512"):
        serving(document(engine="vllm"), msgspec.structs.replace(PLACES, rank=513), ADDRESS)


def test_an_adapter_s_own_chat_template_goes_before_the_base_s():
    places = msgspec.structs.replace(PLACES, chat_template="/store/final/chat_template.jinja")
    assert serving(document(engine="vllm"), places, ADDRESS).chat_template == places.chat_template
    assert serving(document("model", engine="vllm"), places, ADDRESS).chat_template == ""


def test_another_engine_is_no_document():
    told = {**SAID, "cause": "c", "engine": "sglang", "artifact": msgspec.to_builtins(document().artifact)}
    with pytest.raises(msgspec.ValidationError, match=r"Invalid enum value 'sglang' - at `\$.engine`"):
        msgspec.convert(told, Document)
