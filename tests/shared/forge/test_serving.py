"""What each engine is told, word by word."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.errors import Reject
from shared.forge.serving import RANKS, Adapters, Serving, config, rank, sampling, variables, words

ADDRESS = "127.0.0.1:8123"


def serving(engine: Any = "vllm", **more: Any) -> Serving:
    told = {"name": "org/base", "address": ADDRESS, "place": "/models/base", "threads": 1, **more}
    return Serving(engine=engine, **told)


class TestLlamaFactory:
    def test_its_yaml(self):
        told = config(serving("llamafactory", adapter="/w", template="chatml"))
        assert told == {
            "model_name_or_path": "/models/base",
            "adapter_name_or_path": "/w",
            "template": "chatml",
            "infer_backend": "huggingface",
            "infer_dtype": "float32",
            "trust_remote_code": False,
            "do_sample": False,
            "max_new_tokens": 256,
        }

    def test_a_whole_model_on_a_gpu(self):
        told = config(serving("llamafactory", gpus=1, generation={"max_new_tokens": 7}))
        assert "adapter_name_or_path" not in told
        assert (told["infer_dtype"], told["max_new_tokens"]) == ("auto", 7)

    def test_its_variables(self):
        told = variables(serving("llamafactory", name="t.m.v1"), "key")
        named = {"API_HOST": "127.0.0.1", "API_PORT": "8123", "API_MODEL_NAME": "t.m.v1"}
        assert told == {**named, "MAX_CONCURRENT": "4", "API_KEY": "key"}


class TestVllm:
    def test_its_words_on_a_cpu(self):
        told = serving(adapters=Adapters(max_rank=16, at_once=2, first={"t.m.v1@1.0.0": "/store/final"}))
        assert words(told) == [
            "serve", "/models/base", "--served-model-name", "org/base", "--host", "127.0.0.1", "--port", "8123",
            "--dtype", "float32", "--max-num-seqs", "8",
            "--enable-lora", "--max-lora-rank", "16", "--max-loras", "2",
            "--lora-modules", "t.m.v1@1.0.0=/store/final", "--enforce-eager",
            "--generation-config", "vllm", "--override-generation-config", '{"temperature":0.0}',
            "--shutdown-timeout", "25", "--disable-uvicorn-access-log", "--disable-fastapi-docs",
            "--middleware", "kuznia_gate.Gate",
        ]  # fmt: skip

    def test_on_gpus_it_chooses_itself_and_shares_the_model_among_them(self):
        told = words(serving(gpus=2, chat_template="/t.jinja"))
        assert told[told.index("--tensor-parallel-size") + 1] == "2"
        assert told[told.index("--chat-template") + 1] == "/t.jinja"
        assert not {"--dtype", "--enforce-eager", "--enable-lora", "--max-num-seqs"} & set(told)
        assert "--tensor-parallel-size" not in words(serving(gpus=1))

    def test_its_variables(self):
        told = variables(serving(adapters=Adapters(hot=True), kv_cache_gb=2), "key")
        assert told == {
            "VLLM_API_KEY": "key",
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
            "VLLM_CPU_KVCACHE_SPACE": "2",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": "1",
        }

    def test_adapters_come_and_go_only_where_that_is_asked_for(self):
        for told in (serving(), serving(adapters=Adapters(first={"a": "/a"}))):
            assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in variables(told, "key")

    def test_the_key_is_never_a_word_others_could_read_in_the_list_of_processes(self):
        assert "key" not in " ".join(words(serving()))
        assert "VLLM_API_KEY" not in variables(serving(gpus=1), "")


@pytest.mark.parametrize(
    ("generation", "told"),
    [
        ({}, {"temperature": 0.0}),
        ({"max_new_tokens": 7}, {"temperature": 0.0}),
        ({"do_sample": False, "temperature": 0.9}, {"temperature": 0.0}),
        ({"do_sample": True, "temperature": 0.9, "top_p": 0.5}, {"temperature": 0.9, "top_p": 0.5}),
    ],
)
def test_defaults_of_answers_mean_the_same_in_both_engines(generation: Any, told: Any):
    said = words(serving(generation=generation))
    assert json.loads(said[said.index("--override-generation-config") + 1]) == told == sampling(generation)


def test_ranks():
    assert [rank(needed) for needed in (1, 2, 8, 9, 16, 300, 512)] == [1, 8, 8, 16, 16, 320, 512]
    with pytest.raises(Reject, match="vLLM serves up to 512"):
        rank(RANKS[-1] + 1)


@pytest.mark.parametrize("address", ["", "8123", "host:", ":8123", "host:x"])
def test_an_address_that_is_none_is_told(address: str):
    with pytest.raises(Reject, match="KUZNIA_ADDRESS"):
        words(serving(address=address))
    with pytest.raises(Reject, match="KUZNIA_ADDRESS"):
        variables(serving("llamafactory", address=address), "")
    assert serving(address="[::1]:1").host_and_port == ("::1", "1")
