"""Whose an event is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from events.envelope import Event
from shared.ports.store import Store


class Tenancy:
    """Tells the tenant of events; asks the store where the event itself does not say, and remembers."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, str] = {}

    def of(self, event: Event) -> str:
        """The tenant, or empty where it belongs to none (a push is of a repository)."""
        data: Mapping[str, Any] = event.data
        model = data.get("model") if isinstance(data.get("model"), Mapping) else data
        assert model is not None
        if model.get("tenant"):
            return str(model["tenant"])
        if model.get("model_id"):
            return _of_model(str(model["model_id"]))
        return self._of_record(str(data.get("key") if event.name == "workload-changed" else event.subject))

    def _of_record(self, key: str) -> str:
        kind, _, name = key.partition("/")
        if kind in ("models", "releases", "evaluations", "cards"):
            return _of_model(name.split("@", 1)[0])
        if key not in self._known:
            model = self._store.load(key).data.get("model") if kind == "runs" else None
            self._known[key] = str(model["tenant"]) if model else ""
        return self._known[key]


def _of_model(model_id: str) -> str:
    """`team-x.llm-qa.v1` -> `team-x`."""
    return model_id.rsplit(".", 2)[0] if model_id.count(".") >= 2 else ""
