"""The real reaction against records that are never written: what would change, be said and be asked for.

Loads come from the store once, then from what the rehearsal itself committed; the lifecycle's guards are asked.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from events.envelope import Event
from shared.errors import Conflict, KuzniaError
from shared.lifecycle import guard
from shared.reaction import Call, Commit, Load, Now, Perform, Publish, react
from shared.record import Do, Record
from shared.service import Service, Speech


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """One reaction that was not done. key: empty where the event is none of the service's business.

    known: the record has decided this event before. fault: what the reaction would have raised.
    """

    key: str = ""
    known: bool = False
    before: Record | None = None
    after: Record | None = None
    said: tuple[Event, ...] = ()
    asked: tuple[Do, ...] = ()
    fault: str = ""


class Rehearsal:
    """load: where a record comes from at its first reading."""

    def __init__(self, load: Callable[[str], Record]) -> None:
        self._load = load
        self.records: dict[str, Record] = {}

    def react(self, service: Service, event: Event, now: datetime) -> Played:
        """The whole reaction: decide once, then what the record owes."""
        try:
            key = service.key(event)
        except KuzniaError as error:
            return Played(fault=f"{type(error).__name__}: {error}")
        if key is None:
            return Played()
        before = self.record(key)
        said: list[Event] = []
        asked: list[Do] = []
        fault = ""
        try:
            self._drive(react(service, event), now, said, asked)
        except KuzniaError as error:
            fault = f"{type(error).__name__}: {error}"
        return Played(
            key=key,
            known=event.id in before.inbox,
            before=before,
            after=self.record(key),
            said=tuple(said),
            asked=tuple(asked),
            fault=fault,
        )

    def decide(self, service: Service, event: Event, now: datetime) -> Record | None:
        """Only the decision; what is owed stays owed. None where nothing follows. Raises what `decide` raises."""
        reaction = react(service, event)
        answer: Any = None
        try:
            while True:
                call = reaction.send(answer)
                if isinstance(call, Commit):
                    return self._commit(call.record)
                if not isinstance(call, Load | Now):
                    return None
                answer = self.record(call.key) if isinstance(call, Load) else now
        except StopIteration:
            return None
        finally:
            reaction.close()

    def record(self, key: str) -> Record:
        """As it stands in this rehearsal."""
        if key not in self.records:
            self.records[key] = self._load(key)
        return self.records[key]

    def _drive(
        self, reaction: Generator[Call, Any, Any], now: datetime, said: list[Event], asked: list[Do]
    ) -> None:
        answer: Any = None
        error: KuzniaError | None = None
        while True:
            try:
                call = reaction.send(answer) if error is None else reaction.throw(error)
            except StopIteration:
                return
            error = None
            try:
                answer = self._answer(call, now, said, asked)
            except KuzniaError as failure:
                error = failure

    def _answer(self, call: Call, now: datetime, said: list[Event], asked: list[Do]) -> Any:
        no_speech: tuple[Speech, ...] = ()
        match call:
            case Now():
                return now
            case Load(key=key):
                return self.record(key)
            case Commit(record=record):
                return self._commit(record)
            case Publish(events=events):
                said.extend(events)
            case Perform(do=do):
                asked.append(do)
                return no_speech
        return None

    def _commit(self, record: Record) -> Record:
        stored = self.record(record.key)
        if stored.revision != record.revision:
            raise Conflict(f"{record.key}: revision is {stored.revision}, not {record.revision}")
        guard(stored, record)
        written = msgspec.structs.replace(record, revision=record.revision + 1)
        # through JSON, as a store would have it: nothing is shared, and a tuple has become a list
        self.records[record.key] = msgspec.json.decode(msgspec.json.encode(written), type=Record)
        return self.records[record.key]


def owners(services: Mapping[str, Service]) -> dict[str, Service]:
    """Kind of record -> the service that owns it."""
    return {service.owns: service for service in services.values()}


def differences(before: object, after: object, path: str = "") -> dict[str, tuple[object, object]]:
    """Where two JSON values differ: path -> (before, after); `versions.1.0.0.state`, whole below lists."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        found: dict[str, tuple[object, object]] = {}
        for name in sorted({*before, *after}):
            inner = f"{path}.{name}" if path else str(name)
            found |= differences(before.get(name), after.get(name), inner)
        return found
    return {} if before == after else {path: (before, after)}
