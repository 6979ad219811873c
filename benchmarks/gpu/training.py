"""One training config through the pod, as the cluster starts it, and through bare `llamafactory-cli`."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from events.parts import ModelVersion, Origin, Source
from services.training.pod.config import Places, compose
from services.training.pod.run import Document
from shared.forge import environment, models
from shared.podkit.machine import visible_gpus
from shared.settings import Settings

RATE = "effective_tokens_per_sec"  # the trainer's own, of its steps alone
EXPERIMENT = "experiments/speed"


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """Of a training. rows are packed to `cutoff_len` tokens, so every step has the same number of them."""

    steps: int = 60
    rows: int = 4000
    cutoff_len: int = 2048
    batch: int = 4


class Timed(msgspec.Struct, frozen=True, kw_only=True):
    """tokens_a_second: by the trainer. seconds: from the start of the process to its end, uploads and all."""

    tokens_a_second: float
    seconds: float


def config(model: str, size: Size, gpus: int) -> dict[str, Any]:
    """What a data scientist would commit."""
    return {
        "model_name_or_path": model,
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_rank": 8,
        "lora_target": "all",
        "dataset": "train",
        "dataset_dir": ".",
        "template": "chatml",
        "cutoff_len": size.cutoff_len,
        "packing": True,
        "max_steps": size.steps,
        "per_device_train_batch_size": size.batch,
        "gradient_accumulation_steps": 1,
        "learning_rate": 1.0e-4,
        "lr_scheduler_type": "cosine",
        "logging_steps": 5,
        "save_steps": max(size.steps // 3, 1),
        "bf16": bool(gpus),
        "seed": 42,
        "include_effective_tokens_per_second": True,
    }


def commit(repository: Path, committed: Mapping[str, Any], rows: int) -> Source:
    """A repository with one experiment; where it lies."""
    folder = repository / EXPERIMENT
    folder.mkdir(parents=True)
    rand = random.Random(42)
    words = [f"word{number}" for number in range(500)]
    data = [
        {
            "instruction": " ".join(rand.choices(words, k=60)),
            "input": "",
            "output": " ".join(rand.choices(words, k=120)),
        }
        for _ in range(rows)
    ]
    (folder / "config.yaml").write_text(yaml.safe_dump(dict(committed)), encoding="utf-8")
    (folder / "train.json").write_text(json.dumps(data), encoding="utf-8")
    (folder / "dataset_info.json").write_text(
        json.dumps({"train": {"file_name": "train.json"}}), encoding="utf-8"
    )
    _git(repository, "init", "--quiet", "--initial-branch=main")
    _git(repository, "add", "--all")
    _git(repository, "commit", "--quiet", "--message=an experiment for its speed")
    return Source(
        repository="speed",
        url=str(repository),
        experiment=EXPERIMENT,
        commit=_git(repository, "rev-parse", "HEAD"),
        tree=_git(repository, "rev-parse", f"HEAD:{EXPERIMENT}"),
    )


def through_the_pod(settings: Settings, source: Source, committed: dict[str, Any], number: int) -> Timed:
    """`python -m services.training.pod`. Raises CalledProcessError; its output is in the home."""
    run = f"r-{number:016x}"
    version = ModelVersion(model_id="team-x.speed.v1", version="1.0.0", tenant="team-x", run_id=run)
    origin = Origin(source=source, config=committed, manifest={})
    gpus = visible_gpus()
    document = Document(
        run_id=run, model=version, origin=origin, cause=f"speed-{number}", resources={"gpus": gpus}
    )
    path = settings.home / f"pod-{number}.json"
    path.write_bytes(msgspec.json.encode(document))
    own = {
        "KUZNIA_HOME": str(settings.home),
        "XDG_CACHE_HOME": str(settings.cache.parent),
        "KUZNIA_POD": str(path),
    }
    seconds = _run(
        [sys.executable, "-m", "services.training.pod"],
        {**os.environ, **own},
        settings.home / f"pod-{number}.log",
    )
    kept = json.loads((settings.artifacts / document.place / "result.json").read_bytes())
    return Timed(tokens_a_second=kept["metrics"][RATE], seconds=seconds)


def bare(settings: Settings, source: Source, committed: dict[str, Any], number: int) -> Timed:
    """`llamafactory-cli train` on the same config, from the same environment. Raises CalledProcessError."""
    trainer, base = (
        environment.require(settings.cache),
        models.resolve(settings.models, committed["model_name_or_path"]),
    )
    assert base
    folder, output = Path(source.url) / source.experiment, settings.home / f"bare-{number}"
    places = Places(folder=folder, output=output, model=str(base.path), gpus=visible_gpus())
    path = settings.home / f"bare-{number}.yaml"
    path.write_text(yaml.safe_dump(compose(committed, places)), encoding="utf-8")
    env = environment.environment(trainer)
    seconds = _run([str(trainer.cli), "train", str(path)], env, settings.home / f"bare-{number}.log")
    return Timed(
        tokens_a_second=json.loads((output / "all_results.json").read_bytes())[RATE], seconds=seconds
    )


def _run(words: list[str], env: Mapping[str, str], log: Path) -> float:
    began = time.perf_counter()
    with log.open("wb") as out:
        subprocess.run(words, env=dict(env), stdout=out, stderr=subprocess.STDOUT, check=True)
    return time.perf_counter() - began


def _git(repository: Path, *words: str) -> str:
    who = ["-c", "user.name=Speed", "-c", "user.email=speed@example.invalid"]
    done = subprocess.run(["git", *who, *words], cwd=repository, check=True, capture_output=True, text=True)
    return done.stdout.strip()
