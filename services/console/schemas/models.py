"""Model versions as the registry holds them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from services.console.schemas.common import Asked, DeadRecord, Told

ModelStatus = Literal["TRAINED", "VALIDATED", "DEPLOYED", "DEPRECATED"]


class ModelQuery(Asked):
    """Which versions; all that is given must hold."""

    tenant: str = Field(default="", description="Only models of this tenant.", examples=["team-x"])
    status: ModelStatus | None = Field(default=None, description="Only versions of this status.")
    name: str = Field(default="", description="Only model ids that begin so.", examples=["team-x.llm"])
    after: str = Field(default="", description="Cursor: `next` of the page before.")
    limit: int = Field(default=100, ge=1, le=1000, description="How many at most.")


class ModelEntry(Told):
    """The registry's fields of one version."""

    model_id: str = Field(description="`<tenant>.<name>.v<major>`.", examples=["team-x.llm-qa.v1"])
    version: str = Field(description="Semver, or a commit.", examples=["1.0.0"])
    base_model: str = Field("", examples=["HuggingFaceTB/SmolLM2-135M"])
    tenant: str = ""
    risk_class: str = Field("", examples=["GENERAL_PURPOSE"])
    status: ModelStatus
    artifact_path: str = Field(default="", description="Where the weights lie in the artifact store.")
    config_path: str = Field(default="", description="`<repository>/<experiment>/config.yaml@<commit>`.")
    data_id: str = Field(default="", description="The data set it was trained on.")
    metrics: dict[str, Any] = Field(
        default={}, description="Name to value; training's own begin with `train_`."
    )
    owner: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    ai_act_notes: str = Field(
        default="", description="Where the risk assessment and the conformity procedure are."
    )
    commit: str = Field(default="", description="Git commit it was trained from.")
    run_id: str = ""
    live: bool = Field(default=False, description="Whether the model's plain name leads to this version.")


class ModelPage(Told):
    """Versions in the order of `<model_id>@<version>`."""

    items: list[ModelEntry]
    next: str | None = Field(description="Cursor of the next page, null on the last.")


class Gate(Told):
    """One threshold of the validation."""

    metric: str
    demand: str
    measured: float | None = None
    passed: bool


class Validation(Told):
    """How the version did on its evaluation set, beside its base model."""

    passed: bool
    gates: list[Gate] = Field(default=[])
    baseline: dict[str, Any] = Field(default={}, description="The base model's metrics on the same rows.")
    report: str = Field(default="", description="Path of the report in the artifact store.")
    report_digest: str = ""
    at: datetime | None = None


class Word(Told):
    """A person's approval or rejection, bound to these weights and this card."""

    who: str
    role: str = ""
    reason: str = ""
    manifest_digest: str = ""
    card_digest: str = ""
    at: datetime | None = None


class Card(Told):
    """Where the card lies, and how complete it is."""

    path: str = Field(description="Markdown, path in the artifact store.")
    document: str = Field(default="", description="JSON, path in the artifact store.")
    digest: str = Field(description="`sha256:<hex>` of the Markdown.")
    completeness: float = Field(default=0, description="Share of the fields that are filled, 0 to 1.")
    missing: list[str] = Field(default=[], description="Fields only a person can fill, and nobody has.")


class Placement(Told):
    """Where a version stands in the cluster."""

    state: str = Field(
        default="",
        description="candidate, starting, ready, canary, live, asleep, standing, retired, refused, failed.",
    )
    address: str = Field(default="", description="`host:port` of its engine.")
    release: str = Field(default="", description="Its name in the cluster.")
    weight: float | None = Field(
        default=None, description="Share of the requests, while a canary is under way."
    )
    since: str = Field(default="", description="When it fell asleep, or began to start.")
    took: float = Field(default=0, description="Seconds that its last start took.")


class Failure(Told):
    """Why it could not be brought to answer."""

    cause: str
    release: str = ""
    at: datetime | None = None


class Deprecation(Told):
    """Who withdrew it, why, and what took over."""

    by: str
    reason: str = ""
    successor: str = ""
    at: datetime | None = None


class ModelVersionDetail(ModelEntry):
    """Everything the registry knows of one version."""

    revision: int = Field(description="Counts the record's commits.")
    tree: str = Field(default="", description="Git tree id of the experiment's folder.")
    manifest_digest: str = Field(default="", description="Digest of the manifest of the weights.")
    card_digest: str = ""
    artifact: dict[str, Any] = Field(default={}, description="Kind, size, base model and its digest.")
    validation: Validation | None = None
    card: Card | None = None
    approval_needed: bool = False
    approvals: list[Word] = Field(default=[])
    rejection: Word | None = None
    release: Placement | None = None
    deployed_at: datetime | None = None
    deployment_failure: Failure | None = None
    deprecation: Deprecation | None = None
    dead: DeadRecord | None = None


class ModelDetail(Told):
    """A model: all its versions, newest first, and which one answers."""

    model_id: str
    tenant: str
    live: str | None = Field(description="The version that answers, null where none does.")
    previous: str | None = Field(description="The version that a rollback would bring back.")
    versions: list[ModelEntry]


class Measured(Told):
    """What gateways saw of one version in the step of now."""

    requests: int = 0
    errors: int = 0


class Rollout(Told):
    """A canary that is under way."""

    number: int
    version: str
    against: str = Field(description="The live version that it is compared with.")
    state: str = Field(description="stepping; held, for want of requests; paused, by an operator.")
    step: int = Field(description="From 0.")
    by: str = ""
    reason: str = ""
    began: datetime | None = None
    since: datetime | None = Field(default=None, description="When this step began.")
    figures: dict[str, Measured] = Field(default={})


class RolloutEnd(Told):
    """How an earlier canary ended."""

    number: int
    version: str
    against: str = ""
    what: str = Field(description="finished, went-back, aborted, superseded.")
    by: str = ""
    reason: str = ""
    ended: datetime | None = None


class Release(Told):
    """What answers under a model's name."""

    model_id: str
    tenant: str = ""
    live: str = Field(default="", description="The version that answers, empty where none does.")
    previous: str = ""
    versions: dict[str, Placement] = Field(default={})
    weights: dict[str, float] = Field(
        default={}, description="Shares of the requests while a canary is under way; their sum is 1."
    )
    rollout: Rollout | None = Field(default=None, description="The canary that is under way.")
    rollouts: list[RolloutEnd] = Field(default=[], description="Those that are over, oldest first.")
    revision: int
    updated_at: datetime | None = None


class ReleaseQuery(Asked):
    """Which releases."""

    tenant: str = Field(default="", description="Only models of this tenant.")
    after: str = Field(default="", description="Cursor: `next` of the page before.")
    limit: int = Field(default=100, ge=1, le=1000, description="How many at most.")


class ReleasePage(Told):
    """Releases in the order of their model ids."""

    items: list[Release]
    next: str | None = Field(description="Cursor of the next page, null on the last.")
