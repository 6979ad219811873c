"""The objects, and every way of changing them. No thread, no socket, no clock of its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from shared.kubernetes.fake import ownership
from shared.kubernetes.fake.admission import admit
from shared.kubernetes.fake.defaults import defaulted
from shared.kubernetes.fake.failures import Failure, absent, exists, invalid, stale
from shared.kubernetes.fake.log import Change, ChangeLog, Type
from shared.kubernetes.fake.objects import Object, copied, find, key_of
from shared.kubernetes.fake.ownership import Owners
from shared.kubernetes.fake.patches import patched
from shared.kubernetes.fake.selectors import Matcher, matcher
from shared.kubernetes.kinds import NAMESPACE, POD, Kind, Ref

_UIDS = uuid.UUID("c0de0000-0000-4000-8000-6b757a6e6961")
KEPT_CHANGES = 100_000
# What only the server writes.
_SERVERS = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
)
_FOREGROUND = "foregroundDeletion"
_FINISHED = frozenset({"Succeeded", "Failed"})


class Deletion(msgspec.Struct, frozen=True, kw_only=True):
    """What a DELETE may say. propagation: Background, Foreground or Orphan."""

    grace: int | None = None
    propagation: str = "Background"
    uid: str = ""
    revision: str = ""


AT_EASE = Deletion()


class Core:
    """Objects by kind, namespace and name. What is handed out is not to be changed by who gets it.

    now: the time. changed: called after every change. Raises Failure.
    """

    def __init__(self, now: Callable[[], datetime], *, keep_changes: int = KEPT_CHANGES) -> None:
        self.now = now
        self.revision = 0
        self.log = ChangeLog(keep_changes)
        self.changed: Callable[[], None] = lambda: None
        self._objects: dict[Kind, dict[tuple[str, str], Object]] = {}
        self._owners: dict[str, Owners] = {}
        self._made = 0

    # --- reading

    def read(self, ref: Ref) -> Object:
        """Raises Failure (404)."""
        found = self.find(ref)
        if found is None:
            raise absent(ref.kind.plural, ref.name)
        return found

    def find(self, ref: Ref) -> Object | None:
        """The object, or None."""
        return self._objects.get(ref.kind, {}).get((ref.namespace, ref.name))

    def list(self, kind: Kind, namespace: str = "", matches: Matcher | None = None) -> Sequence[Object]:
        """In order of namespace and name; all namespaces where none is given."""
        held = self._objects.get(kind, {})
        return [
            held[key]
            for key in sorted(held)
            if (not namespace or key[0] == namespace) and (matches is None or matches(held[key]))
        ]

    def as_of(self, revision: int, kind: Kind, namespace: str, matches: Matcher) -> Sequence[Object]:
        """As `list` would have said at an earlier revision. Raises Failure (410)."""
        held = dict(self._objects.get(kind, {}))
        for change in reversed([change for change in self.log.since(revision) if change.kind == kind]):
            key = key_of(change.obj)
            held.pop(key, None)
            if change.before is not None:
                held[key] = change.before
        found = (held[key] for key in sorted(held) if not namespace or key[0] == namespace)
        return [obj for obj in found if matches(obj)]

    def selected(self, kind: Kind, namespace: str, labels: str) -> Sequence[Object]:
        """Those that a label selector selects."""
        return self.list(kind, namespace, matcher(labels, ""))

    # --- writing

    def create(self, kind: Kind, namespace: str, obj: Object) -> Object:
        """A new object. Raises Failure: 404 (its namespace), 409 (it is there), 422."""
        made = self._new(kind, namespace, obj)
        ref = Ref(kind, made["metadata"].get("namespace", ""), made["metadata"]["name"])
        if self.find(ref):
            raise exists(kind.plural, ref.name)
        made = defaulted(made)
        admit(made, None)
        return self._store("ADDED", ref, made, None)

    def replace(self, ref: Ref, obj: Object, *, status: bool = False, manager: str = "") -> Object:
        """Write it whole, or its status only. Raises Failure: 404, 409 (it was changed meanwhile), 422."""
        before = self.read(ref)
        asked = find(obj, ("metadata", "resourceVersion"))
        if asked and asked != before["metadata"]["resourceVersion"]:
            raise stale(ref.kind.plural, ref.name)
        return self._change(ref, before, obj, status=status, manager=manager)

    def patch(
        self, ref: Ref, body: Any, content_type: str, *, status: bool = False, manager: str = ""
    ) -> Object:
        """Change a part of it. Raises Failure: 404, 409 (a resourceVersion in the patch is old), 415, 422."""
        before = self.read(ref)
        result = patched(before, body, content_type)
        asked = find(result, ("metadata", "resourceVersion"))
        if asked != before["metadata"]["resourceVersion"]:
            raise stale(ref.kind.plural, ref.name)
        return self._change(ref, before, result, status=status, manager=manager)

    def apply(self, ref: Ref, body: Object, manager: str, *, force: bool, status: bool = False) -> Object:
        """Server-side apply; makes what is not there. Raises Failure: 409 (conflicts), 422."""
        before = self.find(ref)
        owners = self._owners.get(before["metadata"]["uid"], {}) if before else {}
        said = ownership.said_by(body)
        result = ownership.applied(before, body, owners, manager, force=force)
        if before is None:
            made = self.create(ref.kind, ref.namespace, result)
        else:
            made = self._change(ref, before, result, status=status, manager="")
        self._owners[made["metadata"]["uid"]] = ownership.owning(owners, before, made, manager, said)
        return made

    def delete(self, ref: Ref, how: Deletion = AT_EASE) -> Object:
        """Take it away, or mark it as to be taken away. Raises Failure: 404, 409 (preconditions)."""
        live = self.read(ref)
        metadata = live["metadata"]
        if how.uid not in ("", metadata["uid"]) or how.revision not in ("", metadata["resourceVersion"]):
            raise Failure(409, f"Precondition failed: {ref} is another one than was to be deleted")
        if how.propagation == "Orphan":
            self._orphan(metadata["uid"])
        finalizers = list(metadata.get("finalizers") or ())
        if how.propagation == "Foreground" and _FOREGROUND not in finalizers:
            finalizers.append(_FOREGROUND)
        grace = _grace(ref.kind, live, how)
        if not finalizers and not grace:
            return self.remove(ref)
        return self._mark(ref, live, grace, finalizers)

    def remove(self, ref: Ref) -> Object:
        """Take it away at once."""
        live = self._objects[ref.kind].pop((ref.namespace, ref.name))
        self._owners.pop(live["metadata"]["uid"], None)
        return self._log("DELETED", ref.kind, copied(live), live)

    def said(self, obj: Object) -> Owners:
        """Who owns which fields of it by server-side apply."""
        return self._owners.get(obj["metadata"]["uid"], {})

    # --- within

    def _new(self, kind: Kind, namespace: str, obj: Object) -> Object:
        made: Object = copied(obj)
        metadata = made.setdefault("metadata", {})
        if metadata.get("resourceVersion"):
            raise Failure(400, "resourceVersion should not be set on objects to be created")
        if kind.namespaced:
            namespace = namespace or metadata.get("namespace") or "default"
            if metadata.setdefault("namespace", namespace) != namespace:
                raise Failure(
                    400, f"the namespace of the object, {metadata['namespace']}, is not {namespace}"
                )
            self._require_namespace(namespace)
        self._made += 1
        if not metadata.get("name"):
            prefix = metadata.get("generateName")
            if not prefix:
                raise invalid(
                    kind.kind, "", ["metadata.name: Required value: name or generateName is required"]
                )
            metadata["name"] = prefix + uuid.uuid5(_UIDS, f"name {self._made}").hex[:5]
        metadata.update(
            uid=str(uuid.uuid5(_UIDS, str(self._made))), creationTimestamp=self.stamp(), generation=1
        )
        made.update(apiVersion=kind.api_version, kind=kind.kind)
        return made

    def _require_namespace(self, name: str) -> None:
        found = self.find(Ref(NAMESPACE, "", name))
        if found is None:
            raise absent("namespaces", name)
        if found["metadata"].get("deletionTimestamp"):
            message = f"unable to create new content in namespace {name} because it is being terminated"
            raise Failure(403, message)

    def _change(self, ref: Ref, before: Object, wanted: Object, *, status: bool, manager: str) -> Object:
        old = before["metadata"]
        if find(wanted, ("metadata", "uid")) not in (None, old["uid"]):
            raise Failure(409, f"Precondition failed: UID in precondition: {wanted['metadata']['uid']}")
        if status:
            result = {**before, "status": copied(wanted.get("status") or {})}
        else:
            result = copied(wanted)
            if ref.kind.status:
                result["status"] = before.get("status") or {}
        metadata = {
            key: value for key, value in (result.get("metadata") or {}).items() if key != "managedFields"
        }
        metadata.update({name: old[name] for name in _SERVERS if name in old})
        result = defaulted(
            {**result, "apiVersion": before["apiVersion"], "kind": before["kind"], "metadata": metadata}
        )
        if result == before:
            return before
        admit(result, before)
        if result.get("spec") != before.get("spec"):
            result["metadata"]["generation"] = old["generation"] + 1
        stored = self._store("MODIFIED", ref, result, before)
        if manager and old["uid"] in self._owners:
            self._owners[old["uid"]] = ownership.written(self._owners[old["uid"]], before, stored, manager)
        return self._settled(ref, stored)

    def _mark(self, ref: Ref, live: Object, grace: int, finalizers: Sequence[str]) -> Object:
        """With the time of its deletion, which can only be brought forward."""
        before = live["metadata"]
        if "deletionTimestamp" in before and grace >= before.get("deletionGracePeriodSeconds", 0):
            return live
        metadata = {
            **before,
            "deletionTimestamp": stamp(self.now() + timedelta(seconds=grace)),
            "deletionGracePeriodSeconds": grace,
        }
        if finalizers:
            metadata["finalizers"] = list(finalizers)
        return self._store("MODIFIED", ref, {**live, "metadata": metadata}, live)

    def _settled(self, ref: Ref, obj: Object) -> Object:
        metadata = obj["metadata"]
        if "deletionTimestamp" in metadata and not metadata.get("finalizers") and not _lingers(ref.kind, obj):
            return self.remove(ref)
        return obj

    def _orphan(self, uid: str) -> None:
        for kind, held in self._objects.items():
            for (namespace, name), obj in list(held.items()):
                owners = obj["metadata"].get("ownerReferences") or ()
                rest = [owner for owner in owners if owner["uid"] != uid]
                if len(rest) != len(owners):
                    metadata = {**obj["metadata"], "ownerReferences": rest}
                    self._store("MODIFIED", Ref(kind, namespace, name), {**obj, "metadata": metadata}, obj)

    def _store(self, change: Type, ref: Ref, obj: Object, before: Object | None) -> Object:
        self._objects.setdefault(ref.kind, {})[(ref.namespace, ref.name)] = obj
        return self._log(change, ref.kind, obj, before)

    def _log(self, change: Type, kind: Kind, obj: Object, before: Object | None) -> Object:
        self.revision += 1
        obj["metadata"] = {**obj["metadata"], "resourceVersion": str(self.revision)}
        self.log.add(Change(self.revision, kind, change, obj, before))
        self.changed()
        return obj

    def stamp(self) -> str:
        """Now, as objects tell the time."""
        return stamp(self.now())


def stamp(at: datetime) -> str:
    """Whole seconds, UTC, as Kubernetes writes them."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _lingers(kind: Kind, obj: Object) -> bool:
    """A pod whose containers have their grace; its kubelet takes it away."""
    return kind == POD and obj["metadata"].get("deletionGracePeriodSeconds", 0) > 0


def _grace(kind: Kind, live: Object, how: Deletion) -> int:
    if kind != POD or not find(live, ("spec", "nodeName")) or find(live, ("status", "phase")) in _FINISHED:
        return 0
    if how.grace is not None:
        return how.grace
    return int(live["spec"].get("terminationGracePeriodSeconds", 30))
