"""When a card is due: once a version is registered and has passed its validation. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from events.card_rendered import CardRendered
from events.catalog import decode, encode
from events.envelope import Event
from events.model_registered import ModelRegistered
from events.model_validated import ModelValidated
from events.parts import ModelVersion
from services.cards.facts import Facts
from services.cards.render import Rendered, render
from shared import places
from shared.errors import Reject, Retry
from shared.identity import content_digest
from shared.record import Record
from shared.service import Decision, Wish


def key(event: Event) -> str | None:
    """`cards/<model_id>@<version>`. Raises Reject where the event names no version."""
    model = event.data.get("model") or {}
    if not (model.get("model_id") and model.get("version")):
        raise Reject(f"{event.name} {event.id} names no model version: model_id and version are needed")
    return f"cards/{model['model_id']}@{model['version']}"


def decide(record: Record, event: Event, now: datetime) -> Decision | None:
    """Collect the facts; render once the validation is passed. A version that failed gets no card."""
    payload = decode(event)
    if isinstance(payload, ModelRegistered):
        return _registered(record, payload)
    assert isinstance(payload, ModelValidated)
    return _validated(record, payload, event.time)


def _registered(record: Record, registered: ModelRegistered) -> Decision | None:
    if record.revision:
        return None
    return Decision(status="COLLECTING", data={"registered": encode(registered)})


def _validated(record: Record, validated: ModelValidated, at: datetime) -> Decision | None:
    if record.revision == 0:
        raise Retry(f"{record.key}: validated, but its registration has not been heard of yet")
    if record.status == "RENDERED":
        return None
    facts = Facts(
        registered=msgspec.convert(record.data["registered"], ModelRegistered),
        validated=validated,
        validated_at=at,
    )
    _same_weights(record, facts)
    data = {**record.data, "validated": encode(validated), "validated_at": at.isoformat()}
    if not validated.passed:
        return Decision(status=record.status, data=data)
    return _rendered(data, validated, render(facts))


def _same_weights(record: Record, facts: Facts) -> None:
    registered = facts.registered.artifact.manifest_digest
    validated = facts.validated.artifact.manifest_digest
    if registered != validated:
        raise Reject(
            f"{record.key}: the validation is of other weights ({validated}) than the registered ones"
            f" ({registered}); validate the registered ones, or register the others under a new version"
        )


def _rendered(data: dict[str, Any], validated: ModelValidated, rendered: Rendered) -> Decision:
    """The card travels in the wish, so that what is written is what was decided, whatever is deployed then."""
    paths = paths_of(validated.model)
    card = CardRendered(
        model=validated.model,
        manifest_digest=validated.artifact.manifest_digest,
        digest=content_digest(rendered.markdown.encode()),
        completeness=rendered.completeness,
        missing=rendered.missing,
        **paths,
    )
    known = {
        **paths,
        "digest": card.digest,
        "completeness": card.completeness,
        "missing": list(card.missing),
    }
    wish = Wish("write", {"card": encode(card), "markdown": rendered.markdown, "document": rendered.document})
    return Decision(status="RENDERED", data={**data, **known}, wishes=(wish,))


def paths_of(model: ModelVersion) -> dict[str, str]:
    """Where the card of a version lies in the artifact store."""
    folder = places.of_card(model)
    return {"markdown": f"{folder}/card.md", "document": f"{folder}/card.json"}
