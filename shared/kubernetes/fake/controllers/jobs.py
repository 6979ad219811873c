"""Jobs: pods until so many have succeeded, or one has failed too often, or in a way that fails the Job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shared.kubernetes.fake.controllers.acting import (
    active,
    conditioned,
    ended,
    make,
    owned,
    pod_of,
    ref,
    seconds_since,
    take_away,
    tell,
    write_status,
)
from shared.kubernetes.fake.core import AT_EASE, Core
from shared.kubernetes.fake.objects import Object, condition, controller_of, find, holds
from shared.kubernetes.kinds import JOB, POD

TRACKING = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"
_LONGEST_BACKOFF = 360.0


class Jobs:
    """backoff: seconds before the pod after the first failure; it doubles (Kubernetes: 10)."""

    def __init__(self, core: Core, backoff: float) -> None:
        self._core = core
        self._backoff = backoff

    def step(self) -> None:
        """Look at each once."""
        living = [job for job in self._core.list(JOB) if "deletionTimestamp" not in job["metadata"]]
        for job in living:
            self._tend(job)
        uids = {job["metadata"]["uid"] for job in living}
        for pod in self._core.list(POD):
            if "deletionTimestamp" in pod["metadata"] and controller_of(pod) not in uids:
                self._release(pod)

    def _tend(self, job: Object) -> None:
        over = _over(job)
        if over:
            self._expire(job, over)
            return
        pods = owned(self._core, POD, job)
        status: Object = dict(job["status"])
        for pod in pods:
            status = self._count(job, status, pod)
        held = job["spec"]["suspend"]
        status = self._suspended(status, pods) if held else self._running(job, status, pods)
        self._told(write_status(self._core, JOB, job, status))

    def _expire(self, job: Object, over: Object) -> None:
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        if ttl is not None and seconds_since(self._core, over["lastTransitionTime"]) >= ttl:
            self._core.delete(ref(JOB, job), AT_EASE)

    def _suspended(self, status: Object, pods: Sequence[Object]) -> Object:
        for pod in active(pods):
            take_away(self._core, POD, pod)
        status = {key: value for key, value in status.items() if key != "startTime"} | {"active": 0}
        said = {"type": "Suspended", "status": "True", "reason": "JobSuspended", "message": "Job suspended"}
        return conditioned(self._core, status, said)

    def _running(self, job: Object, status: Object, pods: Sequence[Object]) -> Object:
        core, spec = self._core, job["spec"]
        if any(each["type"] == "Suspended" for each in status.get("conditions") or ()):
            said = {"type": "Suspended", "status": "False", "reason": "JobResumed", "message": "Job resumed"}
            status = conditioned(core, status, said)
        status.setdefault("startTime", core.stamp())
        limit = spec.get("activeDeadlineSeconds")
        if limit is not None and seconds_since(core, status["startTime"]) >= limit:
            message = "Job was active longer than specified deadline"
            status = self._aim(status, "FailureTarget", "DeadlineExceeded", message)
        if status.get("succeeded", 0) >= spec["completions"]:
            status = self._aim(
                status,
                "SuccessCriteriaMet",
                "CompletionsReached",
                "Reached expected number of succeeded pods",
            )
        elif not _aimed(status) and status.get("failed", 0) > spec["backoffLimit"]:
            status = self._aim(
                status, "FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
            )
        if _aimed(status):
            return self._end(status, pods)
        self._make_pods(job, status, pods)
        now = owned(core, POD, job)
        ready = sum(holds(pod, "Ready") for pod in active(now))
        return {**status, "active": len(active(now)), "ready": ready, "terminating": _terminating(now)}

    def _count(self, job: Object, status: Object, pod: Object) -> Object:
        """Once a pod: its finalizer says that it was not yet counted."""
        finalizers = pod["metadata"].get("finalizers") or []
        if TRACKING not in finalizers or not ended(pod):
            return status
        index = pod["metadata"]["annotations"].get(INDEX)
        status = dict(status)
        if pod["status"]["phase"] == "Succeeded":
            status["succeeded"] = status.get("succeeded", 0) + 1
            if index is not None:
                status["completedIndexes"] = _with_index(status.get("completedIndexes", ""), index)
        else:
            status = self._count_failure(job, status, pod)
        self._release(pod)
        return status

    def _release(self, pod: Object) -> None:
        """Nobody has to count it any more."""
        finalizers = pod["metadata"].get("finalizers") or []
        if TRACKING in finalizers:
            rest = [each for each in finalizers if each != TRACKING]
            self._core.replace(ref(POD, pod), {**pod, "metadata": {**pod["metadata"], "finalizers": rest}})

    def _count_failure(self, job: Object, status: Object, pod: Object) -> Object:
        action, why = _action(job, pod)
        annotations = pod["metadata"]["annotations"]
        index = annotations.get(INDEX)
        if action != "Ignore":
            status["failed"] = status.get("failed", 0) + 1
        if action == "FailJob":
            return self._aim(status, "FailureTarget", "PodFailurePolicy", why)
        limit = job["spec"].get("backoffLimitPerIndex")
        failures = int(annotations.get(FAILURES, 0)) + (action == "Count")
        if index is not None and limit is not None and (action == "FailIndex" or failures > limit):
            status["failedIndexes"] = _with_index(status.get("failedIndexes", ""), index)
            return self._aim(status, "FailureTarget", "FailedIndexes", "Job has failed indexes")
        return status

    def _make_pods(self, job: Object, status: Object, pods: Sequence[Object]) -> None:
        spec = job["spec"]
        living = [pod for pod in pods if not ended(pod)]
        wanted = min(spec["parallelism"], spec["completions"] - status.get("succeeded", 0)) - len(living)
        if wanted <= 0 or self._too_soon(job, pods):
            return
        if spec["completionMode"] != "Indexed":
            for _ in range(wanted):
                self._make(job, None, [])
            return
        done = {*_indexes(status.get("completedIndexes", "")), *_indexes(status.get("failedIndexes", ""))}
        held = {int(pod["metadata"]["annotations"][INDEX]) for pod in living}
        free = [index for index in range(spec["completions"]) if index not in done | held]
        for index in free[:wanted]:
            self._make(
                job, index, [pod for pod in pods if pod["metadata"]["annotations"].get(INDEX) == str(index)]
            )

    def _make(self, job: Object, index: int | None, earlier: Sequence[Object]) -> None:
        name = job["metadata"]["name"]
        pod = pod_of(job, job["spec"]["template"], f"{name}-" if index is None else f"{name}-{index}-")
        pod["metadata"]["finalizers"] = [TRACKING]
        if index is not None:
            annotations = pod["metadata"]["annotations"]
            annotations[INDEX] = pod["metadata"]["labels"][INDEX] = str(index)
            pod["spec"].setdefault("hostname", f"{name}-{index}")
            for container in [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ())]:
                container.setdefault("env", []).append({"name": "JOB_COMPLETION_INDEX", "value": str(index)})
            if "backoffLimitPerIndex" in job["spec"]:
                annotations.update(_counts(job, earlier))
        make(self._core, POD, pod, job)

    def _too_soon(self, job: Object, pods: Sequence[Object]) -> bool:
        failed = [
            pod
            for pod in pods
            if find(pod, ("status", "phase")) == "Failed" and _action(job, pod)[0] == "Count"
        ]
        if not failed or not self._backoff:
            return False
        pause = min(self._backoff * 2.0 ** (len(failed) - 1), _LONGEST_BACKOFF)
        return min(seconds_since(self._core, _ended_at(pod)) for pod in failed) < pause

    def _aim(self, status: Object, kind: str, reason: str, message: str) -> Object:
        if _aimed(status):
            return status
        return conditioned(
            self._core, status, {"type": kind, "status": "True", "reason": reason, "message": message}
        )

    def _end(self, status: Object, pods: Sequence[Object]) -> Object:
        """Once no pod of it runs any more."""
        for pod in active(pods):
            take_away(self._core, POD, pod)
        if not all(ended(pod) for pod in pods):
            return {**status, "active": 0, "terminating": _terminating(pods)}
        aim = _aimed(status)
        assert aim
        kind = "Complete" if aim["type"] == "SuccessCriteriaMet" else "Failed"
        status = conditioned(
            self._core, {**status, "active": 0, "ready": 0, "terminating": 0}, {**aim, "type": kind}
        )
        return status | ({"completionTime": self._core.stamp()} if kind == "Complete" else {})

    def _told(self, job: Object) -> None:
        """An Event of its end."""
        over = _over(job)
        if over:
            tell(self._core, job, over["reason"], over["message"], warning=over["type"] == "Failed")


def _over(job: Object) -> Object | None:
    return next((condition(job, kind) for kind in ("Complete", "Failed") if holds(job, kind)), None)


def _aimed(status: Mapping[str, Any]) -> Object | None:
    aims = ("FailureTarget", "SuccessCriteriaMet")
    return next((each for each in status.get("conditions") or () if each["type"] in aims), None)


def _terminating(pods: Sequence[Object]) -> int:
    return sum("deletionTimestamp" in pod["metadata"] and not ended(pod) for pod in pods)


def _counts(job: Object, earlier: Sequence[Object]) -> dict[str, str]:
    failures = ignored = 0
    for pod in earlier:
        if find(pod, ("status", "phase")) == "Failed":
            action, _ = _action(job, pod)
            failures += action == "Count"
            ignored += action == "Ignore"
    return {FAILURES: str(failures), **({IGNORED: str(ignored)} if ignored else {})}


def _action(job: Object, pod: Object) -> tuple[str, str]:
    """What the podFailurePolicy says of a failed pod, and in which words the Job then fails."""
    for number, rule in enumerate(find(job, ("spec", "podFailurePolicy", "rules")) or ()):
        why = _matches(rule, pod)
        if why:
            return rule["action"], f"{why} matching {rule['action']} rule at index {number}"
    return "Count", ""


def _matches(rule: Object, pod: Object) -> str:
    place = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    codes = rule.get("onExitCodes") or {}
    for status in (find(pod, ("status", "containerStatuses")) or ()) if codes else ():
        code = find(status, ("state", "terminated", "exitCode"))
        named = codes.get("containerName") in (None, status["name"])
        if code and named and (code in codes["values"]) is (codes["operator"] == "In"):
            return f"Container {status['name']} for pod {place} failed with exit code {code}"
    for pattern in rule.get("onPodConditions") or ():
        found = condition(pod, pattern["type"])
        if found and found["status"] == pattern.get("status", "True"):
            return f"Pod {place} has condition {pattern['type']}"
    return ""


def _ended_at(pod: Object) -> str:
    ends = [
        find(status, ("state", "terminated", "finishedAt"))
        for status in find(pod, ("status", "containerStatuses")) or ()
    ]
    return str(max((end for end in ends if end), default=pod["metadata"]["creationTimestamp"]))


def _indexes(text: str) -> set[int]:
    return {int(part) for part in text.split(",") if part}


def _with_index(text: str, index: str) -> str:
    return ",".join(str(each) for each in sorted(_indexes(text) | {int(index)}))
