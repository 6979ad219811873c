"""The garbage collector: what is owned goes with its owner, what lies in a namespace with the namespace."""

from __future__ import annotations

from collections.abc import Sequence

from shared.kubernetes.fake.controllers.acting import ref, take_away
from shared.kubernetes.fake.core import Core
from shared.kubernetes.fake.objects import Object
from shared.kubernetes.kinds import NAMESPACE, Kind

_FOREGROUND = "foregroundDeletion"


class Collector:
    """Looks at everything, but only when something was deleted."""

    def __init__(self, core: Core, kinds: Sequence[Kind]) -> None:
        self._core = core
        self._kinds = kinds
        self._looked = 0

    def step(self) -> None:
        """Take away what has no owner any more."""
        oldest = self._core.log.oldest
        since = max(self._looked, oldest)
        dead = [change for change in self._core.log.since(since) if _deadly(change.type, change.obj)]
        self._looked = self._core.revision
        if dead or oldest > since:
            self._collect()

    def _collect(self) -> None:
        objects = [(kind, obj) for kind in self._kinds for obj in self._core.list(kind)]
        living = {obj["metadata"]["uid"]: obj for _, obj in objects}
        for kind, obj in objects:
            owners = obj["metadata"].get("ownerReferences") or ()
            if owners and all(_going(living.get(owner["uid"])) for owner in owners):
                take_away(self._core, kind, obj)
        for kind, obj in objects:
            if _waits(obj) and not self._dependents(obj):
                rest = [each for each in obj["metadata"]["finalizers"] if each != _FOREGROUND]
                self._core.replace(
                    ref(kind, obj), {**obj, "metadata": {**obj["metadata"], "finalizers": rest}}
                )
        for namespace in self._core.list(NAMESPACE):
            if "deletionTimestamp" in namespace["metadata"]:
                self._empty(namespace)

    def _dependents(self, owner: Object) -> bool:
        uid = owner["metadata"]["uid"]
        return any(
            reference["uid"] == uid
            for kind in self._kinds
            for obj in self._core.list(kind, owner["metadata"].get("namespace", ""))
            for reference in obj["metadata"].get("ownerReferences") or ()
        )

    def _empty(self, namespace: Object) -> None:
        name, left = namespace["metadata"]["name"], False
        for kind in self._kinds:
            if kind.namespaced:
                for obj in self._core.list(kind, name):
                    take_away(self._core, kind, obj)
                    left = left or self._core.find(ref(kind, obj)) is not None
        if not left:
            self._core.remove(ref(NAMESPACE, namespace))


def _deadly(change: str, obj: Object) -> bool:
    return (
        change == "DELETED"
        or "deletionTimestamp" in obj["metadata"]
        or bool(obj["metadata"].get("ownerReferences"))
    )


def _going(owner: Object | None) -> bool:
    return owner is None or _waits(owner)


def _waits(obj: Object) -> bool:
    metadata = obj["metadata"]
    return "deletionTimestamp" in metadata and _FOREGROUND in (metadata.get("finalizers") or ())
