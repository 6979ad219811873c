"""What is left of a run's own budget, and of its tenant's hours of this month; and the end when nothing is.

Who has used up his hours is stopped as by a cloud that wants its machine back: SIGTERM, and the pod saves where
it stands. Nothing is lost; `kuznia retry` goes on from there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from events.budget_checked import BudgetChecked
from events.training_finished import TrainingFinished
from services.training.slots import ENDS, Slots
from services.training.usage import HOUR, spent_hours, used_up
from shared.errors import Retry
from shared.ports.cluster import Cluster
from shared.record import Record
from shared.service import Ports, Speech

LOOK_SECONDS = 900.0  # at the latest, where others use up the same hours
_OVER = frozenset({"succeeded", "failed"})


def check(ports: Ports, run: Record, *, patient: bool) -> list[Speech]:
    """What there is to say of the hours of a run's job, now. Nothing where nothing limits it."""
    now, gpus = ports.clock.now(), run.data.get("gpus", 1)
    waits: list[float] = []
    over = ""
    budget = run.data.get("budget_hours")
    if budget is not None:
        spent = spent_hours(run.data, now)
        over = used_up(run.name, spent, budget) if spent >= budget else ""
        waits.append((budget - spent) * HOUR / gpus)
    tenant = run.data["model"]["tenant"]
    left, rate = Slots(ports.store, ports.clock).left(tenant)
    if left is not None:
        over = over or (_tenant_used_up(run.name, tenant) if left <= 0 else "")
        waits += [left * HOUR / max(rate, 1), LOOK_SECONDS]
    if not waits:
        return []
    seconds = 0.0 if over else math.ceil(max(1.0, min(waits)))
    said = BudgetChecked(run_id=run.name, job=run.data["job"], over=over, seconds=seconds, patient=patient)
    return [Speech(said, run.key)]


def _tenant_used_up(run: str, tenant: str) -> str:
    return (
        f"budget: the GPU hours of {tenant} are used up for this month; `kuznia retry {run}` lets it wait for"
        " others, and it goes on from its last checkpoint"
    )


def spoken_for(cluster: Cluster, run: Record, job: str) -> Sequence[Speech]:
    """Speak for a stopped pod that has ended without a word. Raises Retry while it is still ending."""
    stopping = run.data.get("stopping", {})
    if run.status in ENDS or run.data.get("job") != job or stopping.get("job") != job:
        return []
    status = cluster.status(job)
    if status is not None and status.phase not in _OVER:
        cluster.stop(job)
        raise Retry(f"{job} was told to stop, and is still {status.phase}")
    attempt = status.attempt if status else 0
    finished = TrainingFinished(
        run_id=run.name, attempt=attempt, outcome="failed", cause=stopping["why"], job=job
    )
    return [Speech(finished, run.key)]
