"""Which version is to answer, event by event. Pure; the steps themselves are in `release`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from events.answers_judged import AnswersJudged
from events.card_rendered import CardRendered
from events.catalog import decode, encode
from events.deploy_requested import DeployRequested
from events.envelope import Event
from events.model_approved import ModelApproved
from events.model_deprecated import ModelDeprecated
from events.model_registered import ModelRegistered
from events.model_rejected import ModelRejected
from events.model_validated import ModelValidated
from events.model_wanted import ModelWanted
from events.release_due import ReleaseDue
from events.rollback_requested import RollbackRequested
from events.rollout_requested import RolloutRequested
from events.traffic_measured import TrafficMeasured
from events.workload_changed import WorkloadChanged
from services.deployment import canary, judging
from services.deployment.plan import Manner, plan_of
from services.deployment.release import US, Release
from services.deployment.sharing import facts_of
from services.deployment.versions import RUNNING, gates_open
from shared.errors import Reject, Retry
from shared.lifecycle import approval_needed
from shared.record import Record
from shared.service import Decision


def key(event: Event) -> str | None:
    """`releases/<model_id>`; of the cluster's changes only those of our own servers."""
    if event.name == "workload-changed":
        return event.data["key"] if event.data.get("service") == "deployment" else None
    model = event.data.get("model") or event.data
    return f"releases/{model['model_id']}"


def decide(record: Record, event: Event, now: datetime) -> Decision | None:
    """See the module."""
    payload = decode(event)
    if isinstance(payload, ModelRegistered):
        return _registered(record, payload, now)
    if record.revision == 0:
        raise Retry(f"{record.key}: no version has been registered yet")
    release = Release(record, record.name, now)
    handlers: dict[type, Callable[[Release, Any], bool]] = {
        ModelValidated: _validated,
        CardRendered: _card,
        ModelApproved: _approved,
        ModelRejected: _rejected,
        RollbackRequested: _rollback,
        DeployRequested: _deploy,
        RolloutRequested: canary.requested,
        ModelDeprecated: _deprecated,
        WorkloadChanged: _workload,
        TrafficMeasured: canary.measured,
        AnswersJudged: canary.judged,
        ReleaseDue: canary.due,
        ModelWanted: canary.wanted,
    }
    if not handlers[type(payload)](release, payload):
        return None
    release.proceed()
    return release.decision()


def _registered(record: Record, registered: ModelRegistered, now: datetime) -> Decision | None:
    """A new candidate. Its engine is started at once, beside the evaluation, if no person has to be waited for."""
    model, manifest = registered.model, registered.origin.manifest
    release = Release(record, model.model_id, now, model.tenant)
    if release.version(model.version) is not None:
        return None
    deployment = manifest.get("deployment", {})
    needed = approval_needed(manifest["risk_class"], deployment.get("approval", "auto"))
    facts = {
        "manifest_digest": registered.artifact.manifest_digest,
        "artifact": encode(registered.artifact),
        "base_model": registered.artifact.base_model,
        "template": registered.origin.config.get("template", "default"),
        "engine": deployment.get("engine", "llamafactory"),
        "tenant": model.tenant,
        **facts_of(registered),
        **judging.facts_of(registered),
        "plan": msgspec.to_builtins(plan_of(deployment)),
        **_size(deployment),
        "approval_needed": needed,
        "approvals": [],
    }
    release.add(model.version, facts)
    if not needed:
        release.start(model.version)
    return release.decision()


def _size(deployment: dict[str, Any]) -> dict[str, Any]:
    """How many engines of it a cluster runs, where model.yaml wants other than one."""
    size = {"replicas": deployment.get("replicas", 1), "autoscaling": deployment.get("autoscaling")}
    return {"size": size} if size != {"replicas": 1, "autoscaling": None} else {}


def _known(release: Release, version: str) -> dict[str, Any]:
    found = release.version(version)
    if found is None:
        raise Retry(f"version {version} has not been registered yet")
    return found


def _validated(release: Release, validated: ModelValidated) -> bool:
    version = _known(release, validated.model.version)
    if not validated.passed:
        release.refuse(validated.model.version, "it did not pass its validation", US)
        return True
    version["validated_digest"] = validated.artifact.manifest_digest
    _start_if_open(release, validated.model.version)
    return True


def _card(release: Release, card: CardRendered) -> bool:
    version = _known(release, card.model.version)
    if version.get("card_digest"):
        return False
    version["card_digest"] = card.digest
    _start_if_open(release, card.model.version)
    return True


def _approved(release: Release, approval: ModelApproved) -> bool:
    version = _known(release, approval.version)
    version["approvals"] = [*version["approvals"], encode(approval)]
    _start_if_open(release, approval.version)
    return True


def _start_if_open(release: Release, name: str) -> None:
    """Whichever of verdict, card and approval is heard last; a dead letter comes when it is redriven."""
    version = _known(release, name)
    if version["state"] == "candidate" and gates_open(version):
        release.start(name)


def _rejected(release: Release, rejection: ModelRejected) -> bool:
    version = _known(release, rejection.version)
    if version["state"] in ("standing", "retired") or release.live == rejection.version:
        return False  # a live version is withdrawn by deprecating it
    release.refuse(rejection.version, f"rejected: {rejection.reason}", rejection.who)
    return True


def _rollback(release: Release, request: RollbackRequested) -> bool:
    """At once, whatever the plan says; a canary ends with it, and is what is meant where no version is named."""
    reason = request.reason or f"rollback by {request.by}"
    if release.rollout is not None and not request.version:
        release.go_back("aborted", reason, request.by)
        return True
    target = request.version or release.previous
    _must_be_able(release, target, "roll back to")
    if release.live == target:
        return False
    if release.rollout is not None:
        if release.rollout.version == target:
            release.switch(target, reason, request.by)
            return True
        release.leave(reason, request.by)
    release.want(target, reason, Manner(by=request.by, at_once=True))
    release.start(target)
    return True


def _deploy(release: Release, request: DeployRequested) -> bool:
    """As its plan says, or as asked for; a version that stands by takes over at once."""
    _must_be_able(release, request.version, "deploy")
    one = release.rollout
    if release.live == request.version or (one is not None and one.version == request.version):
        return False
    stands = (release.version(request.version) or {})["state"] == "standing"
    manner = Manner(
        by=request.by,
        strategy=request.strategy or ("canary" if request.weight else ""),
        weight=request.weight,
        at_once=stands and not (request.strategy or request.weight),
    )
    release.want(request.version, request.reason or f"deployed by {request.by}", manner)
    release.start(request.version)
    return True


def _must_be_able(release: Release, target: str, do: str) -> None:
    version = release.version(target)
    if version is None:
        raise Reject(f"there is no version {target or 'before the live one'} to {do}")
    if version["state"] == "refused" or not gates_open(version):
        raise Reject(f"version {target} may not answer: it has no passed validation, card or approval")


def _deprecated(release: Release, deprecated: ModelDeprecated) -> bool:
    if deprecated.switch or deprecated.by == "deployment" or release.version(deprecated.version) is None:
        return False
    release.withdraw(deprecated.version, deprecated.reason, deprecated.by)
    return True


def _workload(release: Release, change: WorkloadChanged) -> bool:
    return canary.judge_ended(release, change) if change.kind == "job" else _server(release, change)


def _server(release: Release, change: WorkloadChanged) -> bool:
    name = release.named(change.name)
    version = release.version(name)
    if version is None:
        return False
    if change.phase == "ready" and version["state"] in RUNNING:
        return release.answers(name, change.address, change.attempt)
    if change.phase == "failed" and version["state"] == "standing":
        release.stop(name, "retired")  # nobody asks it anything: there is no way back to it any more
        return True
    if change.phase == "failed" and version.get("shared") and version["state"] in RUNNING:
        release.fall_back(name, f"{change.reason}: {change.message}")
        return True
    if change.phase == "failed" and version["state"] in RUNNING:
        release.fail(name, f"{change.reason}: {change.message}")
        return True
    return False
