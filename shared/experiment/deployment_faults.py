"""What `deployment` of model.yaml says as a whole: lines that contradict each other, and what is left to defaults."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from shared.experiment.document import Document
from shared.experiment.faults import Fault
from shared.experiment.manifest import Canary, Manifest

KEEP_MINUTES = 10.0


def filled(deployment: dict[str, Any]) -> dict[str, Any]:
    """The part with every default that follows from its strategy; JSON types in and out."""
    canary, keep = deployment["canary"], deployment["keep_minutes"]
    if deployment["strategy"] == "canary" and canary is None:
        canary = Canary().model_dump(mode="json")
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
