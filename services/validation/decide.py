"""Which measurements are asked for, and how they are judged. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal

from events.catalog import decode, encode
from events.envelope import Event
from events.evaluation_finished import EvaluationFinished
from events.model_registered import ModelRegistered
from events.model_validated import Gate, ModelValidated
from events.parts import Artifact, ModelVersion, Origin
from events.training_started import TrainingStarted
from events.workload_changed import WorkloadChanged
from shared.errors import Retry
from shared.record import Record
from shared.service import Decision, Wish

Role = Literal["base", "tuned"]
BASE: Role = "base"
TUNED: Role = "tuned"


def key(event: Event) -> str | None:
    """`evaluations/<model_id>@<version>`; of the cluster's changes only those of our own jobs."""
    if event.name == "workload-changed":
        return event.data["key"] if event.data.get("service") == "validation" else None
    if event.name == "evaluation-finished":
        return f"evaluations/{event.data['key']}"
    model = event.data["model"]
    return f"evaluations/{model['model_id']}@{model['version']}"


def decide(record: Record, event: Event, now: datetime) -> Decision | None:
    """See the module."""
    payload = decode(event)
    if isinstance(payload, WorkloadChanged) and record.died_before(event.id):
        raise Retry(
            f"{record.key} is dead: what its pod said may lie among the dead letters; redrive that first"
        )
    handlers: dict[type, Callable[[Record, Any], Decision | None]] = {
        TrainingStarted: _begun,
        ModelRegistered: _registered,
        EvaluationFinished: _measured,
        WorkloadChanged: _workload,
    }
    return handlers[type(payload)](record, payload)


def _begun(record: Record, started: TrainingStarted) -> Decision | None:
    """The base model can be measured while the training runs."""
    if record.revision:
        return None
    data = {**_facts(started.model, started.origin), "asked": [BASE]}
    return Decision(status="MEASURING", data=data, wishes=(_measure(data, BASE),))


def _registered(record: Record, registered: ModelRegistered) -> Decision | None:
    asked = record.data.get("asked", [])
    if TUNED in asked or record.status not in ("", "MEASURING"):
        return None
    data = {
        **_facts(registered.model, registered.origin),
        **record.data,
        "artifact": encode(registered.artifact),
        "asked": [BASE, TUNED],
    }
    roles = [role for role in (BASE, TUNED) if role not in asked]
    return Decision(status="MEASURING", data=data, wishes=tuple(_measure(data, role) for role in roles))


def _facts(model: ModelVersion, origin: Origin) -> dict[str, Any]:
    revision, resources = origin.config.get("model_revision"), _resources(origin.manifest)
    return {
        "model": encode(model),
        "source": encode(origin.source),
        "evaluation": origin.manifest["evaluation"],
        "base_model": origin.config["model_name_or_path"],
        "template": origin.config.get("template", "default"),
        "results": {},
        **({"base_revision": str(revision)} if revision else {}),
        **({"resources": resources} if resources else {}),
    }


def _resources(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """One node of those that it was trained on, where that has GPUs; empty where it has none."""
    said = manifest.get("resources") or {}
    if said.get("gpu", "none") == "none":
        return {}
    wanted = ("gpu", "gpus", "spot", "memory_gb", "disk_gb", "priority")
    return {name: said[name] for name in wanted if said.get(name) is not None}


def _measure(data: Mapping[str, Any], role: str) -> Wish:
    """The data as far as a measurement needs it, so that the effect asks the cluster for the same job ever."""
    document = {name: data[name] for name in ("model", "source", "evaluation", "base_model", "template")}
    document |= {name: data[name] for name in ("base_revision", "resources") if name in data}
    artifact = data.get("artifact") if role == TUNED else None
    return Wish("measure", {**document, "role": role, "artifact": artifact})


def _measured(record: Record, finished: EvaluationFinished) -> Decision | None:
    results = record.data.get("results", {})
    if record.status != "MEASURING" or finished.role in results:
        return None
    data = {**record.data, "results": {**results, finished.role: encode(finished)}}
    return judged(data) if {BASE, TUNED} <= set(data["results"]) else Decision(status="MEASURING", data=data)


def _workload(record: Record, change: WorkloadChanged) -> Decision | None:
    """A measuring job that died without a word counts as a measurement that failed."""
    role: Role = TUNED if f"-{TUNED}-" in f"{change.name}-" else BASE
    if change.phase not in ("failed", "succeeded") or role in record.data.get("results", {}):
        return None
    cause = f"{change.reason}: {change.message}" if change.reason else "the job ended without a word"
    finished = EvaluationFinished(key=record.name, role=role, outcome="failed", cause=cause)
    return _measured(record, finished)


def judged(data: dict[str, Any]) -> Decision:
    """Both measurements are there: PASSED if every gate holds. Asks for the report, which says the verdict."""
    gates = judge(data["evaluation"], data["results"][TUNED], data["results"][BASE])
    passed = all(gate.passed for gate in gates)
    verdict = validated(data, gates, passed=passed)
    data = {**data, "gates": [encode(gate) for gate in gates], "passed": passed}
    wish = Wish("report", encode(verdict))
    return Decision(status="PASSED" if passed else "FAILED", data=data, wishes=(wish,))


def validated(data: Mapping[str, Any], gates: tuple[Gate, ...], *, passed: bool) -> ModelValidated:
    """The verdict, as it will be said once its report lies in the store."""
    tuned, base = data["results"][TUNED], data["results"][BASE]
    return ModelValidated(
        model=ModelVersion(**data["model"]),
        artifact=Artifact(**data["artifact"]),
        passed=passed,
        metrics=tuned["metrics"],
        baseline=base["metrics"],
        gates=gates,
        groups=tuned["groups"],
        baseline_groups=base["groups"],
        set_digest=tuned["set_digest"],
        rows=tuned["rows"],
    )


def judge(
    evaluation: Mapping[str, Any], tuned: Mapping[str, Any], base: Mapping[str, Any]
) -> tuple[Gate, ...]:
    """A gate for each threshold, for the gain over the base, and for either measurement that failed."""
    failures = tuple(_failure(result) for result in (tuned, base) if result["outcome"] != "succeeded")
    gates = [
        _threshold(metric, bound, tuned["metrics"].get(metric))
        for metric, bound in sorted(evaluation.get("thresholds", {}).items())
    ]
    baseline = evaluation.get("baseline")
    if baseline:
        gates.append(_gain(baseline, tuned["metrics"], base["metrics"]))
    return (*failures, *gates)


def _failure(result: Mapping[str, Any]) -> Gate:
    return Gate(
        metric="measurement",
        demand=f"the {result['role']} model is measured",
        measured=None,
        passed=False,
    )


def _threshold(metric: str, bound: Mapping[str, float | None], measured: float | None) -> Gate:
    low, high = bound.get("min"), bound.get("max")
    demands = [f">= {low:g}" if low is not None else "", f"<= {high:g}" if high is not None else ""]
    holds = measured is not None and (low is None or measured >= low) and (high is None or measured <= high)
    return Gate(
        metric=metric, demand=" and ".join(d for d in demands if d), measured=measured, passed=bool(holds)
    )


def _gain(baseline: Mapping[str, Any], tuned: Mapping[str, float], base: Mapping[str, float]) -> Gate:
    metric, least = baseline["metric"], float(baseline.get("min_gain", 0))
    demand = f"gain over the base model >= {least:g}"
    if metric not in tuned or metric not in base:
        return Gate(metric=metric, demand=demand, measured=None, passed=False)
    gain = tuned[metric] - base[metric]
    gain = -gain if metric == "loss" else gain  # a lower loss is the better one
    return Gate(metric=metric, demand=demand, measured=round(gain, 6), passed=gain >= least)
