"""Follows one run through the event log, from its commit to an answering model, or to where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from events.envelope import Event
from shared.ports.bus import Bus, Query
from shared.ports.store import Store

NOISE = frozenset({"training-progressed", "workload-changed"})


class End(msgspec.Struct, frozen=True):
    """How the chain ended. good: a model answers. text: for a person."""

    good: bool
    text: str


class Chain:
    """Reads new events about one run each time it is asked."""

    def __init__(self, bus: Bus, store: Store, run_id: str, after: int = 0) -> None:
        self._bus = bus
        self._store = store
        self._run_id = run_id
        self._after = after
        self._subjects = {f"runs/{run_id}"}
        self._workload_keys = {f"runs/{run_id}"}
        self.version = ""
        self.end: End | None = None

    def news(self) -> Iterator[Event]:
        """Events about this run since the last time, in order; sets `end` once the chain has ended."""
        for logged in self._bus.log(Query(after=self._after)):
            self._after = logged.position
            event = logged.event
            if not self._ours(event):
                continue
            self._learn(event)
            yield event
            self.end = self.end or self._ended(event)

    def progress(self) -> dict[str, Any]:
        """The run's latest progress, as `training-progressed` has it; empty before the first."""
        progress: dict[str, Any] = self._store.load(f"runs/{self._run_id}").data.get("progress", {})
        return progress

    def _ours(self, event: Event) -> bool:
        if event.name == "workload-changed":
            return event.data.get("key") in self._workload_keys
        return event.subject in self._subjects

    def _learn(self, event: Event) -> None:
        if event.name != "training-started":
            return
        model = event.data["model"]
        self.version = f"{model['model_id']}@{model['version']}"
        self._subjects |= {f"models/{self.version}", f"evaluations/{self.version}"}
        self._workload_keys |= {f"evaluations/{self.version}", f"releases/{model['model_id']}"}

    def _ended(self, event: Event) -> End | None:
        teller = _STOPS.get(event.name)
        stopped = teller(self.version, event.data) if teller else ""
        if stopped and (event.name != "training-finished" or self._stopped()):
            return End(good=False, text=stopped)
        if event.name == "model-deployed":
            return End(good=True, text=f"{self.version} is DEPLOYED")
        if event.name == "card-rendered" and self._waits_for_a_person():
            approve = f"`kuznia approve {self.version} --role …`"
            return End(good=True, text=f"{self.version} waits for a person: {approve}")
        return None

    def _stopped(self) -> bool:
        """Whether that is still so: a failed run may have been tried again since."""
        return self._store.load(f"runs/{self._run_id}").status not in ("QUEUED", "TRAINING", "SUCCEEDED")

    def _waits_for_a_person(self) -> bool:
        data = self._store.load(f"models/{self.version}").data
        return bool(data.get("approval_needed")) and not data.get("approvals")


_STOPS: Mapping[str, Callable[[str, Mapping[str, Any]], str]] = {
    "training-finished": lambda _, data: (
        f"training failed: {data['cause']}" if data["outcome"] == "failed" else ""
    ),
    "model-validated": lambda _, data: (
        "" if data["passed"] else f"validation failed; the report: {data['report']}"
    ),
    "deployment-failed": lambda _, data: f"deployment failed: {data['cause']}",
    "model-rejected": lambda version, data: f"{version} was rejected by {data['who']}: {data['reason']}",
    "model-deprecated": lambda version, data: f"{version} was withdrawn: {data['reason']}",
}
