"""`python -m benchmarks.gpu`: tokens a second through our pods against bare llamafactory-cli and vLLM.

Goal: at least 0.99 of bare, each. In one run, in turns, medians. Exit code 0: reached; 1: missed; 2: this
machine cannot, and why.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.gpu import serving, training
from benchmarks.gpu.load import Load
from benchmarks.gpu.needs import missing
from shared.forge import models
from shared.podkit.machine import device_name, visible_gpus
from shared.settings import Settings, from_environment

GOAL = 0.99
PARTS = ("training", "serving")


def main(arguments: Sequence[str]) -> int:
    """See the module."""
    asked = parser().parse_args(arguments)
    parts = asked.part or list(PARTS)
    cache = from_environment().cache
    found = missing(Settings(home=Path(), cache=cache), parts, asked.model, cpu=asked.cpu)
    if found:
        sys.stderr.write("".join(f"✗ this needs {line}\n" for line in found))
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what it started ends with it
    with tempfile.TemporaryDirectory(prefix="kuznia-gpu-", dir=asked.dir) as folder:
        settings = Settings(home=Path(folder) / "home", cache=cache)
        settings.home.mkdir()
        results = {part: _PARTS[part](settings, asked) for part in parts}
    document = {"device": device_name(visible_gpus()), "model": asked.model, "goal": GOAL, **results}
    print(json.dumps(document, indent=2) if asked.json else table(document))
    return int(any(result["ratio"] < GOAL for result in results.values()))


def parser() -> argparse.ArgumentParser:
    """Its defaults are for one GPU of 24 GB or more."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    made.add_argument("--part", action="append", choices=PARTS, help="only this one; may be repeated")
    made.add_argument(
        "--model", default="HuggingFaceTB/SmolLM2-135M-Instruct", help="base model in the cache"
    )
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--steps", type=int, default=training.Size().steps)
    made.add_argument("--rows", type=int, default=training.Size().rows)
    made.add_argument("--cutoff-len", type=int, default=training.Size().cutoff_len)
    made.add_argument("--batch", type=int, default=training.Size().batch)
    made.add_argument("--requests", type=int, default=Load().requests)
    made.add_argument("--at-once", type=int, default=Load().at_once)
    made.add_argument("--tokens", type=int, default=Load().tokens)
    made.add_argument("--dir", default=None, help="where to work; a few GB")
    made.add_argument(
        "--cpu", action="store_true", help="try this script without a GPU; its figures say nothing"
    )
    made.add_argument("--json", action="store_true")
    return made


def _training(settings: Settings, asked: argparse.Namespace) -> dict[str, Any]:
    size = training.Size(steps=asked.steps, rows=asked.rows, cutoff_len=asked.cutoff_len, batch=asked.batch)
    committed = training.config(asked.model, size, visible_gpus())
    source = training.commit(settings.home / "repository", committed, size.rows)
    pods, bares = [], []
    for number in range(1, asked.rounds + 1):
        pods.append(training.through_the_pod(settings, source, committed, number))
        bares.append(training.bare(settings, source, committed, number))
    result = compared([pod.tokens_a_second for pod in pods], [one.tokens_a_second for one in bares])
    return result | {
        "pod_seconds": median(pod.seconds for pod in pods),
        "bare_seconds": median(one.seconds for one in bares),
    }


def _serving(settings: Settings, asked: argparse.Namespace) -> dict[str, Any]:
    base = models.resolve(settings.models, asked.model)
    assert base
    load = Load(requests=asked.requests, at_once=asked.at_once, tokens=asked.tokens)
    artifact = serving.upload(settings, base)
    pod = serving.through_the_pod(settings, artifact, load, asked.rounds)
    return compared(pod, serving.bare(settings, base, load, asked.rounds, cpu=asked.cpu))


_PARTS = {"training": _training, "serving": _serving}


def compared(pod: Sequence[float], bare: Sequence[float]) -> dict[str, Any]:
    """Medians of tokens a second, all of the values, and the ratio."""
    through, alone = median(pod), median(bare)
    return {
        "pod": round(through, 1),
        "bare": round(alone, 1),
        "ratio": round(through / alone, 4),
        "pods": [round(value, 1) for value in pod],
        "bares": [round(value, 1) for value in bare],
    }


def table(document: dict[str, Any]) -> str:
    """For people."""
    lines = [
        f"{document['device']}, {document['model']}; tokens a second, goal {document['goal']:.2f} of bare"
    ]
    lines += [f"{'':10} {'pod':>12} {'bare':>12} {'ratio':>8}"]
    for part in PARTS:
        if part in document:
            row = document[part]
            lines.append(f"{part:10} {row['pod']:>12,.1f} {row['bare']:>12,.1f} {row['ratio']:>8.4f}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
