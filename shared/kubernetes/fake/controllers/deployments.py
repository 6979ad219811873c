"""Deployments: so many pods of the newest template, the older ones going as the newer become ready."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from shared.kubernetes.fake.controllers.acting import (
    active,
    conditioned,
    ended,
    make,
    owned,
    pod_of,
    seconds_since,
    take_away,
    write_status,
)
from shared.kubernetes.fake.core import Core
from shared.kubernetes.fake.objects import Object, condition, holds
from shared.kubernetes.kinds import DEPLOYMENT, POD

HASH = "pod-template-hash"


class Deployments:
    """Without ReplicaSets: the pods are the Deployment's own."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def step(self) -> None:
        """Look at each once."""
        for deployment in self._core.list(DEPLOYMENT):
            if "deletionTimestamp" not in deployment["metadata"]:
                self._tend(deployment)

    def _tend(self, deployment: Object) -> None:
        spec, digest = deployment["spec"], _digest(deployment["spec"]["template"])
        pods = owned(self._core, POD, deployment)
        for pod in pods:
            if ended(pod):
                take_away(self._core, POD, pod, grace=0)
        new, old = _split(active(pods), digest)
        recreate = spec["strategy"].get("type") == "Recreate"
        ready = sum(holds(pod, "Ready") for pod in new)
        for pod in old[: len(old) if recreate else max(0, len(old) + ready - spec["replicas"])]:
            take_away(self._core, POD, pod)
        if not (recreate and any(not ended(pod) for pod in pods if _hash(pod) != digest)):
            self._scale(deployment, digest, new)
        self._tell(deployment, digest)

    def _scale(self, deployment: Object, digest: str, new: Sequence[Object]) -> None:
        wanted, name = deployment["spec"]["replicas"], deployment["metadata"]["name"]
        for _ in range(wanted - len(new)):
            pod = pod_of(deployment, deployment["spec"]["template"], f"{name}-{digest}-")
            pod["metadata"]["labels"][HASH] = digest
            make(self._core, POD, pod, deployment)
        unready_first = sorted(new, key=lambda pod: holds(pod, "Ready"))
        for pod in unready_first[: max(0, len(new) - wanted)]:
            take_away(self._core, POD, pod)

    def _tell(self, deployment: Object, digest: str) -> None:
        wanted = deployment["spec"]["replicas"]
        pods = active(owned(self._core, POD, deployment))
        new, _ = _split(pods, digest)
        ready = [pod for pod in pods if holds(pod, "Ready")]
        new_ready = [pod for pod in new if holds(pod, "Ready")]
        status = {
            **deployment["status"],
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": len(pods),
            "updatedReplicas": len(new),
            "readyReplicas": len(ready),
            "availableReplicas": len(ready),
            "unavailableReplicas": max(0, wanted - len(ready)),
        }
        available = len(ready) >= wanted
        said = {
            "type": "Available",
            "status": "True" if available else "False",
            "reason": "MinimumReplicasAvailable" if available else "MinimumReplicasUnavailable",
            "message": f"Deployment has {'' if available else 'not '}minimum availability.",
        }
        status = conditioned(self._core, status, said)
        complete = len(new_ready) == len(new) == len(pods) == wanted
        write_status(
            self._core, DEPLOYMENT, deployment, self._progress(deployment, status, complete=complete)
        )

    def _progress(self, deployment: Object, status: Object, *, complete: bool) -> Object:
        name = deployment["metadata"]["name"]
        before = condition(deployment, "Progressing")
        moved = before is None or any(
            deployment["status"].get(field) != status[field]
            for field in ("updatedReplicas", "readyReplicas", "observedGeneration")
        )
        since = self._core.stamp() if moved or before is None else before["lastUpdateTime"]
        said = {"type": "Progressing", "status": "True", "lastUpdateTime": since}
        late = seconds_since(self._core, since) >= deployment["spec"]["progressDeadlineSeconds"]
        if complete:
            said |= {
                "reason": "NewReplicaSetAvailable",
                "message": f'Deployment "{name}" has successfully progressed.',
            }
        elif late:
            said |= {"status": "False", "reason": "ProgressDeadlineExceeded"}
            said |= {"message": f'Deployment "{name}" has timed out progressing.'}
        else:
            said |= {"reason": "ReplicaSetUpdated", "message": f'Deployment "{name}" is progressing.'}
        return conditioned(self._core, status, said)


def _digest(template: Object) -> str:
    return hashlib.sha256(msgspec.json.encode(template, order="deterministic")).hexdigest()[:10]


def _hash(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get(HASH, ""))


def _split(pods: Sequence[Object], digest: str) -> tuple[list[Object], list[Object]]:
    return [pod for pod in pods if _hash(pod) == digest], [pod for pod in pods if _hash(pod) != digest]
