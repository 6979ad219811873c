"""The file of an export: JSON Lines; a header, then every event as a structured CloudEvent, then what is beside.

A line with `specversion` is an event, as any system reads it. Each other line says in `kuznia` what it is:
`export` (the header: version, counts, digest of all that follows), `decision`, `record`, `waiting`, `dead`, `note`.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import IO, Any

import msgspec

from events.envelope import EnvelopeError, Event, from_structured_json, to_structured_json
from shared.errors import Reject
from shared.ports.bus import DeadLetter
from shared.ports.operations import Decided, Note, Snapshot, Waiting
from shared.record import Record

VERSION = 1
IN_MEMORY = 32 * 1024 * 1024
CHUNK = 1024 * 1024


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """counts: lines by what they are. digest: `sha256:<hex>` of all bytes after the header's line."""

    version: int
    at: datetime
    counts: dict[str, int]
    digest: str
    kuznia: str = "export"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery, waiting or dead, without its event's content."""

    event: str
    service: str
    attempts: int
    error: str
    at: datetime


def write(snapshot: Snapshot, target: IO[bytes], at: datetime) -> Header:
    """The whole file; the body is written aside first, because its digest stands in the header."""
    counts: Counter[str] = Counter()
    digest = hashlib.sha256()
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as body:
        for kind, line in _lines(snapshot):
            counts[kind] += 1
            digest.update(line)
            body.write(line)
        header = Header(version=VERSION, at=at, counts=dict(counts), digest=f"sha256:{digest.hexdigest()}")
        target.write(msgspec.json.encode(header) + b"\n")
        body.seek(0)
        while chunk := body.read(CHUNK):
            target.write(chunk)
    return header


def read(source: Iterable[bytes]) -> tuple[Header, Snapshot]:
    """What was written, checked against its header. Raises Reject naming line and fault."""
    lines = iter(source)
    header = _header(next(lines, b""))
    digest, counts = hashlib.sha256(), Counter[str]()
    values: dict[str, list[Any]] = {kind: [] for kind in ("event", *_TYPES)}
    for number, line in enumerate(lines, start=2):
        digest.update(line)
        kind, value = _parsed(number, line)
        counts[kind] += 1
        values[kind].append(value)
    if f"sha256:{digest.hexdigest()}" != header.digest or dict(counts) != header.counts:
        held = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "nothing"
        raise Reject(
            f"the file is not what was exported: it holds {held}, and its digest is another than its header's"
            f" ({header.counts}): it was cut off or changed; take another copy of it"
        )
    return header, _snapshot(values)


_TYPES: dict[str, Any] = {
    "decision": Decided,
    "record": Record,
    "waiting": Entry,
    "dead": Entry,
    "note": Note,
}


def _lines(snapshot: Snapshot) -> Iterator[tuple[str, bytes]]:
    for event in snapshot.events:
        yield "event", to_structured_json(event) + b"\n"
    for decided in snapshot.decisions:
        yield _line("decision", decided)
    for record in snapshot.records:
        yield _line("record", record)
    for waiting in snapshot.waiting:
        entry = Entry(
            event=waiting.event.id,
            service=waiting.service,
            attempts=waiting.attempts,
            error=waiting.error,
            at=waiting.due,
        )
        yield _line("waiting", entry)
    for letter in snapshot.dead:
        entry = Entry(
            event=letter.event.id,
            service=letter.service,
            attempts=letter.attempts,
            error=letter.cause,
            at=letter.at,
        )
        yield _line("dead", entry)
    for note in snapshot.notes:
        yield _line("note", note)


def _line(kind: str, value: Any) -> tuple[str, bytes]:
    return kind, msgspec.json.encode({"kuznia": kind, **msgspec.to_builtins(value)}) + b"\n"


def _header(line: bytes) -> Header:
    try:
        header = msgspec.json.decode(line, type=Header)
    except msgspec.DecodeError as error:
        raise Reject(f"line 1 is no header of an export of Kuźnia: {error}") from None
    if header.kuznia != "export" or header.version != VERSION:
        raise Reject(
            f"line 1: this Kuźnia reads exports of version {VERSION}, this one has {header.version}:"
            " import it with the Kuźnia that wrote it, or a newer one"
        )
    return header


def _parsed(number: int, line: bytes) -> tuple[str, Any]:
    try:
        raw = msgspec.json.decode(line, type=dict[str, Any])
        if "specversion" in raw:
            return "event", from_structured_json(line)
        kind = raw.pop("kuznia", "")
        if kind not in _TYPES:
            raise Reject(f"line {number} says neither specversion nor what else it is")
        return kind, msgspec.convert(raw, _TYPES[kind])
    except (msgspec.DecodeError, EnvelopeError) as error:
        raise Reject(f"line {number}: {error}") from None


def _snapshot(values: dict[str, list[Any]]) -> Snapshot:
    events: dict[str, Event] = {event.id: event for event in values["event"]}
    for kind in ("waiting", "dead"):
        for entry in values[kind]:
            if entry.event not in events:
                raise Reject(f"a line says {kind} of event {entry.event}, which the file does not hold")
    return Snapshot(
        events=values["event"],
        decisions=values["decision"],
        records=values["record"],
        waiting=[
            Waiting(
                event=events[e.event],
                service=e.service,
                attempts=e.attempts,
                due=e.at,
                lent=False,
                error=e.error,
            )
            for e in values["waiting"]
        ],
        dead=[
            DeadLetter(event=events[e.event], service=e.service, cause=e.error, attempts=e.attempts, at=e.at)
            for e in values["dead"]
        ],
        notes=values["note"],
    )
