"""The rows of an evaluation set, or everything that is wrong with them. Pure but for reading the one file."""

from __future__ import annotations

from pathlib import Path

import msgspec

from shared.errors import Reject
from shared.evaluation.metrics import Row
from shared.identity import content_digest

SHOWN = 10
_FIELDS = ", ".join(field.name for field in msgspec.structs.fields(Row))


class EvaluationSet(msgspec.Struct, frozen=True, kw_only=True):
    """digest: `sha256:<hex>` of the file."""

    rows: tuple[Row, ...]
    digest: str


def read(path: Path, name: str) -> EvaluationSet:
    """The set in a `.json` (a list) or `.jsonl` file. Raises Reject with every bad row, by number."""
    try:
        content = path.read_bytes()
    except OSError:
        raise Reject(
            f"evaluation set {name} is not in the experiment's folder: commit it, or correct evaluation.set"
        ) from None
    return EvaluationSet(rows=tuple(parse(content, name)), digest=content_digest(content))


def parse(content: bytes, name: str) -> list[Row]:
    """The rows of a file's content. Raises Reject with every bad row, by number from 1."""
    items = _lines(content) if name.endswith(".jsonl") else _list(content, name)
    rows, faults = [], []
    for number, item in items:
        try:
            row = msgspec.json.decode(item, type=Row)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            faults.append(f"row {number}: {error}")
            continue
        fault = _fault(row)
        if fault:
            faults.append(f"row {number}: {fault}")
        rows.append(row)
    if faults:
        more = f"\n… and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        listed = "\n".join(faults[:SHOWN])
        raise Reject(
            f"evaluation set {name} has {len(faults)} bad row(s); fields are {_FIELDS}:\n{listed}{more}"
        )
    if not rows:
        raise Reject(f"evaluation set {name} has no rows: put in questions that training does not see")
    return rows


def _lines(content: bytes) -> list[tuple[int, bytes]]:
    return [(number, line) for number, line in enumerate(content.split(b"\n"), start=1) if line.strip()]


def _list(content: bytes, name: str) -> list[tuple[int, bytes]]:
    try:
        items = msgspec.json.decode(content, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Reject(f"evaluation set {name} is no JSON list of rows: {error}") from None
    return [(number, bytes(item)) for number, item in enumerate(items, start=1)]


def _fault(row: Row) -> str:
    if not row.instruction.strip():
        return "`instruction` is empty"
    if not row.output.strip() and not any(phrase.strip() for phrase in row.expect.split("|")):
        return "neither `output` (a reference answer) nor `expect` (a key phrase) is there to measure against"
    return ""
