"""The registry's record of a version, event by event. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from events.card_rendered import CardRendered
from events.catalog import decode, encode
from events.checkpoint_written import CheckpointWritten
from events.deployment_failed import DeploymentFailed
from events.envelope import Event
from events.model_approved import ModelApproved
from events.model_deployed import ModelDeployed
from events.model_deprecated import ModelDeprecated
from events.model_registered import ModelRegistered
from events.model_rejected import ModelRejected
from events.model_validated import ModelValidated
from events.parts import ModelVersion, Origin
from shared.errors import Reject, Retry
from shared.lifecycle import approval_needed, approved
from shared.record import Record
from shared.service import Decision, Speech


def key(event: Event) -> str | None:
    """`models/<model_id>@<version>`; of checkpoints only the final one is registered."""
    model = event.data.get("model") or event.data
    if event.name == "checkpoint-written" and not event.data.get("final"):
        return None
    if not (model.get("model_id") and model.get("version")):
        raise Reject(f"{event.name} {event.id} names no model version: model_id and version are needed")
    return f"models/{model['model_id']}@{model['version']}"


def decide(record: Record, event: Event, now: datetime) -> Decision | None:
    """See the module."""
    payload = decode(event)
    if isinstance(payload, CheckpointWritten):
        return _trained(record, payload, now)
    if record.revision == 0:
        raise Retry(f"{record.key} is not registered yet")
    handlers: dict[type, Callable[[Record, Any, datetime], Decision | None]] = {
        ModelValidated: _validated,
        CardRendered: _card,
        ModelApproved: _approved,
        ModelRejected: _rejected,
        ModelDeployed: _deployed,
        DeploymentFailed: _deployment_failed,
        ModelDeprecated: _deprecated,
    }
    return handlers[type(payload)](record, payload, now)


def _trained(record: Record, checkpoint: CheckpointWritten, now: datetime) -> Decision | None:
    model, origin = checkpoint.model, checkpoint.origin
    if model is None or origin is None:
        raise Reject(f"the final checkpoint of {checkpoint.run_id} says neither its model nor its origin")
    if record.revision:
        _same_weights(record, checkpoint)
        return None
    registered = ModelRegistered(
        model=model,
        artifact=checkpoint.artifact,
        origin=origin,
        registered_at=now,
        metrics=checkpoint.metrics,
        runtime=checkpoint.runtime,
    )
    data = new_entry(model, origin, checkpoint)
    return Decision(status="TRAINED", data=data, says=(Speech(registered, record.key),))


def _same_weights(record: Record, checkpoint: CheckpointWritten) -> None:
    if record.data["manifest_digest"] != checkpoint.artifact.manifest_digest:
        raise Reject(
            f"{record.key} is registered with other weights, by run {record.data['run_id']};"
            f" run {checkpoint.run_id} must register under a new version"
        )


def new_entry(model: ModelVersion, origin: Origin, checkpoint: CheckpointWritten) -> dict[str, Any]:
    """The brief's fields, and the digests by which a release is guarded.

    `status`, `created_at` and `updated_at` are the record's own.
    """
    manifest, source = origin.manifest, origin.source
    approval = manifest.get("deployment", {}).get("approval", "auto")
    return {
        "model_id": model.model_id,
        "version": model.version,
        "base_model": checkpoint.artifact.base_model,
        "base_revision": checkpoint.artifact.base_revision,
        "tenant": model.tenant,
        "risk_class": manifest["risk_class"],
        "artifact_path": checkpoint.artifact.uri,
        "config_path": f"{source.repository}/{source.experiment}/config.yaml@{source.commit}",
        "data_id": manifest["data"]["id"],
        "metrics": {
            f"train_{name.removeprefix('train_')}": value for name, value in checkpoint.metrics.items()
        },
        "owner": manifest["owner"],
        "ai_act_notes": manifest.get("ai_act_notes") or "",
        "run_id": model.run_id,
        "commit": source.commit,
        "tree": source.tree,
        "manifest_digest": checkpoint.artifact.manifest_digest,
        "artifact": encode(checkpoint.artifact),
        "approval_needed": approval_needed(manifest["risk_class"], approval),
        "approvals": [],
    }


def _validated(record: Record, validated: ModelValidated, now: datetime) -> Decision | None:
    if validated.artifact.manifest_digest != record.data["manifest_digest"]:
        raise Reject(f"{record.key}: the validation is of other weights than the registered ones")
    validation = {
        "passed": validated.passed,
        "gates": [encode(gate) for gate in validated.gates],
        "baseline": validated.baseline,
        "report": validated.report,
        "report_digest": validated.report_digest,
        "at": now.isoformat(),
    }
    metrics = {**record.data["metrics"], **validated.metrics}
    data = {**record.data, "validation": validation, "metrics": metrics}
    # One that was withdrawn meanwhile stays withdrawn; but a rollback to it needs the verdict.
    passed = record.status == "TRAINED" and validated.passed
    return Decision(status="VALIDATED" if passed else record.status, data=data)


def _card(record: Record, card: CardRendered, _now: datetime) -> Decision | None:
    if record.data.get("card_digest"):
        return None
    data = {
        **record.data,
        "card_path": card.markdown,
        "card_document": card.document,
        "card_digest": card.digest,
        "card_completeness": card.completeness,
        "card_missing": list(card.missing),
    }
    return Decision(status=record.status, data=data)


def _approved(record: Record, approved: ModelApproved, now: datetime) -> Decision | None:
    _seen_as_it_is(record, approved)
    approval = {**encode(approved), "at": now.isoformat()}
    return Decision(
        status=record.status, data={**record.data, "approvals": [*record.data["approvals"], approval]}
    )


def _rejected(record: Record, rejected: ModelRejected, now: datetime) -> Decision | None:
    _seen_as_it_is(record, rejected)
    return Decision(
        status=record.status, data={**record.data, "rejection": {**encode(rejected), "at": now.isoformat()}}
    )


def _seen_as_it_is(record: Record, word: ModelApproved | ModelRejected) -> None:
    seen = (word.manifest_digest, word.card_digest)
    if seen != (record.data["manifest_digest"], record.data.get("card_digest", "")):
        raise Reject(f"{record.key}: {word.who} spoke of other weights or another card than are registered")


def _deployed(record: Record, deployed: ModelDeployed, now: datetime) -> Decision | None:
    judged, carded = record.data.get("validation", {}).get("passed"), record.data.get("card_digest")
    if not (judged and carded) or (record.data["approval_needed"] and not approved(record.data)):
        raise Retry(f"{record.key}: deployed, but its validation, card or approval has not been heard of yet")
    if _older(record, deployed):
        return None
    data = {**record.data, "release": deployed.release, "deployed_at": now.isoformat()}
    data["switch"] = deployed.switch
    data.pop("deprecation", None)
    return Decision(status="DEPLOYED", data=data)


def _deployment_failed(record: Record, failed: DeploymentFailed, now: datetime) -> Decision | None:
    failure = {"cause": failed.cause, "release": failed.release, "at": now.isoformat()}
    return Decision(status=record.status, data={**record.data, "deployment_failure": failure})


def _deprecated(record: Record, deprecated: ModelDeprecated, now: datetime) -> Decision | None:
    """Of a live version only deployment says it: it hears a person's word too, and knows what came after it."""
    asked = record.status == "DEPLOYED" and not deprecated.switch and deprecated.by != "deployment"
    if asked or _older(record, deprecated):
        return None
    data = {**record.data, "switch": max(deprecated.switch, record.data.get("switch", 0))}
    if record.status == "DEPRECATED":
        return Decision(status="DEPRECATED", data=data) if deprecated.switch else None
    return Decision(
        status="DEPRECATED", data={**data, "deprecation": {**encode(deprecated), "at": now.isoformat()}}
    )


def _older(record: Record, word: ModelDeployed | ModelDeprecated) -> bool:
    """Whether deployment has said more of this version since; a dead letter that is redriven comes late."""
    return bool(word.switch) and word.switch < record.data.get("switch", 0)
