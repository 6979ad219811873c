"""The registry on Firestore: a document a record, written only by compare-and-set on its update time.

No transactions: under contention they wait for each other, where a lost comparison is simply decided again.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from google.cloud import firestore
from google.cloud.firestore_v1.query import Query as FirestoreQuery

from shared.errors import Conflict, Reject, Retry
from shared.google import queries
from shared.google.errors import reading, writing
from shared.google.watch import Changes
from shared.lifecycle import guard
from shared.record import Record

RPC_SECONDS = 20.0
LARGEST = 1_000_000  # bytes of a body; Firestore takes 1 MiB, names and indexed fields included
REMEMBERED = 512
_decode = msgspec.json.Decoder(Record).decode
_encode = msgspec.json.Encoder().encode


class _Seen(msgspec.Struct, frozen=True):
    """A record as it was read or written last: its body, and when Firestore says it was written."""

    body: str
    revision: int
    update_time: Any


class FirestoreStore:
    """See `shared.ports.store.Store`. One RPC a read; one a commit of what was just read or written here."""

    def __init__(self, client: firestore.Client) -> None:
        self._client = client
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._lock = threading.Lock()
        self._changes = Changes(queries.changed(client))
        self._decided = itertools.count()
        self._closed = False

    def load(self, key: str) -> Record:
        """See `Store.load`."""
        seen = self._read(key)
        return _decode(seen.body) if seen else Record(key=key)

    def commit(self, record: Record) -> Record:
        """See `Store.commit`. Raises Unknown where the answer never came, Reject where it is too large."""
        self._require_open()
        written = msgspec.structs.replace(record, revision=record.revision + 1)
        body = _encode(written).decode()
        seen = self._current(record)
        self._guard(_decode(seen.body) if seen else Record(key=record.key), record)
        update_time = self._write(written, body, seen)
        self._remember(record.key, _Seen(body, written.revision, update_time))
        return written

    def commit_all(self, records: Sequence[Record]) -> None:
        """One after another, passing over those that are committed already: who was cut off begins again."""
        for record in records:
            try:
                self.commit(record)
            except Conflict:
                if self.load(record.key).revision <= record.revision:
                    raise

    def list(
        self, kind: str, *, status: str = "", prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[Record]:
        """See `Store.list`."""
        return self._found(queries.records(self._client, f"{kind}/{prefix}", after, status, limit))

    def owing(self, *, before: datetime, limit: int = 100) -> Sequence[Record]:
        """See `Store.owing`."""
        return self._found(queries.owing(self._client, before, limit))

    def version(self) -> int:
        """Changes whenever something was committed, by whomever: a cheap question before a reload."""
        self._require_open()
        return self._changes.count()

    def close(self) -> None:
        """Answer no more; the client is closed by who made it."""
        self._closed = True
        self._changes.close()

    def _found(self, query: FirestoreQuery) -> Sequence[Record]:
        self._require_open()
        with reading("records"):
            snapshots = query.get(timeout=RPC_SECONDS)
        return [_decode(snapshot.get("body")) for snapshot in snapshots]

    def _read(self, key: str) -> _Seen | None:
        self._require_open()
        with reading(key):
            snapshot = self._document(key).get(timeout=RPC_SECONDS)
        if not snapshot.exists:
            self._forget(key)
            return None
        seen = _Seen(snapshot.get("body"), snapshot.get("revision"), snapshot.update_time)
        self._remember(key, seen)
        return seen

    def _current(self, record: Record) -> _Seen | None:
        """What is stored, if that is what this record goes on from; None for a new one. Raises Conflict."""
        if record.revision == 0:
            return None
        with self._lock:
            seen = self._seen.get(record.key)
        if seen is None or seen.revision != record.revision:
            seen = self._read(record.key)
        found = seen.revision if seen else 0
        if seen is None or found != record.revision:
            raise _conflict(record, found)
        return seen

    def _guard(self, old: Record, new: Record) -> None:
        """Raises Reject; but Conflict where `old` is not what is stored any more."""
        try:
            guard(old, new)
        except Reject:
            stored = self._read(new.key)
            if (stored.revision if stored else 0) != new.revision:
                raise _conflict(new, stored.revision if stored else 0) from None
            raise

    def _write(self, written: Record, body: str, seen: _Seen | None) -> Any:
        """The record, and that it decided an event, in one; when Firestore says that it was written."""
        batch, document, fields = self._client.batch(), self._document(written.key), _fields(written, body)
        if seen is None:
            batch.create(document, fields)
        else:
            batch.update(
                document, fields, option=self._client.write_option(last_update_time=seen.update_time)
            )
        if written.inbox and written.inbox[-1:] != (_decode(seen.body).inbox[-1:] if seen else ()):
            batch.set(*self._decision(written))
        try:
            with writing(f"{written.key} revision {written.revision}"):
                return batch.commit(timeout=RPC_SECONDS)[0].update_time
        except Conflict:
            stored = self._read(written.key)
            raise _conflict(written, stored.revision if stored else 0, asked=written.revision - 1) from None

    def _decision(self, written: Record) -> tuple[firestore.DocumentReference, dict[str, Any]]:
        event = written.inbox[-1]
        name = hashlib.sha256(f"{event}\n{written.key}".encode()).hexdigest()[:40]
        fields = {
            "event": event,
            "key": written.key,
            "when": written.updated_at.astimezone(UTC).isoformat() if written.updated_at else "",
            "at": firestore.SERVER_TIMESTAMP,
            "slot": next(self._decided) % queries.SLOTS,
        }
        return self._client.document(f"{queries.DECISIONS}/{name}"), fields

    def _document(self, key: str) -> firestore.DocumentReference:
        return self._client.collection(queries.RECORDS).document(_name(key))

    def _remember(self, key: str, seen: _Seen) -> None:
        with self._lock:
            self._seen[key] = seen
            self._seen.move_to_end(key)
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)

    def _forget(self, key: str) -> None:
        with self._lock:
            self._seen.pop(key, None)

    def _require_open(self) -> None:
        if self._closed:
            raise Retry("the registry on Firestore is closed")


def _name(key: str) -> str:
    """A key as the name of a document, which has no slashes."""
    return key.replace("%", "%25").replace("/", "%2F")


def _conflict(record: Record, found: int, asked: int | None = None) -> Conflict:
    expected = record.revision if asked is None else asked
    return Conflict(f"{record.key}: revision is {found}, not {expected}")


def _fields(record: Record, body: str) -> dict[str, Any]:
    """What is searched by, beside the body. Raises Reject where the body does not fit a document."""
    size = len(body.encode())
    if size > LARGEST:
        parts = {name: len(_encode(getattr(record, name))) for name in ("data", "inbox", "outbox")}
        told = ", ".join(f"{name} {part} bytes" for name, part in parts.items())
        raise Reject(
            f"{record.key} has {size} bytes ({told}), and a document of Firestore takes {LARGEST}:"
            " keep what is large as an artifact, and its path in the record"
        )
    owes = bool(record.outbox) and record.dead is None
    return {
        "key": record.key,
        "kind": record.kind,
        "revision": record.revision,
        "status": record.status,
        "owes_since": (record.updated_at or queries.LONG_AGO) if owes else None,
        "changed": firestore.SERVER_TIMESTAMP,
        "body": body,
    }
