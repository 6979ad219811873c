"""The door for other systems' events: all that is wrong is told at once, and then nothing is published."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from events.catalog import PayloadError, UnknownEventError, decode, encode
from events.config_committed import ConfigCommitted
from events.envelope import EnvelopeError, Event, from_structured_json, name_of_type
from services.ingress import notification, storage
from services.ingress.google import Google
from services.ingress.read import Unreadable, faults, read
from services.ingress.repositories import strangers
from services.ingress.senders import admitted, granted
from services.ingress.subjects import fault as subject_fault
from services.ingress.subjects import subject_of
from shared.errors import Reject, Retry
from shared.experiment.locations import roots_of
from shared.identity import event_id
from shared.ports.artifacts import Artifacts
from shared.ports.bus import Bus
from shared.ports.clock import Clock
from shared.ports.store import Store
from shared.record import Record
from shared.settings import Settings

RETRY_SECONDS = 5
_JWT = re.compile(r"(?i:bearer) +eyJ[\w-]+\.[\w-]+\.[\w-]+")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """status: HTTP. body: JSON. retry_after: seconds, where trying again will help."""

    status: int
    body: dict[str, Any]
    retry_after: int = 0


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What a door needs of the platform."""

    store: Store
    bus: Bus
    artifacts: Artifacts
    clock: Clock
    settings: Settings


class Read(msgspec.Struct):
    """One event of a request on its way. status: of what is wrong, 0 where nothing is. ignored: why it says
    nothing to us, which is no fault.
    """

    raw: dict[str, Any]
    event: Event | None = None
    faults: tuple[str, ...] = ()
    status: int = 0
    ignored: str = ""


class Ingress:
    """Decides over one request. headers: with lower-case names."""

    def __init__(self, place: Place, google: Google | None = None) -> None:
        self._place = place
        self._google = google or Google()

    def receive(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """202 all durable · 200 nothing to do · 400 401 403 409 413 what is wrong · 503 try again."""
        limit = self._place.settings.max_body_bytes
        if len(body) > limit:
            return _error(413, f"the body has {len(body)} bytes; the limit is {limit}")
        try:
            sender = self._admitted(headers.get("authorization", ""))
            if isinstance(sender, Answer):
                return sender
            events = [self._read(sender, raw) for raw in read(headers, body)]
            return _refusal(events) or self._publish(events)
        except Unreadable as error:
            return _error(400, str(error))
        except Reject as error:
            return _error(400, f"{error}; nothing more was published")
        except Retry as error:
            return Answer(
                status=503, body={"error": f"not now: {error}"}, retry_after=int(error.after or RETRY_SECONDS)
            )

    def _admitted(self, authorization: str) -> Record | Answer:
        try:
            sender = self._sender(authorization)
        except Reject as error:
            return _error(401, str(error))
        return _error(401, sender) if isinstance(sender, str) else sender

    def _sender(self, authorization: str) -> Record | str:
        if _JWT.fullmatch(authorization.strip()):
            google = self._google.sender(self._place.store, authorization.strip())
            return google or "the token is of no service account that may post; `kuznia senders add` lets one"
        return admitted(self._place.store, authorization, self._place.clock.now())

    def _read(self, sender: Record, raw: dict[str, Any]) -> Read:
        wrong = faults(raw)
        if wrong:
            return Read(raw=raw, faults=tuple(wrong), status=400)
        notified = raw["type"].startswith(notification.PREFIX)
        try:
            name = storage.NAME if notified else name_of_type(raw["type"])
            denied = granted(sender, name, raw["source"])
            if denied:
                return Read(raw=raw, faults=tuple(denied), status=403)
            event = self._notified(raw) if notified else _own(raw)
        except storage.NotOurs as what:
            return Read(raw=raw, ignored=str(what))
        except (EnvelopeError, PayloadError, UnknownEventError, storage.Mistaken) as error:
            return Read(raw=raw, faults=(str(error),), status=400)
        wrong = [fault for fault in (subject_fault(event), *strangers(event, self._place.store)) if fault]
        return Read(raw=raw, event=event, faults=tuple(wrong), status=400 if wrong else 0)

    def _notified(self, raw: dict[str, Any]) -> Event:
        written = storage.translate(raw, self._place.store, self._place.artifacts)
        data = _plain(written)
        return Event(
            id=_identifier(raw, storage.NAME),
            name=storage.NAME,
            source=raw["source"],
            subject=subject_of(storage.NAME, data),
            time=_moment(raw),
            data=data,
            traceparent=raw.get("traceparent", ""),
        )

    def _publish(self, events: list[Read]) -> Answer:
        """Known ones are left out; one id for two different events is refused, and nothing is published."""
        new: dict[str, Event] = {}
        done = []
        for one in events:
            if one.event is None:
                done.append({"id": one.raw["id"], "ignored": one.ignored})
                continue
            known = new.get(one.event.id) or self._place.bus.event(one.event.id)
            if known is not None and known.data != one.event.data:
                what = f"{one.raw['source']} has used id {one.raw['id']!r} for another event already"
                return _error(409, f"{what}; nothing was published")
            if known is None:
                new[one.event.id] = one.event
            done.append({"id": one.raw["id"], "event": one.event.id, "duplicate": known is not None})
        if new:
            self._place.bus.publish(list(new.values()))
        accepted = any(one.event is not None for one in events)
        return Answer(status=202 if accepted else 200, body={"events": done})


def _own(raw: dict[str, Any]) -> Event:
    """An event of the catalog; under an id of ours. Raises EnvelopeError, PayloadError, UnknownEventError.

    The id is made of source and id: records remember what they heard by id alone, and an outsider must not be able
    to take the id of an event that one of our services is going to say. Its cause is its own affair.
    """
    said = from_structured_json(msgspec.json.encode(raw))
    payload = decode(said)
    if isinstance(payload, ConfigCommitted):  # where data may lie is never an outsider's to say
        payload = msgspec.structs.replace(payload, data_roots=roots_of())
    data = _plain(payload)
    return msgspec.structs.replace(
        said,
        id=_identifier(raw, said.name),
        subject=said.subject or subject_of(said.name, data),
        data=data,
        cause="",
    )


def _plain(payload: Any) -> dict[str, Any]:
    """As the log will give it back: only so can a repetition be known for one."""
    data: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(encode(payload)))
    return data


def _identifier(raw: Mapping[str, Any], name: str) -> str:
    return event_id(f"{raw['source']}\n{raw['id']}", name, "ingress")


def _moment(raw: Mapping[str, Any]) -> datetime:
    try:
        moment = datetime.fromisoformat(raw.get("time", ""))
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise EnvelopeError("time is missing or not of RFC 3339") from None


def _refusal(events: list[Read]) -> Answer | None:
    """All faults of all events; the gravest status."""
    faulty = [(index, one) for index, one in enumerate(events) if one.faults]
    if not faulty:
        return None
    told = [
        {"index": index, "id": one.raw.get("id", ""), "faults": list(one.faults)} for index, one in faulty
    ]
    wrong = f"{len(faulty)} of {len(events)} event(s) cannot be taken; nothing was published"
    return Answer(status=max(one.status for _, one in faulty), body={"error": wrong, "events": told})


def _error(status: int, what: str) -> Answer:
    return Answer(status=status, body={"error": what})
