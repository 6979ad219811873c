"""The model's answers: out of the store where the same base model has answered the same set before, else run."""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from services.validation.pod.run import Run
from shared import places
from shared.errors import Reject
from shared.evaluation.metrics import Answer
from shared.evaluation.rows import EvaluationSet
from shared.forge.process import Running, Work, start
from shared.forge.warm import INSIDE
from shared.podkit.bases import trainer_environment
from shared.podkit.causes import TAIL_LINES, explain
from shared.podkit.cores import allotted
from shared.podkit.echo import Echo
from shared.podkit.machine import visible_gpus
from shared.podkit.patience import Patience
from shared.podkit.tail import last_lines
from shared.podkit.weights import place

BEAT_SECONDS = 0.2
HEAD_START_SECONDS = 2.0


def answers(run: Run, questions: EvaluationSet) -> list[Answer]:
    """An answer to each row, in order. Raises Reject, Retry, Preempted."""
    kept = _cache(run, questions)
    if kept:
        try:
            return msgspec.json.decode(run.ports.artifacts.read(kept), type=list[Answer])
        except FileNotFoundError:
            pass
    if run.document.role == "base":  # is asked for together with the training, and is the less urgent one
        time.sleep(0.0 if run.document.threads else HEAD_START_SECONDS)
    share = 0.5 if run.document.role == "base" else 1.0
    with allotted(run.ports.settings, run.document.threads, share=share, check=run.stopping.check) as threads:
        found = _generate(run, questions, threads)
    if kept:
        content = msgspec.json.encode(found)
        Patience().insist("keeping the answers", lambda: run.ports.artifacts.write(kept, content))
    return found


def _cache(run: Run, questions: EvaluationSet) -> str:
    """Where this base model's answers to this set are kept; empty for weights that are seen once."""
    if run.document.artifact or run.base is None:
        return ""
    script = hashlib.sha256((INSIDE / "generate.py").read_bytes()).hexdigest()
    parts = [
        run.base.digest,
        questions.digest,
        run.document.template,
        str(run.document.max_new_tokens),
        script,
    ]
    parts += [f"{name}={version}" for name, version in sorted(run.trainer.versions.items())]
    name = hashlib.sha256(chr(10).join(parts).encode()).hexdigest()
    return f"{places.of_base_answers(run.document.key)}/{name}.json"


def _generate(run: Run, questions: EvaluationSet, threads: int) -> list[Answer]:
    target, log = run.work / "answers.jsonl", run.work / "generate.log"
    for old in (target, log):
        old.unlink(missing_ok=True)
    request = {
        "config": _config(run),
        "rows": [
            {"prompt": row.prompt, "output": row.output, "system": row.system} for row in questions.rows
        ],
        "max_new_tokens": run.document.max_new_tokens,
        "batch_size": run.document.batch_size,
        "answers": str(target),
    }
    asked = run.work / "request.json"
    asked.write_bytes(msgspec.json.encode(request))
    env = trainer_environment(run.trainer, threads)
    work = Work(argv=("generate", str(asked)), env=env, cwd=run.work, log=log)
    running = start(work, trainer=run.trainer, home=run.ports.settings.home)
    run.stopping.forward(running.kill)  # half an evaluation is worth nothing
    try:
        _watch(run, running, log)
    finally:
        running.kill()
    return [msgspec.json.decode(line, type=Answer) for line in target.read_bytes().splitlines()]


def _config(run: Run) -> dict[str, Any]:
    """LLaMA-Factory's arguments for inference."""
    model = str(run.base.path) if run.base else run.document.base_model
    config: dict[str, Any] = {
        "template": run.document.template,
        "infer_backend": "huggingface",
        "infer_dtype": "auto" if visible_gpus() else "float32",
        "trust_remote_code": False,
    }
    weights = run.document.artifact
    if weights is None:
        return config | {"model_name_or_path": model}
    folder = str(place(run.ports.artifacts, weights, run.work / "weights"))
    if weights.kind == "model":
        return config | {"model_name_or_path": folder}
    return config | {"model_name_or_path": model, "adapter_name_or_path": folder}


def _watch(run: Run, running: Running, log: Path) -> None:
    echo, code = Echo(log), None
    while code is None:
        code = running.wait(BEAT_SECONDS)
        echo.follow()
    run.stopping.check()
    if code:
        raise Reject(explain(code, last_lines(log, 3 * TAIL_LINES)))
    sys.stdout.write(f"answered {'warm' if running.warm else 'cold'}\n")
