"""One run of this pod: what it was told, where things lie, and with what it works."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from events.parts import ModelVersion, Origin
from shared import places
from shared.errors import Reject
from shared.forge.environment import Trainer
from shared.forge.models import BaseModel
from shared.podkit.ports import PodPorts
from shared.podkit.stopping import Stopping
from shared.podkit.voice import Voice

ADAPTERS = frozenset({"lora", "oft"})


def node_rank(environ: Mapping[str, str] = os.environ) -> int:
    """Which of the nodes of one run this is, from 0. Raises Reject."""
    text = environ.get("NODE_RANK") or "0"
    if not text.isdecimal():
        raise Reject(f"NODE_RANK is {text!r}; it should be a number from 0")
    return int(text)


class PodLimits(msgspec.Struct, frozen=True, kw_only=True):
    """grace_seconds: between SIGTERM and SIGKILL, to save and upload in."""

    grace_seconds: float = 25


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """What the training service tells the pod. work_dir: empty for the installation's own place.

    resources: as in `model.yaml`. threads: of the trainer, 0 for the free cores, see `shared.podkit.cores`.
    cause: the event it answers. prefix: in the artifact store, empty for the run's place of today.
    job: its name in the cluster.
    """

    run_id: str
    model: ModelVersion
    origin: Origin
    cause: str
    traceparent: str = ""
    resources: dict[str, Any] = {}
    limits: PodLimits = PodLimits()
    work_dir: str = ""
    prefix: str = ""
    threads: int = 0
    job: str = ""

    @property
    def place(self) -> str:
        """Folder of the run in the artifact store."""
        return self.prefix or places.of_run(self.model.tenant, self.run_id)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the steps of the pod share. base: None where the trainer itself gets it from the hub."""

    document: Document
    attempt: int
    ports: PodPorts
    voice: Voice
    stopping: Stopping
    trainer: Trainer
    base: BaseModel | None

    @property
    def work(self) -> Path:
        """Kept from one start of the pod to the next, on this machine."""
        if self.document.work_dir:
            return Path(self.document.work_dir)
        return self.ports.settings.home / "work" / self.document.run_id

    @property
    def folder(self) -> Path:
        """The experiment folder as committed."""
        return self.work / "experiment"

    @property
    def output(self) -> Path:
        """The trainer's `output_dir`."""
        return self.work / "output"

    @property
    def log(self) -> Path:
        """What the trainer prints."""
        return self.work / f"trainer-{self.attempt}.log"

    @property
    def prefix(self) -> str:
        """Of all this run leaves in the artifact store."""
        return self.document.place

    @property
    def subject(self) -> str:
        """Of its events."""
        return f"runs/{self.document.run_id}"

    @property
    def base_name(self) -> str:
        """The base model as the config names it. Raises Reject where it names none."""
        name = self.document.origin.config.get("model_name_or_path")
        if not isinstance(name, str) or not name:
            raise Reject("config.yaml: model_name_or_path is missing; name a base model, as on the hub")
        return name

    @property
    def makes_adapter(self) -> bool:
        """Whether it trains an adapter, or all weights."""
        return self.document.origin.config.get("finetuning_type", "lora") in ADAPTERS

    @property
    def nodes(self) -> int:
        """Machines that train together."""
        return int(self.document.resources.get("nodes") or 1)

    @property
    def rank(self) -> int:
        """Which of the nodes this is, from 0."""
        return node_rank()

    @property
    def leads(self) -> bool:
        """Of the nodes of one run only the first one uploads and speaks."""
        return self.rank == 0
