"""What the judging pod is told."""

from __future__ import annotations

from typing import Any

import msgspec

from events.parts import Source
from shared import places
from shared.identity import workload_name

DEFAULT_TOKENS = 64


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """address: `host:port`. model: what the engine calls it. keeper: by whose name the engine's key is derived."""

    version: str
    address: str
    model: str
    keeper: str


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """mark: `<rollout>.<step>`. version: the canary, whose evaluation set is asked. samples: at most so many questions.

    engines: the live version's and the canary's. evaluation: that part of the canary's `model.yaml`.
    """

    model_id: str
    mark: str
    step: int
    metric: str
    samples: int
    version: str
    engines: tuple[Engine, Engine]
    source: Source
    evaluation: dict[str, Any]
    cause: str
    traceparent: str = ""
    grace_seconds: float = 10

    @property
    def key(self) -> str:
        """Of the evaluation that let the canary out: of the same rows."""
        return f"{self.model_id}@{self.version}"

    @property
    def max_new_tokens(self) -> int:
        """The longest answer."""
        return int(self.evaluation.get("max_new_tokens") or DEFAULT_TOKENS)

    @property
    def work(self) -> str:
        """Name of the folder of its files: one for all judges of a canary, which read the same rows."""
        return workload_name("judge", self.model_id, self.version)

    @property
    def result(self) -> str:
        """Where questions, answers and scores will lie in the artifact store."""
        return f"{places.of_evaluation(self.key)}/canary-{self.mark}.json"
