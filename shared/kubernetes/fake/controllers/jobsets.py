"""JobSets: Jobs that live and die together, made again as their failure policy says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from shared.kubernetes.fake.controllers.acting import (
    conditioned,
    make,
    owned,
    owner_reference,
    ref,
    seconds_since,
    take_away,
    write_status,
)
from shared.kubernetes.fake.core import AT_EASE, Core
from shared.kubernetes.fake.objects import Object, condition, copied, find, holds
from shared.kubernetes.kinds import JOB, JOB_SET, POD

NAME = "jobset.sigs.k8s.io/jobset-name"
ATTEMPT = "jobset.sigs.k8s.io/restart-attempt"
_ROLE, _INDEX = "jobset.sigs.k8s.io/replicatedjob-name", "jobset.sigs.k8s.io/job-index"
_ENDS = ("Completed", "Failed")


class JobSets:
    """Each restart makes all Jobs anew, once the old ones and their pods are gone."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def step(self) -> None:
        """Look at each once."""
        for jobset in self._core.list(JOB_SET):
            if "deletionTimestamp" not in jobset["metadata"]:
                self._tend(jobset)

    def _tend(self, jobset: Object) -> None:
        status: Object = dict(jobset.get("status") or {})
        over = next((kind for kind in _ENDS if holds(jobset, kind)), "")
        if over:
            self._expire(jobset, over)
            return
        restarts = status.setdefault("restarts", 0)
        jobs = owned(self._core, JOB, jobset)
        for job in [job for job in jobs if _attempt(job) < restarts]:
            take_away(self._core, JOB, job)
        current = [job for job in jobs if _attempt(job) == restarts]
        failed = next((job for job in current if holds(job, "Failed")), None)
        if failed:
            status = self._failed(jobset, status, failed)
        elif current and all(holds(job, "Complete") for job in current):
            status = self._over(status, "Completed", "jobset completed successfully")
        elif not current and not self._remains(jobset):
            self._make(jobset, restarts)
        else:
            self._follow(jobset, current)
        write_status(self._core, JOB_SET, jobset, status)

    def _expire(self, jobset: Object, over: str) -> None:
        ttl, since = jobset["spec"].get("ttlSecondsAfterFinished"), condition(jobset, over)
        if ttl is not None and since and seconds_since(self._core, since["lastTransitionTime"]) >= ttl:
            self._core.delete(ref(JOB_SET, jobset), AT_EASE)

    def _remains(self, jobset: Object) -> bool:
        metadata = jobset["metadata"]
        pods = self._core.selected(POD, metadata["namespace"], f"{NAME}={metadata['name']}")
        return bool(pods or owned(self._core, JOB, jobset)) and bool(find(jobset, ("status", "restarts")))

    def _make(self, jobset: Object, restarts: int) -> None:
        for each in jobset["spec"]["replicatedJobs"]:
            for index in range(each.get("replicas", 1)):
                make(self._core, JOB, _job(jobset, each, index, restarts), jobset)

    def _follow(self, jobset: Object, jobs: Sequence[Object]) -> None:
        """Jobs wait where the JobSet does."""
        held = bool(jobset["spec"].get("suspend"))
        for job in jobs:
            if job["spec"]["suspend"] is not held:
                self._core.replace(ref(JOB, job), {**job, "spec": {**job["spec"], "suspend": held}})

    def _failed(self, jobset: Object, status: Object, job: Object) -> Object:
        why = condition(job, "Failed") or {}
        policy = jobset["spec"].get("failurePolicy") or {}
        action = next(
            (rule["action"] for rule in policy.get("rules") or () if _fits(rule, why)), "RestartJobSet"
        )
        first = f"(first failed job: {job['metadata']['name']})"
        towards = status.get("restartsCountTowardsMax", 0)
        if action == "RestartJobSet":
            if towards >= policy.get("maxRestarts", 0):
                told = f"jobset failed due to reaching max number of restarts {first}"
                return self._over(status, "Failed", told, "ReachedMaxRestarts")
            return {**status, "restarts": status["restarts"] + 1, "restartsCountTowardsMax": towards + 1}
        if action == "RestartJobSetAndIgnoreMaxRestarts":
            return {**status, "restarts": status["restarts"] + 1}
        told = f"jobset failed due to FailJobSet failure policy action {first}"
        return self._over(status, "Failed", told, "FailJobSetFailurePolicyAction")

    def _over(self, status: Object, kind: str, message: str, reason: str = "AllJobsCompleted") -> Object:
        said = {"type": kind, "status": "True", "reason": reason, "message": message}
        return {**conditioned(self._core, status, said), "terminalState": kind}


def _attempt(job: Object) -> int:
    return int(job["metadata"]["labels"][ATTEMPT])


def _fits(rule: Mapping[str, Any], why: Mapping[str, Any]) -> bool:
    reasons, patterns = rule.get("onJobFailureReasons"), rule.get("onJobFailureMessagePatterns")
    by_reason = not reasons or why.get("reason") in reasons
    return by_reason and (
        not patterns or any(re.search(pattern, why.get("message", "")) for pattern in patterns)
    )


def _job(jobset: Object, role: Object, index: int, restarts: int) -> Object:
    name = jobset["metadata"]["name"]
    own = {NAME: name, _ROLE: role["name"], _INDEX: str(index), ATTEMPT: str(restarts)}
    spec = copied(role["template"]["spec"])
    spec["suspend"] = bool(jobset["spec"].get("suspend"))
    metadata = spec["template"].setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **own}
    labels = find(role, ("template", "metadata", "labels")) or {}
    return {
        "metadata": {
            "name": f"{name}-{role['name']}-{index}",
            "namespace": jobset["metadata"]["namespace"],
            "labels": {**labels, **own},
            "ownerReferences": [owner_reference(jobset)],
        },
        "spec": spec,
    }
