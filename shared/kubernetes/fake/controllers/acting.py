"""What all controllers do: write a status, set a condition, make a pod, say an Event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from shared.kubernetes.fake.core import Core, Deletion
from shared.kubernetes.fake.failures import Failure
from shared.kubernetes.fake.objects import Object, controller_of, copied, key_of
from shared.kubernetes.kinds import EVENT, POD, Kind, Ref

FINISHED = frozenset({"Succeeded", "Failed"})


def ref(kind: Kind, obj: Object) -> Ref:
    """Of an object."""
    return Ref(kind, *key_of(obj))


def write_status(core: Core, kind: Kind, obj: Object, status: Mapping[str, Any]) -> Object:
    """Unless it is so already."""
    if status == obj.get("status"):
        return obj
    return core.replace(ref(kind, obj), {**obj, "status": dict(status)}, status=kind.status)


def conditioned(core: Core, status: Mapping[str, Any], said: Mapping[str, Any]) -> Object:
    """A status with this condition (type, status, reason, message); its time moves only when its status does."""
    conditions = list(status.get("conditions") or ())
    before = next((each for each in conditions if each["type"] == said["type"]), None)
    since = before["lastTransitionTime"] if before and before["status"] == said["status"] else core.stamp()
    now = {**said, "lastTransitionTime": since}
    conditions = [now if each is before else each for each in conditions] if before else [*conditions, now]
    return {**status, "conditions": conditions}


def owned(core: Core, kind: Kind, owner: Object) -> Sequence[Object]:
    """Those that it controls, oldest first."""
    namespace, uid = owner["metadata"].get("namespace", ""), owner["metadata"]["uid"]
    found = [obj for obj in core.list(kind, namespace) if controller_of(obj) == uid]
    return sorted(found, key=lambda obj: int(obj["metadata"].get("annotations", {}).get("fake/made", 0)))


def owner_reference(owner: Object) -> Object:
    """That makes it the controller."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def pod_of(owner: Object, template: Object, name: str) -> Object:
    """A pod that the owner controls, from its template. name: with a dash at its end it is a prefix."""
    metadata = copied(template.get("metadata") or {})
    metadata["namespace"] = owner["metadata"]["namespace"]
    metadata["generateName" if name.endswith("-") else "name"] = name
    metadata["ownerReferences"] = [owner_reference(owner)]
    metadata["annotations"] = metadata.get("annotations") or {}
    metadata["labels"] = metadata.get("labels") or {}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": copied(template["spec"])}


def make(core: Core, kind: Kind, obj: Object, owner: Object) -> bool:
    """Whether it could be made; an Event tells why not."""
    obj["metadata"].setdefault("annotations", {})["fake/made"] = str(core.revision)
    try:
        core.create(kind, obj["metadata"]["namespace"], obj)
    except Failure as failure:
        tell(core, owner, "FailedCreate", f"Error creating: {failure.message}", warning=True)
        return False
    return True


def take_away(core: Core, kind: Kind, obj: Object, grace: int | None = None) -> None:
    """Delete it, unless it is being deleted."""
    if "deletionTimestamp" not in obj["metadata"]:
        core.delete(ref(kind, obj), Deletion(grace=grace))


def active(pods: Sequence[Object]) -> list[Object]:
    """Those that have not ended, and are not about to."""
    return [pod for pod in pods if not ended(pod) and "deletionTimestamp" not in pod["metadata"]]


def ended(pod: Object) -> bool:
    """Whether all its containers have, for good."""
    return (pod.get("status") or {}).get("phase") in FINISHED


def tell(core: Core, about: Object, reason: str, message: str, *, warning: bool = False) -> None:
    """An Event; the same one again only counts."""
    metadata = about["metadata"]
    namespace = metadata.get("namespace", "default")
    name = f"{metadata['name']}.{reason.lower()}.{metadata['uid'][:8]}"
    found = core.find(Ref(EVENT, namespace, name))
    if found:
        if found["message"] != message:
            core.replace(ref(EVENT, found), {**found, "message": message, "count": found["count"] + 1})
        return
    event = {
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {
            "kind": about["kind"],
            "apiVersion": about["apiVersion"],
            "name": metadata["name"],
            "namespace": namespace,
            "uid": metadata["uid"],
        },
        "reason": reason,
        "message": message,
        "type": "Warning" if warning else "Normal",
        "count": 1,
        "firstTimestamp": core.stamp(),
        "lastTimestamp": core.stamp(),
        "source": {"component": "kuznia-fake"},
    }
    try:
        core.create(EVENT, namespace, event)
    except Failure:
        return  # its namespace is going away


def seconds_since(core: Core, stamp: str) -> float:
    """How long ago that was."""
    return (core.now() - datetime.fromisoformat(stamp)).total_seconds()


__all__ = ["POD", "active", "conditioned", "make", "owned", "pod_of", "tell", "write_status"]
