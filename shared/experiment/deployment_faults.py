"""What `deployment` of model.yaml says as a whole: lines that contradict each other, and what is left to defaults."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import ceil
from typing import Any

from shared.evaluation.metrics import OF_TEXTS
from shared.experiment.document import Document
from shared.experiment.faults import Fault, nearest, shown, warning
from shared.experiment.manifest import Canary, Judge, Manifest

KEEP_MINUTES = 10.0
ROUNDING = 1e-9


def filled(deployment: dict[str, Any]) -> dict[str, Any]:
    """The part with every default that follows from its strategy; JSON types in and out."""
    canary, keep = deployment["canary"], deployment["keep_minutes"]
    if deployment["strategy"] == "canary" and canary is None:
        canary = Canary().model_dump(mode="json")
    if canary and canary["judge"] and canary["judge"]["by"] is None:
        by = "platform" if canary["judge"]["metric"] in OF_TEXTS else "events"
        canary = {**canary, "judge": {**canary["judge"], "by": by}}
    if keep is None:
        keep = 0.0 if deployment["strategy"] == "replace" else KEEP_MINUTES
    return {**deployment, "canary": canary, "keep_minutes": keep}


def deployment_faults(document: Document, manifest: Manifest) -> Iterator[Fault]:
    """Each with the line and what to write instead."""
    yield from _unread(document, manifest)
    yield from _unmeasured(document, manifest)
    canary = manifest.deployment.canary
    if canary is None:
        return
    if canary.judge is not None:
        yield from _of_the_judge(document, canary.judge)
    for number, (before, after) in enumerate(pairwise(canary.steps), start=1):
        if after.weight <= before.weight:
            yield Fault(
                where=document.where("deployment", "canary", "steps", str(number), "weight"),
                what=f"is {after.weight:g}, and the step before it gives {before.weight:g} already",
                mend="write weights that rise from step to step, such as 0.05, 0.25, 0.5",
            )
    longest = max(step.minutes for step in canary.steps)
    if canary.patience_minutes < longest:
        yield Fault(
            where=document.where("deployment", "canary", "patience_minutes"),
            what=f"is {canary.patience_minutes:g}, and a step lasts {longest:g} minutes by itself",
            mend=f"write {longest:g} or more, or shorten the step",
        )


def _unread(document: Document, manifest: Manifest) -> Iterator[Fault]:
    """Lines that nothing would read, because another one says otherwise."""
    deployment = manifest.deployment
    canary = deployment.strategy == "canary"
    lines = (
        ("canary", not canary, f"is read with strategy canary only, and this one is {deployment.strategy}",
         "write `strategy: canary`, or remove the part `canary`"),
        ("keep_minutes", deployment.strategy == "replace",
         "is read with strategies blue-green and canary only: replace keeps no engine",
         "write `strategy: blue-green`, or remove the line"),
        ("cold_start_seconds", not deployment.scale_to_zero_minutes,
         "is read with scale_to_zero_minutes only: without it no engine sleeps",
         "add `scale_to_zero_minutes: 30`, or remove the line"),
    )  # fmt: skip
    for key, unread, what, mend in lines:
        if unread and document.get("deployment", key) is not None:
            yield Fault(where=document.where("deployment", key), what=what, mend=mend)


def _of_the_judge(document: Document, judge: Judge) -> Iterator[Fault]:
    """What the platform's own judge cannot measure, and what it would measure too coarsely."""
    part = ("deployment", "canary", "judge")
    if judge.by == "platform" and judge.metric not in OF_TEXTS:
        near = nearest(judge.metric, OF_TEXTS)
        known = "is measured on weights, and no engine tells it"
        yield Fault(
            where=document.where(*part, "metric"),
            what=f"is {shown(judge.metric)}, which {known if judge.metric == 'loss' else 'no evaluation measures'}",
            mend=f"did you mean `{near}`?"
            if near
            else f"write one of {', '.join(OF_TEXTS)}, or `by: events`",
        )
    ours = judge.by != "events" and judge.metric in OF_TEXTS
    if ours and 0 < judge.samples * judge.max_drop < 1 - ROUNDING:
        yield warning(
            where=document.where(*part),
            what=f"takes a canary back for one wrong answer of {judge.samples}: that is"
            f" {1 / judge.samples:.2g} of the mean, and max_drop is {judge.max_drop:g}",
            mend=f"write `samples: {ceil(1 / judge.max_drop)}` or more, or a greater max_drop",
        )


def _unmeasured(document: Document, manifest: Manifest) -> Iterator[Fault]:
    """What only vLLM tells, asked of another engine."""
    deployment = manifest.deployment
    if deployment.autoscaling is None or deployment.engine == "vllm":
        return
    for key in ("requests_waiting", "kv_cache_usage"):
        if getattr(deployment.autoscaling, key) is not None:
            yield Fault(
                where=document.where("deployment", "autoscaling", key),
                what=f"is a measure of vLLM's, and engine is {deployment.engine}, which has no such",
                mend="write `engine: vllm`, or cpu_percent in its place",
            )
