"""Each bad line of config.yaml, and what is said about it; and configs that are right."""

from __future__ import annotations

import re

import pytest

from shared.experiment.check import check

MODEL = "model_name_or_path"
# LLaMA-Factory's own first example, as most configs begin (without trust_remote_code).
COMMON = """\
model_name_or_path: meta-llama/Meta-Llama-3-8B-Instruct
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 8
lora_target: all
dataset_dir: .
dataset: train
template: llama3
cutoff_len: 2048
max_samples: 1000
preprocessing_num_workers: 16
dataloader_num_workers: 4
output_dir: saves/llama3-8b/lora/sft
logging_steps: 10
save_steps: 500
plot_loss: true
overwrite_output_dir: true
save_only_model: false
report_to: none
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 1.0e-4
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
ddp_timeout: 180000000
resume_from_checkpoint: null
val_size: 0.1
per_device_eval_batch_size: 1
eval_strategy: steps
eval_steps: 500
"""


def spoken(folder) -> str:
    return "\n".join(str(fault) for fault in check(folder).faults)


@pytest.mark.parametrize(
    "more",
    [
        "",
        "quantization_bit: 4\nquantization_method: bnb\n",
        "use_rslora: true\noptim: adamw_torch\n",
        "deepspeed: ds.json\n",
    ],
)
def test_common_configs_pass(make, more):
    checked = check(
        make(config=COMMON + more, manifest={"resources": {"gpu": "nvidia-l4"}}, files={"ds.json": "{}"})
    )
    assert checked.faults == ()
    assert [re.sub(r"config\.yaml:\d+ ", "", fault.where) for fault in checked.warnings] == [
        "output_dir",
        "overwrite_output_dir",
    ]


def test_full_training_in_bf16_passes_where_it_fits(make):
    config = COMMON.replace("finetuning_type: lora", "finetuning_type: full")
    checked = check(make(config=config, manifest={"resources": {"gpu": "nvidia-b200"}}))
    assert checked.faults == ()


def test_checkpoints_without_optimizer_are_a_warning(make):
    (told,) = check(make(config={"save_only_model": True})).warnings
    assert "an interrupted run cannot go on" in str(told)


BAD_CONFIG = [
    # keys and types
    (
        {"learning_rat": 1},
        r"config.yaml:\d+ learning_rat: LLaMA-Factory 0.9.5 has no such key; did you mean `learning_rate`\?",
    ),
    ({"zzzz": 1}, "zzzz: LLaMA-Factory 0.9.5 has no such key; remove it"),
    ({"tenant": "x"}, "tenant: LLaMA-Factory 0.9.5 has no such key; it belongs into model.yaml"),
    ({"learning_rate": "fast"}, "learning_rate: is `fast`, not a number; write a number"),
    ({"max_steps": 10.5}, r"max_steps: is `10\.5`, not a whole number"),
    ({"max_steps": True}, "max_steps: is true, not a whole number"),
    ({"plot_loss": "yes please"}, "plot_loss: is `yes please`, not true or false"),
    ({"lora_dropout": {"a": 1}}, "lora_dropout: is a mapping, not a number"),
    (
        {"lr_scheduler_type": "cosin"},
        "lr_scheduler_type: is `cosin`, which is none of its choices; did you mean `cosine`",
    ),
    ({"save_strategy": False}, "save_strategy: is `no` without quotes, which YAML reads as false"),
    ({"infer_dtype": 3}, "infer_dtype: is `3`, which is none of its choices; write one of auto, bfloat16"),
    # dangers
    ({"trust_remote_code": True}, "trust_remote_code: runs code that the base model brings along"),
    ({"trust_remote_code": "false"}, "trust_remote_code: runs code"),
    ({"hf_hub_token": "abc"}, "hf_hub_token: puts a secret into the repository"),
    ({"push_to_hub": True}, "push_to_hub: sends the model or its figures out"),
    ({"use_swanlab": True}, "use_swanlab: sends the model"),
    ({"ray_init_kwargs": {"address": "auto"}}, "ray_init_kwargs: connects to another cluster"),
    ({"adapter_name_or_path": "org/adapter"}, "adapter_name_or_path: starts from another adapter"),
    ({"report_to": "wandb"}, "report_to: is `wandb`, which sends the run's figures elsewhere"),
    ({"report_to": ["tensorboard", "all"]}, "report_to: is `all`"),
    (
        {"run_name": "${oc.env:HOME}"},
        r"run_name: holds `\$\{…\}`, which would read the trainer's environment",
    ),
    (
        {"gradient_checkpointing_kwargs": {"a": ["${b}"]}},
        r"gradient_checkpointing_kwargs.a.0: holds `\$\{…\}`",
    ),
    (
        {"gradient_checkpointing_kwargs": {"${b}": 1}},
        r"gradient_checkpointing_kwargs.\$\{b\}: holds `\$\{…\}`",
    ),
    # paths
    ({"output_dir": "/data/out"}, "output_dir: is `/data/out`, which leads out of the experiment's folder"),
    ({"output_dir": "../out"}, r"output_dir: is `\.\./out`, which leads out"),
    ({"cache_dir": "~/models"}, "cache_dir: is `~/models`, which leads out"),
    ({"tokenized_path": "gs://bucket/x"}, "tokenized_path: is `gs://bucket/x`, which leads out"),
    ({"resume_from_checkpoint": "a\\..\\b"}, "resume_from_checkpoint: is .* which leads out"),
    ({"deepspeed": "/etc/ds.json"}, "deepspeed: is `/etc/ds.json`, which leads out"),
    ({"deepspeed": {"nvme": {"path": "/mnt"}}}, "deepspeed.nvme.path: is `/mnt`, which leads out"),
    ({"deepspeed": "ds.json"}, r"deepspeed: names `ds\.json`, which is no file of this folder"),
    ({"dataset_dir": "ONLINE"}, "dataset_dir: is `ONLINE`, which leads out"),
    ({"dataset_dir": "REMOTE:org/data"}, "dataset_dir: is `REMOTE:org/data`, which leads out"),
    ({"dataset_dir": "/data"}, "dataset_dir: is `/data`, which leads out"),
    ({"dataset_dir": "a/../../b"}, "dataset_dir: is .* which leads out"),
    # model, stage, method
    ({MODEL: None}, f"{MODEL}: is missing: no base model; write its name on the hub"),
    ({MODEL: "/models/smol"}, f"{MODEL}: is `/models/smol`, which is no `organisation/model`"),
    ({MODEL: "../smol"}, f"{MODEL}: is `../smol`, which is no"),
    ({MODEL: "a/../b"}, f"{MODEL}: is `a/../b`, which is no"),
    ({MODEL: "smol"}, f"{MODEL}: is `smol`, which is no"),
    ({"stage": "dpo"}, "stage: is `dpo`; this platform trains with sft only, for now"),
    ({"finetuning_type": "freeze"}, "finetuning_type: is `freeze`; this platform trains full or lora"),
    ({"do_train": False}, "do_train: is not true, so nothing would be trained"),
    ({"do_train": None}, "config.yaml do_train: is not true"),
    (
        {"template": "chatmll"},
        "template: is `chatmll`, a template that does not exist; did you mean `chatml`",
    ),
    ({"template": "0"}, "template: is `0`, a template that does not exist; take one of LLaMA-Factory's"),
    ({"quantization_bit": 4}, r"quantization_bit: needs a GPU \(QLoRA\), and model.yaml asks for none"),
    ({"quantization_bit": 3}, "quantization_bit: is `3`; QLoRA takes 4 or 8"),
    (
        {"quantization_bit": 4, "finetuning_type": "full"},
        "quantization_bit: goes with finetuning_type lora only",
    ),
    # numbers and conflicts
    ({"learning_rate": 0}, "learning_rate: is 0, and must be above 0"),
    ({"lora_rank": -8}, "lora_rank: is -8, and must be above 0"),
    ({"eval_dataset": "train", "val_size": 0.1}, "val_size: stands beside eval_dataset"),
    ({"do_eval": True}, "do_eval: asks for an evaluation during training"),
    ({"mask_history": True, "train_on_prompt": True}, "mask_history: is incompatible with train_on_prompt"),
    ({"bf16": True, "fp16": True}, "bf16: stands beside fp16"),
    ({"fp16": True}, "fp16: needs a GPU, and model.yaml asks for none"),
    ({"streaming": True, "max_steps": None}, "max_steps: is missing, and streaming needs it"),
    ({"interleave_probs": "0.5,0.5"}, "interleave_probs: needs an interleaved mix_strategy"),
    ({"pissa_init": True, "quantization_bit": 4}, "pissa_init: does not go with quantization_bit"),
    ({"resize_vocab": True, "quantization_bit": 8}, "resize_vocab: does not go with quantization_bit"),
    # data
    ({"dataset": None}, "config.yaml dataset: is missing: nothing to train on"),
    (
        {"dataset": "trian"},
        r"dataset: names `trian`, which is not in dataset_info\.json; did you mean `train`",
    ),
    ({"dataset": "train, zz"}, r"dataset: names `zz`, .* add it there \(there is train\)"),
    ({"dataset": ["train", "zz"]}, "dataset: names `zz`"),
    ({"eval_dataset": "zz"}, "eval_dataset: names `zz`"),
    (
        {"dataset_dir": "data"},
        r"data/dataset_info.json: is not there, and tells where .*; write `dataset_dir: \.` in config.yaml",
    ),
    ({"dataset_dir": None}, "data/dataset_info.json: is not there"),
]


@pytest.mark.parametrize(("change", "said"), BAD_CONFIG, ids=[str(change) for change, _ in BAD_CONFIG])
def test_bad_config(make, change, said):
    assert re.search(said, spoken(make(config=change)))
