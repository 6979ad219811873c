"""What fits where."""

from __future__ import annotations

import pytest

from shared.experiment.check import check
from shared.experiment.memory import GPUS, parameters

COUNTS = [
    ("HuggingFaceTB/SmolLM2-135M-Instruct", (135e6, True)),
    ("meta-llama/Llama-3-8B", (8e9, True)),
    ("Qwen/Qwen2.5-1.5B-Instruct-1M", (1.5e9, True)),
    ("Qwen/Qwen3-30B-A3B", (30e9, True)),
    ("mistralai/Mixtral-8x7B-v0.1", (56e9, False)),
    ("meta-llama/Llama-2-7b-hf", (7e9, True)),
    ("x/llama-3-8B-GPTQ-4bit", (8e9, True)),
    ("openai/gpt2", None),
    ("7B/unsized", None),
]


@pytest.mark.parametrize(("name", "count"), COUNTS)
def test_parameters_from_the_name(name, count):
    assert parameters(name) == count


def said(make, resources, **config):
    checked = check(
        make(config={"model_name_or_path": "org/Model-8B"} | config, manifest={"resources": resources})
    )
    return [str(f) for f in checked.faults], [str(f) for f in checked.warnings]


FITS = [
    ({"gpu": "nvidia-l4"}, {"bf16": True}),
    ({"gpu": "nvidia-tesla-t4"}, {"quantization_bit": 4, "fp16": True}),
    ({"gpu": "nvidia-b200"}, {"finetuning_type": "full", "bf16": True}),
    (
        {"gpu": "nvidia-a100-80gb", "gpus": 2},
        {"finetuning_type": "full", "bf16": True, "deepspeed": {"stage": 3}},
    ),
    ({"gpu": "none"}, {}),
    ({"memory_gb": 64}, {}),
]


@pytest.mark.parametrize(("resources", "config"), FITS)
def test_fits(make, resources, config):
    assert said(make, resources, **config) == ([], [])


TOO_LARGE = [
    (
        {"gpu": "nvidia-l4"},
        {},
        "nvidia-l4 has 24 GB, and training 8 billion parameters (LoRA) takes about 37.0 GB",
    ),
    ({"gpu": "nvidia-a100-80gb"}, {"finetuning_type": "full"}, "(full) takes about 145.0 GB"),
    ({"gpu": "nvidia-a100-80gb", "gpus": 2}, {"finetuning_type": "full"}, "(full) takes about 145.0 GB"),
    ({"memory_gb": 16}, {}, "resources.memory_gb: is too small: the node has 16 GB"),
    ({"memory_gb": 3}, {"quantization_bit": 4}, "(QLoRA, 4 bits) takes about 7.4 GB"),
]


@pytest.mark.parametrize(("resources", "config", "text"), TOO_LARGE)
def test_what_cannot_fit_is_a_fault(make, resources, config, text):
    faults, _ = said(make, resources, **config)
    assert any(text in fault and "is too small" in fault for fault in faults)


UNCERTAIN = [
    ({"gpu": "nvidia-l4"}, {"model_name_or_path": "org/Mix-8x7B", "bf16": True}),
    ({"gpu": "nvidia-l4"}, {"finetuning_type": "full", "optim": "galore_adamw"}),
    ({"gpu": "nvidia-l4"}, {"finetuning_type": "full", "use_galore": True}),
    ({"memory_gb": 33}, {}),
]


@pytest.mark.parametrize(("resources", "config"), UNCERTAIN)
def test_what_may_not_fit_is_a_warning(make, resources, config):
    faults, warnings = said(make, resources, **config)
    assert faults == []
    assert len(warnings) == 1
    assert "may be too small" in warnings[0]


INCONSISTENT = [
    (
        {"gpu": "nvidia-l5"},
        "resources.gpu: is `nvidia-l5`, a kind that is not known; did you mean `nvidia-l4`?",
    ),
    ({"gpu": "zzz"}, "a kind that is not known; write none, or one of nvidia-tesla-p100"),
    ({"gpu": "nvidia-b200", "gpus": 0}, "resources.gpus: is 0, while a GPU kind is named"),
    ({"gpus": 2}, "resources.gpus: is 2, while gpu is none"),
]


@pytest.mark.parametrize(("resources", "text"), INCONSISTENT)
def test_kind_and_number_agree(make, resources, text):
    assert any(text in fault for fault in said(make, resources)[0])


def test_a_gpu_does_not_stand_idle(make):
    faults, _ = said(make, {"gpu": "nvidia-b200"}, use_cpu=True)
    assert any("while model.yaml asks for a GPU that would stand idle" in fault for fault in faults)


def test_qlora_is_accepted_on_every_gpu(make):
    for kind in GPUS:
        assert said(make, {"gpu": kind}, quantization_bit=8)[0] == []
