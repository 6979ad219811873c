"""The base models in the real trainer: they load, round-trip text, answer, and can be trained."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from shared.forge import environment

pytestmark = [pytest.mark.trainer, pytest.mark.slow]
ASK = """
import json, sys
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
text = "Kuźnia — 12 pumps,\\n  naïve 漢字"
chat = [{"role": "user", "content": "What is the capital of France?"}]
asked = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
answer = model.generate(**asked, max_new_tokens=16, do_sample=False)[0]
print(json.dumps({
    "asked": tokenizer.decode(asked["input_ids"][0]),
    "round_trip": tokenizer.decode(tokenizer(text).input_ids) == text,
    "end": model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids("<|im_end|>"),
    "answer": tokenizer.decode(answer[asked["input_ids"].shape[1]:]),
}))
"""
CONFIG: dict[str, Any] = {
    "stage": "sft",
    "do_train": True,
    "finetuning_type": "lora",
    "lora_target": "all",
    "dataset": "smithy",
    "template": "chatml",
    "cutoff_len": 64,
    "logging_steps": 1,
    "save_steps": 2,
    "max_steps": 2,
    "report_to": "none",
    "use_cpu": True,
    "bf16": False,
    "fp16": False,
    "dataloader_pin_memory": False,
    "per_device_train_batch_size": 1,
}


def ask(trainer: environment.Trainer, model: Path) -> dict[str, Any]:
    done = subprocess.run(
        [trainer.python, "-c", ASK, model],
        env=environment.environment(trainer, threads=2),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_smollm_answers_as_the_model_that_it_is(trainer: environment.Trainer, smollm: Path) -> None:
    got = ask(trainer, smollm)
    assert (
        got["asked"] == "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert got["round_trip"]
    assert got["end"]
    assert "Paris" in got["answer"]
    assert got["answer"].endswith("<|im_end|>")


def test_the_tiny_model_is_trained_by_llama_factory(
    tmp_path: Path, trainer: environment.Trainer, tiny_model: Path
) -> None:
    assert ask(trainer, tiny_model)["round_trip"]
    rows = [{"instruction": f"What is {n}?", "input": "", "output": f"A hammer of {n} kg."} for n in range(4)]
    (tmp_path / "smithy.json").write_text(json.dumps(rows))
    (tmp_path / "dataset_info.json").write_text(json.dumps({"smithy": {"file_name": "smithy.json"}}))
    paths = {"model_name_or_path": tiny_model, "dataset_dir": tmp_path, "output_dir": tmp_path / "out"}
    config = CONFIG | {key: str(path) for key, path in paths.items()}
    (tmp_path / "config.yaml").write_text(json.dumps(config))  # JSON is YAML too
    done = subprocess.run(
        [trainer.cli, "train", tmp_path / "config.yaml"],
        env=environment.environment(trainer, threads=1),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert (tmp_path / "out" / "adapter_model.safetensors").exists()
    log = [json.loads(line) for line in (tmp_path / "out" / "trainer_log.jsonl").read_text().splitlines()]
    assert [line["current_steps"] for line in log if "loss" in line] == [1, 2]
