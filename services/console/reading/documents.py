"""Cards, reports and logs: texts that lie outside the records."""

from __future__ import annotations

from typing import Literal

import msgspec

from services.console.errors import not_found
from services.console.ports import ConsolePorts
from services.console.reading.models import version_record
from services.console.reading.runs import run_record
from shared.identity import content_digest
from shared.record import Record

MEDIA_TYPES = {"md": "text/markdown", "json": "application/json"}


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A text as it lies in the store. registered: the digest that was registered, empty if none was."""

    path: str
    content: bytes
    registered: str

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of what lies there now."""
        return content_digest(self.content)

    @property
    def altered(self) -> bool:
        """Whether it is another text than the registered one."""
        return bool(self.registered) and self.registered != self.digest

    @property
    def media_type(self) -> str:
        """By the path's suffix."""
        return MEDIA_TYPES.get(self.path.rsplit(".", 1)[-1], "text/plain")


def get_card(ports: ConsolePorts, model_id: str, version: str, form: Literal["md", "json"]) -> Document:
    """A version's card. Raises ApiError (404), Retry."""
    record = version_record(ports.store, model_id, version)
    path = record.data.get("card_path" if form == "md" else "card_document")
    if not path:
        raise not_found(
            f"{model_id}@{version} has no card yet",
            where=record.key,
            mend="it is written once the version is registered and validated; look at its events",
        )
    return _document(ports, record, path, record.data["card_digest"] if form == "md" else "")


def get_report(ports: ConsolePorts, model_id: str, version: str) -> Document:
    """The readable report of a version's validation. Raises ApiError (404), Retry."""
    record = version_record(ports.store, model_id, version)
    validation = record.data.get("validation") or {}
    if not validation.get("report"):
        raise not_found(
            f"{model_id}@{version} has no evaluation report yet",
            where=record.key,
            mend="it is written once the evaluation has ended; look at its events",
        )
    return _document(ports, record, validation["report"], validation.get("report_digest", ""))


def get_logs(ports: ConsolePorts, run_id: str, tail: int) -> str:
    """The last lines of a run's output. Raises ApiError (404), Retry."""
    record = run_record(ports.store, run_id)
    job = record.data.get("job")
    if not job:
        raise not_found(
            f"run {run_id} never started, so it has no log",
            where=record.key,
            mend="its config was refused: `faults` of the run says why",
        )
    try:
        return ports.cluster.logs(job, tail)
    except FileNotFoundError:
        raise not_found(
            f"job {job} has not written anything yet", where=record.key, mend="ask again in a moment"
        ) from None


def _document(ports: ConsolePorts, record: Record, path: str, registered: str) -> Document:
    try:
        return Document(path=path, content=ports.artifacts.read(path), registered=registered)
    except FileNotFoundError:
        raise not_found(
            f"{path} is registered, but it is not in the artifact store",
            where=record.key,
            mend=f"bring back {ports.artifacts.uri(path)} from a backup",
        ) from None
