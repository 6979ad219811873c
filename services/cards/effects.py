"""What a card may ask for: to be written, once, and then to be told of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from events.card_rendered import CardRendered
from shared.errors import Reject
from shared.record import Do, Record
from shared.service import Effect, Ports, Speech


def effects(ports: Ports) -> Mapping[str, Effect]:
    """`write`: the Markdown and the document, under names made of the version; then say `card-rendered`."""

    def write(do: Do, record: Record) -> Sequence[Speech]:
        card = msgspec.convert(do.arguments["card"], CardRendered)
        ports.artifacts.create(card.document, document_bytes(do.arguments["document"]))
        stored = ports.artifacts.create(card.markdown, do.arguments["markdown"].encode())
        if stored.digest != card.digest:
            raise Reject(f"{record.key}: {stored.path} holds {stored.digest}, decided was {card.digest}")
        return [Speech(card, f"models/{card.model.key}")]

    return {"write": write}


def document_bytes(document: Mapping[str, object]) -> bytes:
    """The document as indented JSON; the same document gives the same bytes."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
