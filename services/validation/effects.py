"""What an evaluation may ask for: the measuring jobs, and the readable report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from events.model_validated import ModelValidated
from events.parts import ModelVersion
from services.validation.report import report
from shared import places
from shared.identity import workload_name
from shared.ports.cluster import Limits, Workload
from shared.record import Do, Record
from shared.service import Effect, Ports, Speech

DEADLINE_SECONDS = 3600.0


def effects(ports: Ports) -> Mapping[str, Effect]:
    """`measure`: a job that answers the evaluation set; `report`: write it, then say the verdict."""

    def measure(do: Do, record: Record) -> Sequence[Speech]:
        ports.cluster.apply(_workload(do, record))
        return []

    def write_report(do: Do, record: Record) -> Sequence[Speech]:
        verdict = msgspec.convert(do.arguments, ModelValidated)
        text = report(verdict, _rows(ports, record.data["results"]))
        stored = ports.artifacts.create(f"{places.of_evaluation(record.name)}/report.md", text.encode())
        said = msgspec.structs.replace(verdict, report=stored.path, report_digest=stored.digest)
        return [Speech(said, f"models/{verdict.model.key}")]

    return {"measure": measure, "report": write_report}


def _workload(do: Do, record: Record) -> Workload:
    role = do.arguments["role"]
    model = ModelVersion(**do.arguments["model"])
    return Workload(
        name=workload_name("eval", role, model.run_id),
        service="validation",
        key=record.key,
        kind="job",
        module="services.validation.pod",
        document={**do.arguments, "key": record.name, "cause": do.cause, "traceparent": do.traceparent},
        limits=Limits(deadline_seconds=DEADLINE_SECONDS),
        labels={"tenant": model.tenant, "run": model.run_id, "role": role},
    )


def _rows(ports: Ports, results: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The tuned model's answers, each with the base model's beside it; empty where nothing was measured."""
    tuned, base = (_answers(ports, results[role].get("uri", "")) for role in ("tuned", "base"))
    others = {row["id"]: row.get("prediction", "") for row in base}
    return [{**row, "base_prediction": others.get(row["id"], "")} for row in tuned]


def _answers(ports: Ports, uri: str) -> list[dict[str, Any]]:
    if not uri:
        return []
    answers: list[dict[str, Any]] = json.loads(ports.artifacts.read(uri))["answers"]
    return answers
