"""The operators' part on Firestore. See `shared.ports.operations`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from google.cloud import firestore
from google.cloud.firestore_v1.base_document import DocumentSnapshot
from google.cloud.firestore_v1.query import Query as FirestoreQuery

from events.envelope import Event
from shared.errors import Conflict
from shared.google import documents, queries
from shared.google.errors import reading, repeating
from shared.google.portions import CHUNK, portions
from shared.ports.operations import Decided, Note, Snapshot, Waiting
from shared.record import Record

RPC_SECONDS = 60.0
_record = msgspec.json.Decoder(Record).decode
_note = msgspec.json.Decoder(Note).decode
_encode = msgspec.json.Encoder().encode
Publish = Callable[[Sequence[Event]], None]


class FirestoreOperations:
    """Beside bus and store, over the same project. publish: carries events again, without logging them."""

    def __init__(self, client: firestore.Client, publish: Publish) -> None:
        self._client = client
        self._publish = publish

    def find(self, prefix: str, limit: int = 20) -> Sequence[str]:
        """See `Operations.find`."""
        return [
            snapshot.get("id") for snapshot in self._found(queries.events_from(self._client, prefix, limit))
        ]

    def waiting(self, limit: int = 1000) -> Sequence[Waiting]:
        """See `Operations.waiting`."""
        return [_waiting(snapshot) for snapshot in self._found(queries.waiting(self._client, limit))]

    def decisions(self, *, event: str = "", key: str = "") -> Sequence[Decided]:
        """See `Operations.decisions`."""
        return [_decided(snapshot) for snapshot in self._found(queries.decisions(self._client, event, key))]

    def unparented(self, limit: int = 100) -> Sequence[tuple[str, str]]:
        """See `Operations.unparented`. Reads the whole log: Firestore does not join."""
        causes = {found.get("id"): found.get("cause") for found in self._found(queries.causes(self._client))}
        orphans = [(event, cause) for event, cause in causes.items() if cause and cause not in causes]
        return orphans[:limit]

    def redeliver(self, event_id: str, service: str, after: float = 0) -> bool:
        """See `Operations.redeliver`."""
        found = self._found(queries.event(self._client, event_id))
        if not found:
            return False
        event = documents.decode(found[0].get("body"))
        due = datetime.now(UTC) + timedelta(seconds=after)
        fields = documents.delivery_fields(service, event, due) | self._places([event])[event.id]
        batch = self._client.batch()
        batch.delete(self._client.document(documents.dead_path(service, event)))
        batch.create(self._client.document(documents.delivery_path(service, event)), fields)
        try:
            self._commit(batch)
        except Conflict:
            return False
        self._publish([event])
        return True

    def discard(self, event_id: str, service: str) -> bool:
        """See `Operations.discard`."""
        dead = self._found(queries.dead_of(self._client, service, event_id))
        self._remove([found.reference for found in dead])
        return bool(dead)

    def note(self, note: Note) -> None:
        """See `Operations.note`."""
        self._add({_note_path(note): _note_fields(note)})

    def notes(self, action: str = "") -> Sequence[Note]:
        """See `Operations.notes`."""
        found = [_note(snapshot.get("body")) for snapshot in self._found(queries.notes(self._client))]
        return [note for note in found if action in ("", note.action)]

    def forget(self, event_ids: Sequence[str]) -> None:
        """See `Operations.forget`."""
        gone = [
            found.reference
            for event_id in event_ids
            for query in (
                queries.event(self._client, event_id),
                queries.decisions(self._client, event_id, ""),
            )
            for found in self._found(query)
        ]
        self._remove(gone)

    def snapshot(self) -> Snapshot:
        """See `Operations.snapshot`. Read in one read-only transaction, so at one moment."""
        moment = self._client.transaction(read_only=True)
        with reading("everything"):
            moment._begin()  # noqa: SLF001 - the client offers no other way to read several queries at one moment
            everything = queries.everything(self._client).items()
            read = {name: list(query.stream(transaction=moment)) for name, query in everything}
        return Snapshot(
            events=[documents.decode(found.get("body")) for found in read[queries.EVENTS]],
            decisions=[_decided(found) for found in read[queries.DECISIONS]],
            records=[_record(found.get("body")) for found in read[queries.RECORDS]],
            waiting=[_waiting(found) for found in read[queries.DELIVERIES]],
            dead=[documents.letter(found) for found in read[queries.DEAD]],
            notes=[_note(found.get("body")) for found in read[queries.NOTES]],
        )

    def take(self, snapshot: Snapshot) -> None:
        """See `Operations.take`; but in commits of a few dozen: one that was cut off is to be repeated."""
        logged = {documents.event_path(event): event for event in snapshot.events}
        self._add({path: documents.event_fields(event) | _NOW for path, event in logged.items()})
        places = self._places([w.event for w in snapshot.waiting] + [d.event for d in snapshot.dead])
        fresh: dict[str, documents.Fields] = {}
        for wait in snapshot.waiting:
            fields = documents.delivery_fields(wait.service, wait.event, datetime.now(UTC)) | {
                "error": wait.error
            }
            fresh[documents.delivery_path(wait.service, wait.event)] = fields | places.get(wait.event.id, {})
        for dead in snapshot.dead:
            fresh[documents.dead_path(dead.service, dead.event)] = {
                **documents.letter_fields(dead),
                **places.get(dead.event.id, {}),
            }
        self._add({path: fields for path, fields in fresh.items() if "slot" in fields})
        self._add({_note_path(note): _note_fields(note) for note in snapshot.notes})
        self._publish([wait.event for wait in snapshot.waiting])

    def _places(self, events: Sequence[Event]) -> dict[str, documents.Fields]:
        """Id of the event -> its place in the log, where it is there."""
        found = self._get([documents.event_path(event) for event in events])
        return {one.get("id"): {"at": one.get("at"), "slot": one.get("slot")} for one in found if one.exists}

    def _add(self, wanted: Mapping[str, documents.Fields]) -> None:
        """Create what is not there yet."""
        known = {found.reference.path for found in self._get(list(wanted)) if found.exists}
        missing = [
            ((path, fields), (1, len(fields["body"]) + documents.OVERHEAD))
            for path, fields in wanted.items()
            if path not in known
        ]
        for portion in portions(missing):
            batch = self._client.batch()
            for slot, (path, fields) in enumerate(portion):
                batch.create(self._client.document(path), {"slot": slot, **fields})
            self._commit(batch)

    def _remove(self, references: Sequence[firestore.DocumentReference]) -> None:
        for start in range(0, len(references), CHUNK):
            batch = self._client.batch()
            for reference in references[start : start + CHUNK]:
                batch.delete(reference)
            self._commit(batch)

    def _get(self, paths: Sequence[str]) -> Sequence[DocumentSnapshot]:
        with reading("documents"):
            chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
            return [
                found
                for chunk in chunks
                for found in self._client.get_all(map(self._client.document, chunk), timeout=RPC_SECONDS)
            ]

    def _commit(self, batch: firestore.WriteBatch) -> None:
        with repeating("operations"):
            batch.commit(timeout=RPC_SECONDS)

    def _found(self, query: FirestoreQuery) -> Sequence[DocumentSnapshot]:
        with reading("operations"):
            return list(query.get(timeout=RPC_SECONDS))


_NOW: documents.Fields = {"at": firestore.SERVER_TIMESTAMP}


def _note_path(note: Note) -> str:
    return f"{queries.NOTES}/{hashlib.sha256(_encode(note)).hexdigest()[:40]}"


def _note_fields(note: Note) -> documents.Fields:
    return {"at": note.at, "action": note.action, "body": _encode(note).decode()}


def _decided(found: DocumentSnapshot) -> Decided:
    position = queries.position(found.get("at"), found.get("slot"))
    when = datetime.fromisoformat(found.get("when"))
    return Decided(position=position, event=found.get("event"), key=found.get("key"), at=when)


def _waiting(found: DocumentSnapshot) -> Waiting:
    return Waiting(
        event=documents.decode(found.get("body")),
        service=found.get("service"),
        attempts=found.get("attempts"),
        due=datetime.fromisoformat(found.get("due").isoformat()),
        lent=found.get("lent"),
        error=found.get("error"),
    )
