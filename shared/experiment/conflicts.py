"""Keys that cannot stand together: what LLaMA-Factory's own parser refuses only after its ten seconds of imports."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from shared.experiment.experiment import Experiment
from shared.experiment.faults import Fault


class Conflict(msgspec.Struct, frozen=True, kw_only=True):
    """key: where it is told. holds: whether the experiment has it."""

    key: str
    holds: Callable[[Experiment], bool]
    what: str
    mend: str


def _set(*keys: str) -> Callable[[Experiment], bool]:
    return lambda experiment: all(experiment.setting(key) not in (None, False, 0, "") for key in keys)


def _evaluates_nothing(experiment: Experiment) -> bool:
    asks = any(experiment.setting(key) is True for key in ("do_eval", "do_predict", "predict_with_generate"))
    return asks and not _set("eval_dataset")(experiment) and not _set("val_size")(experiment)


CONFLICTS = (
    Conflict(
        key="val_size",
        holds=_set("val_size", "eval_dataset"),
        what="stands beside eval_dataset, and LLaMA-Factory takes only one of them",
        mend="remove one of the two",
    ),
    Conflict(
        key="do_eval",
        holds=_evaluates_nothing,
        what="asks for an evaluation during training, and there is neither eval_dataset nor val_size",
        mend="add `val_size: 0.1`, or write `do_eval: false` (the platform evaluates afterwards anyway)",
    ),
    Conflict(
        key="mask_history",
        holds=_set("mask_history", "train_on_prompt"),
        what="is incompatible with train_on_prompt",
        mend="remove one of the two",
    ),
    Conflict(
        key="bf16",
        holds=_set("bf16", "fp16"),
        what="stands beside fp16",
        mend="remove one of the two",
    ),
    Conflict(
        key="max_steps",
        holds=lambda e: _set("streaming")(e) and e.setting("max_steps", -1) == -1,
        what="is missing, and streaming needs it",
        mend="write `max_steps: 1000`, say",
    ),
    Conflict(
        key="interleave_probs",
        holds=lambda e: _set("interleave_probs")(e) and e.setting("mix_strategy", "concat") == "concat",
        what="needs an interleaved mix_strategy",
        mend="write `mix_strategy: interleave_under`",
    ),
    Conflict(
        key="pissa_init",
        holds=_set("pissa_init", "quantization_bit"),
        what="does not go with quantization_bit",
        mend="remove one of the two",
    ),
    Conflict(
        key="resize_vocab",
        holds=_set("resize_vocab", "quantization_bit"),
        what="does not go with quantization_bit",
        mend="remove one of the two",
    ),
    Conflict(
        key="use_cpu",
        holds=lambda e: e.setting("use_cpu") is True and e.has_gpu(),
        what="is true, while model.yaml asks for a GPU that would stand idle",
        mend="remove the line, or write `resources: {gpu: none}` in model.yaml",
    ),
    Conflict(
        key="fp16",
        holds=lambda e: e.setting("fp16") is True and not e.has_gpu(),
        what="needs a GPU, and model.yaml asks for none",
        mend="write `fp16: false`, or ask for a GPU in model.yaml",
    ),
)


def check_conflicts(experiment: Experiment) -> Iterator[Fault]:
    """A fault for each conflict that holds."""
    for conflict in CONFLICTS:
        if conflict.holds(experiment):
            yield Fault(where=experiment.config.where(conflict.key), what=conflict.what, mend=conflict.mend)
