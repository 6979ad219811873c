"""What a card is made of: two events, and nothing that a clock or a disk would say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Any

import msgspec

from events.model_registered import ModelRegistered
from events.model_validated import ModelValidated

_PLACEHOLDER = re.compile(r"(todo|tbd|fixme|xxx)\b.*|\[more information needed\]", re.IGNORECASE | re.DOTALL)


class Facts(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """registered, validated: as the services said them. validated_at: time of the second event."""

    registered: ModelRegistered
    validated: ModelValidated
    validated_at: datetime

    @cached_property
    def places(self) -> Mapping[str, Mapping[str, Any]]:
        """The places where something can be said, by the name by which a person knows them."""
        artifact = self.registered.artifact
        source = self.registered.origin.source
        training = {
            "base_model": artifact.base_model,
            "base_digest": artifact.base_digest,
            "manifest_digest": artifact.manifest_digest,
            "commit": source.commit,
            "tree": source.tree,
            "runtime": self.registered.runtime,
            "metrics": self.registered.metrics,
        }
        return {
            "model.yaml": self.registered.origin.manifest,
            "config.yaml": self.registered.origin.config,
            "training": training,
            "validation": msgspec.structs.asdict(self.validated),
        }

    def said(self, path: str, place: str = "model.yaml") -> Any:
        """What stands at a dotted path (`oversight.monitoring`); None where nobody said anything."""
        found: Any = self.places[place]
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        return stated(found)

    def runtime(self, *names: str) -> str | None:
        """The first of these that the pod told of its run."""
        told = (stated(self.registered.runtime.get(name)) for name in names)
        return next((value for value in told if value is not None), None)


def stated(value: Any) -> Any:
    """The value, or None where it says nothing: empty, or a placeholder such as `TODO`."""
    if isinstance(value, str):
        text = value.strip()
        return None if not text or _PLACEHOLDER.fullmatch(text) else text
    if isinstance(value, (list, tuple)):
        return [kept for item in value if (kept := stated(item)) is not None] or None
    if isinstance(value, Mapping):
        return dict(value) or None
    return value
