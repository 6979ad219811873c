"""Training runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from services.console.schemas.common import Asked, DeadRecord, Told

RunStatus = Literal["REJECTED", "QUEUED", "TRAINING", "SUCCEEDED", "FAILED"]


class RunQuery(Asked):
    """Which runs; all that is given must hold."""

    tenant: str = Field(default="", description="Only runs of this tenant.")
    status: RunStatus | None = Field(default=None, description="Only runs of this status.")
    model_id: str = Field(default="", description="Only runs that make this model.")
    after: str = Field(default="", description="Cursor: `next` of the page before.")
    limit: int = Field(default=100, ge=1, le=1000, description="How many at most.")


class Progress(Told):
    """How far a run has come."""

    attempt: int = 0
    phase: str = Field(default="", description="fetching, loading, training, uploading.")
    step: int = Field(default=0, description="Optimizer steps taken.")
    total_steps: int = 0
    loss: float | None = None
    learning_rate: float | None = None
    epoch: float | None = None
    elapsed_seconds: float | None = None
    eta_seconds: float | None = None
    at: datetime | None = None


class Queue(Told):
    """Where it waits for a slot. place: 1 is next, of `waiting`."""

    place: int
    waiting: int
    why: str = ""
    at: datetime | None = None


class Run(Told):
    """One run: what it trains, from which commit, and how it goes."""

    run_id: str = Field(examples=["r-0123456789abcdef"])
    status: RunStatus
    model_id: str = Field(default="", description="Empty where the config was refused.")
    version: str = ""
    tenant: str = ""
    repository: str = ""
    experiment: str = ""
    commit: str = ""
    branch: str = ""
    author: str = ""
    progress: Progress | None = None
    queue: Queue | None = Field(default=None, description="While it is QUEUED and had to wait.")
    gpu_hours: float = Field(
        default=0, description="Of attempts that have ended; plain hours where it has no GPU."
    )
    cause: str = Field(default="", description="What went wrong and how to mend it; empty where nothing did.")
    started_at: datetime | None = None
    finished_at: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class RunPage(Told):
    """Runs in the order of their ids."""

    items: list[Run]
    next: str | None = Field(description="Cursor of the next page, null on the last.")


class Checkpoint(Told):
    """Weights that lie complete in the artifact store. loss: the last one measured up to that step."""

    step: int
    uri: str = ""
    digest: str = ""
    loss: float | None = None


class Loss(Told):
    """One point of the loss curve."""

    step: int
    loss: float
    learning_rate: float | None = None
    epoch: float | None = None


class Preemption(Told):
    """The run was interrupted, and resumed from its last checkpoint."""

    attempt: int
    at: datetime | None = None


class RunDetail(Run):
    """Everything that is known of one run."""

    revision: int = Field(description="Counts the record's commits.")
    tree: str = Field(default="", description="Git tree id of the experiment's folder.")
    job: str = Field(default="", description="Name of its job in the cluster.")
    warnings: list[str] = Field(default=[])
    faults: list[str] = Field(default=[], description="All faults of a refused config.")
    checkpoints: list[Checkpoint] = Field(default=[])
    losses: list[Loss] = Field(
        default=[], description="Loss by step; a repeated step counts as last measured."
    )
    metrics: dict[str, Any] = Field(default={})
    runtime: dict[str, Any] = Field(default={})
    preemptions: list[Preemption] = Field(default=[])
    dead: DeadRecord | None = None
