"""All checks of the doctor, by name: those of any services, then those of ours."""

from __future__ import annotations

import time
from collections.abc import Mapping

from services.operations import queue, releases, work
from shared.operations.doctor import DEEP, GENERAL, Check, Patient, examine, metrics

USUAL: Mapping[str, Check] = {
    **GENERAL,
    "pushes": work.pushes,
    "commits": work.commits,
    "runs": work.runs,
    "slots": queue.slots,
    "evaluations": work.evaluations,
    "starts": work.starts,
    "orphans": work.orphans,
    "one-live": releases.one_live,
    "gates": releases.gates,
    "weights": releases.weights,
    "registry": releases.registered,
    "engines": releases.engines,
    "documents": releases.documents,
}
# The documents of all versions, in place of those of the live ones; and everything decided once more.
THOROUGH: Mapping[str, Check] = {**USUAL, "documents": releases.all_documents, **DEEP}


def render_metrics(patient: Patient) -> str:
    """The usual checks as Prometheus text."""
    begun = time.monotonic()
    findings = examine(patient, USUAL)
    return metrics(findings, USUAL, time.monotonic() - begun)
