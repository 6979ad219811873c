"""The evaluation of a model version was judged by its thresholds.

said by: validation · heard by: registration, cards, deployment, status, outbound · subject: models/<key>
"""

from __future__ import annotations

import msgspec

from events.parts import Artifact, ModelVersion

NAME = "model-validated"


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """One threshold: what was demanded of which metric, what was measured, and whether it held."""

    metric: str
    demand: str
    measured: float | None
    passed: bool


class ModelValidated(msgspec.Struct, frozen=True, kw_only=True):
    """metrics: tuned model. baseline: base model on the same rows. report: path of the readable report."""

    model: ModelVersion
    artifact: Artifact
    passed: bool
    metrics: dict[str, float]
    baseline: dict[str, float]
    gates: tuple[Gate, ...]
    groups: dict[str, dict[str, float]] = {}
    baseline_groups: dict[str, dict[str, float]] = {}
    set_digest: str = ""
    rows: int = 0
    report: str = ""
    report_digest: str = ""
