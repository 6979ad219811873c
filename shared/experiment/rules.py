"""What a config may not do on this platform, and what LLaMA-Factory would refuse only once it runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from shared.experiment.document import Document
from shared.experiment.experiment import Experiment, leaves, names_of, texts_in
from shared.experiment.faults import Fault, nearest, shown, warning
from shared.experiment.keys import templates


class Danger(msgspec.Struct, frozen=True, kw_only=True):
    """Keys that are refused whenever they hold anything but null, false or an empty text."""

    keys: tuple[str, ...]
    what: str
    mend: str


DANGERS = (
    Danger(
        keys=("trust_remote_code",),
        what="runs code that the base model brings along",
        mend="write `trust_remote_code: false` and take a model that needs none",
    ),
    Danger(
        keys=(
            "hf_hub_token",
            "ms_hub_token",
            "om_hub_token",
            "hub_token",
            "swanlab_api_key",
            "swanlab_lark_secret",
        ),
        what="puts a secret into the repository",
        mend="remove the line and revoke the secret; the platform brings its own",
    ),
    Danger(
        keys=("push_to_hub", "hub_model_id", "hub_always_push", "export_hub_model_id", "trackio_space_id"),
        what="sends the model or its figures out of the platform",
        mend="remove the line; the registry keeps the model",
    ),
    Danger(
        keys=("trackio_bucket_id", "trackio_static_space_id", "use_swanlab", "swanlab_lark_webhook_url"),
        what="sends the model or its figures out of the platform",
        mend="remove the line; the registry keeps the model",
    ),
    Danger(
        keys=("ray_init_kwargs",),
        what="connects to another cluster",
        mend="remove the line, and ask for nodes in model.yaml: `resources: {nodes: 2}`",
    ),
    Danger(
        keys=(
            "hyper_parallel_args",
            "kt_weight_path",
            "kt_expert_checkpoint_path",
            "vllm_config",
            "sglang_config",
        ),
        what="is not supported on this platform",
        mend="remove the line",
    ),
    Danger(
        keys=("adapter_name_or_path",),
        what="starts from another adapter, which could not be served together with the new one",
        mend="remove the line and train on the base model",
    ),
)
REFUSED = frozenset(key for danger in DANGERS for key in danger.keys)

# The platform sets these or does without them; whoever starts the trainer drops them.
PLATFORM_KEYS = frozenset(
    {
        *(
            "output_dir",
            "overwrite_output_dir",
            "resume_from_checkpoint",
            "logging_dir",
            "profiler_output_dir",
        ),
        *("cache_dir", "tokenized_path", "export_dir", "offload_folder"),
        *("master_addr", "master_port", "local_rank", "ray_num_workers"),
    }
)
# Texts of these may hold any character; they are never opened as a path.
FREE_TEXTS = frozenset({"default_system", "add_tokens", "add_special_tokens", "run_name", "project"})
FILES_INSIDE = ("deepspeed", "fsdp_config", "accelerator_config", "new_special_tokens_config")
TRACKERS = frozenset({"none", "tensorboard"})
POSITIVE = (
    *(
        "per_device_train_batch_size",
        "per_device_eval_batch_size",
        "gradient_accumulation_steps",
        "cutoff_len",
    ),
    *(
        "learning_rate",
        "num_train_epochs",
        "lora_rank",
        "lora_alpha",
        "logging_steps",
        "save_steps",
        "eval_steps",
    ),
)
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_INTERPOLATION = re.compile(r"\$\{")


def check_rules(experiment: Experiment) -> Iterator[Fault]:
    """Every fault and warning of config.yaml beyond key names and types."""
    yield from _dangers(experiment.config)
    yield from _interpolations(experiment.config)
    yield from _interpolations(experiment.manifest)
    yield from _paths(experiment)
    yield from _platform(experiment.config)
    yield from _stage(experiment)
    yield from _model(experiment)
    yield from _template(experiment)
    yield from _trackers(experiment)
    yield from _numbers(experiment)


def _harmless(value: Any) -> bool:
    return value is None or value is False or value == ""


def _dangers(config: Document) -> Iterator[Fault]:
    for danger in DANGERS:
        for key in danger.keys:
            if not _harmless(config.values.get(key)):
                yield Fault(where=config.where(key), what=danger.what, mend=danger.mend)


def _interpolations(document: Document) -> Iterator[Fault]:
    held = [path for path, text in texts_in(document.values) if _INTERPOLATION.search(text)]
    held += [path for path in document.lines if _INTERPOLATION.search(path[-1]) and path not in held]
    for path in held:
        yield Fault(
            where=document.where(*path),
            what="holds `${…}`, which would read the trainer's environment",
            mend="write the value itself",
        )


def _paths(experiment: Experiment) -> Iterator[Fault]:
    config = experiment.config
    for path, text in texts_in(config.values):
        if path[0] not in FREE_TEXTS | REFUSED and path[0] != "model_name_or_path" and leaves(text):
            yield Fault(
                where=config.where(*path),
                what=f"is `{shown(text)}`, which leads out of the experiment's folder",
                mend="write a relative path without `..`, or remove the line",
            )
    for key in FILES_INSIDE:
        name = experiment.setting(key)
        if isinstance(name, str) and name and not leaves(name) and name not in experiment.files:
            yield Fault(
                where=config.where(key),
                what=f"names `{shown(name)}`, which is no file of this folder",
                mend="commit the file, or write its content here as a mapping",
            )


def _platform(config: Document) -> Iterator[Fault]:
    for key in sorted(PLATFORM_KEYS & config.values.keys()):
        if not _harmless(config.values[key]):
            yield warning(
                where=config.where(key),
                what="is ignored: the platform sets it",
                mend="remove the line, and pass it on the command line when you run by hand",
            )
    if config.values.get("save_only_model") is True:
        yield warning(
            where=config.where("save_only_model"),
            what="keeps no optimizer, so an interrupted run cannot go on from a checkpoint and starts over",
            mend="write `save_only_model: false`",
        )


def _stage(experiment: Experiment) -> Iterator[Fault]:
    config, stage, method = experiment.config, experiment.setting("stage", "sft"), experiment.method()
    if stage != "sft":
        yield Fault(
            where=config.where("stage"),
            what=f"is `{shown(stage)}`; this platform trains with sft only, for now",
            mend="write `stage: sft`",
        )
    if method not in ("full", "lora"):
        yield Fault(
            where=config.where("finetuning_type"),
            what=f"is `{shown(method)}`; this platform trains full or lora",
            mend="write `finetuning_type: lora`, or `full`",
        )
    if experiment.setting("do_train") is not True:
        yield Fault(
            where=config.where("do_train"),
            what="is not true, so nothing would be trained",
            mend="write `do_train: true`",
        )
    if experiment.quantized():
        yield from _quantized(experiment)


def _quantized(experiment: Experiment) -> Iterator[Fault]:
    where, bits = experiment.config.where("quantization_bit"), experiment.setting("quantization_bit")
    if bits not in (4, 8):
        yield Fault(
            where=where, what=f"is `{shown(bits)}`; QLoRA takes 4 or 8", mend="write `quantization_bit: 4`"
        )
    if experiment.method() != "lora":
        yield Fault(
            where=where,
            what="goes with finetuning_type lora only",
            mend="write `finetuning_type: lora`, or remove quantization_bit",
        )
    if not experiment.has_gpu():
        yield Fault(
            where=where,
            what="needs a GPU (QLoRA), and model.yaml asks for none",
            mend="write `resources: {gpu: nvidia-l4}` in model.yaml, or remove quantization_bit",
        )


def _model(experiment: Experiment) -> Iterator[Fault]:
    where, name = experiment.config.where("model_name_or_path"), experiment.setting("model_name_or_path")
    example = "write its name on the hub, such as `HuggingFaceTB/SmolLM2-135M-Instruct`"
    if not name:
        yield Fault(where=where, what="is missing: no base model", mend=example)
    elif not isinstance(name, str) or not _HUB_NAME.fullmatch(name) or leaves(name):
        yield Fault(where=where, what=f"is `{shown(name)}`, which is no `organisation/model`", mend=example)
    elif any(path.startswith(f"{name}/") for path in experiment.files):
        yield Fault(
            where=where,
            what=f"is `{name}`, which is also a folder here, and would be taken instead of the base model",
            mend="rename or remove the folder",
        )
    elif experiment.known_models is not None and name not in experiment.known_models:
        near = nearest(name, experiment.known_models)
        some = ", ".join(sorted(experiment.known_models)[:5]) or "none"
        mend = f"did you mean `{near}`?" if near else f"take one of those it has: {some}"
        yield Fault(where=where, what=f"is `{shown(name)}`, which this platform does not have", mend=mend)


def _template(experiment: Experiment) -> Iterator[Fault]:
    where, name = experiment.config.where("template"), experiment.setting("template")
    if name is None:
        yield warning(
            where=where,
            what="is missing: LLaMA-Factory guesses it from the tokenizer, for training and for serving",
            mend="write the one that belongs to the base model, such as `template: chatml`",
        )
    elif isinstance(name, str) and name not in templates():
        near = nearest(name, templates())
        mend = (
            f"did you mean `{near}`?" if near else "take one of LLaMA-Factory's, such as `chatml` or `llama3`"
        )
        yield Fault(where=where, what=f"is `{shown(name)}`, a template that does not exist", mend=mend)


def _trackers(experiment: Experiment) -> Iterator[Fault]:
    for name in names_of(experiment.setting("report_to")):
        if name not in TRACKERS:
            yield Fault(
                where=experiment.config.where("report_to"),
                what=f"is `{shown(name)}`, which sends the run's figures elsewhere",
                mend="write `report_to: none` or `report_to: tensorboard`",
            )


def _numbers(experiment: Experiment) -> Iterator[Fault]:
    for key in POSITIVE:
        value = experiment.setting(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and value <= 0:
            yield Fault(
                where=experiment.config.where(key),
                what=f"is {value}, and must be above 0",
                mend="write more than 0",
            )
