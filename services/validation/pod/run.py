"""One measurement: what the pod was told, where things lie, and with what it works."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from events.parts import Artifact, ModelVersion, Source
from shared import places
from shared.forge.environment import Trainer
from shared.forge.models import BaseModel
from shared.identity import workload_name
from shared.podkit.ports import PodPorts
from shared.podkit.stopping import Stopping

DEFAULT_TOKENS = 64


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """What the validation service tells the pod. key: of the evaluation. evaluation: that part of `model.yaml`.

    artifact: the tuned weights; absent for the base model. model: the version, and so the run, whose base model
    this is. base_revision: as config.yaml says it. threads: 0 for the free cores, see `shared.podkit.cores`.
    """

    key: str
    role: Literal["base", "tuned"]
    source: Source
    evaluation: dict[str, Any]
    base_model: str
    template: str
    cause: str
    artifact: Artifact | None = None
    model: ModelVersion | None = None
    base_revision: str = ""
    traceparent: str = ""
    batch_size: int = 8
    threads: int = 0
    grace_seconds: float = 10

    @property
    def max_new_tokens(self) -> int:
        """The longest answer."""
        return int(self.evaluation.get("max_new_tokens") or DEFAULT_TOKENS)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the steps of the pod share."""

    document: Document
    ports: PodPorts
    stopping: Stopping
    trainer: Trainer
    base: BaseModel | None

    @property
    def work(self) -> Path:
        """Kept from one start of the pod to the next, on this machine."""
        name = workload_name("eval", self.document.role, self.document.key)
        return self.ports.settings.home / "work" / name

    @property
    def result(self) -> str:
        """Where answers and metrics will lie in the artifact store."""
        return f"{places.of_evaluation(self.document.key)}/{self.document.role}.json"
