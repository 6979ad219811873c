"""Argo Workflows of one step: a pod with retries, or an object that is made and watched."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from shared.kubernetes.fake.controllers.acting import (
    active,
    ended,
    make,
    owned,
    owner_reference,
    pod_of,
    ref,
    seconds_since,
    take_away,
    write_status,
)
from shared.kubernetes.fake.core import AT_EASE, Core
from shared.kubernetes.fake.failures import Failure
from shared.kubernetes.fake.objects import Object, find
from shared.kubernetes.kinds import POD, WORKFLOW, ref_of

LABEL = "workflows.argoproj.io/workflow"
_OVER = frozenset({"Succeeded", "Failed", "Error"})
_CODES = re.compile(r"in \[([-0-9, ]*)\]")
_CONDITION = re.compile(r"(\S+)\s*==\s*(\S+)")
_GONE = -1


class Workflows:
    """As far as a Workflow of ours goes."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def step(self) -> None:
        """Look at each once."""
        for workflow in self._core.list(WORKFLOW):
            if "deletionTimestamp" not in workflow["metadata"]:
                self._tend(workflow)

    def _tend(self, workflow: Object) -> None:
        status: Object = dict(workflow.get("status") or {})
        if status.get("phase") in _OVER:
            self._expire(workflow, status)
            return
        status.setdefault("startedAt", self._core.stamp())
        spec = workflow["spec"]
        template = next(each for each in spec["templates"] if each["name"] == spec["entrypoint"])
        pods = owned(self._core, POD, workflow)
        limit = spec.get("activeDeadlineSeconds")
        if spec.get("shutdown") or (limit and seconds_since(self._core, status["startedAt"]) >= limit):
            message = "Stopped with strategy" if spec.get("shutdown") else "Max duration limit exceeded"
            status = self._end(status, pods, message)
        elif "resource" in template:
            status |= self._resource(workflow, template["resource"])
        else:
            status |= self._pods(workflow, template, pods)
        if status.get("phase") in _OVER:
            status.setdefault("finishedAt", self._core.stamp())
        write_status(self._core, WORKFLOW, workflow, status)

    def _expire(self, workflow: Object, status: Object) -> None:
        ttl = find(workflow, ("spec", "ttlStrategy", "secondsAfterCompletion"))
        if ttl is not None and seconds_since(self._core, status["finishedAt"]) >= ttl:
            self._core.delete(ref(WORKFLOW, workflow), AT_EASE)

    def _end(self, status: Object, pods: Sequence[Object], message: str) -> Object:
        for pod in active(pods):
            take_away(self._core, POD, pod)
        return status | ({"phase": "Failed", "message": message} if all(ended(pod) for pod in pods) else {})

    def _resource(self, workflow: Object, resource: Object) -> Object:
        manifest = json.loads(resource["manifest"])
        manifest["metadata"]["ownerReferences"] = [owner_reference(workflow)]
        made = ref_of(manifest)
        found = self._core.find(made)
        if found is None:
            try:
                self._core.create(made.kind, made.namespace, manifest)
            except Failure as failure:
                return {"phase": "Error", "message": failure.message}
            return {"phase": "Running"}
        for phase, field in (("Succeeded", "successCondition"), ("Failed", "failureCondition")):
            test = _CONDITION.fullmatch(resource.get(field, ""))
            if test and str(find(found, test[1].split("."))) == test[2]:
                failed = phase == "Failed"
                return {"phase": phase} | (
                    {"message": f"failure condition '{resource[field]}' evaluated true"} if failed else {}
                )
        return {"phase": "Running"}

    def _pods(self, workflow: Object, template: Object, pods: Sequence[Object]) -> Object:
        finished = [pod for pod in pods if ended(pod)]
        if len(pods) > len(finished):
            return {"phase": "Running"}
        made = int(find(workflow, ("status", "made")) or 0)
        if any(pod["status"]["phase"] == "Succeeded" for pod in finished):
            return {"phase": "Succeeded"}
        if made and not _retried(template, finished, made):
            last = finished[-1] if finished else None
            return {"phase": "Failed", "message": _message(last)}
        self._make(workflow, template, made)
        return {"phase": "Running", "made": made + 1}

    def _make(self, workflow: Object, template: Object, number: int) -> None:
        name = workflow["metadata"]["name"]
        patch = json.loads(template.get("podSpecPatch") or "{}")
        fields = ("volumes", "nodeSelector", "tolerations", "serviceAccountName", "affinity")
        spec = {key: template[key] for key in fields if key in template} | patch
        spec |= {"containers": [template["container"]], "restartPolicy": "Never"}
        pod = pod_of(
            workflow,
            {"metadata": template.get("metadata") or {}, "spec": spec},
            f"{name}-{template['name']}-{number}",
        )
        pod["metadata"]["labels"][LABEL] = name
        make(self._core, POD, pod, workflow)


def _retried(template: Object, finished: Sequence[Object], made: int) -> bool:
    strategy = template.get("retryStrategy")
    if not strategy or made > int(strategy.get("limit", 0)):
        return False
    codes = _CODES.search(strategy.get("expression", ""))
    wanted = {int(code) for code in codes[1].split(",")} if codes else None
    return wanted is None or (_code(finished[-1]) if finished else _GONE) in wanted


def _code(pod: Object) -> int:
    for status in find(pod, ("status", "containerStatuses")) or ():
        code = find(status, ("state", "terminated", "exitCode"))
        if code is not None:
            return int(code)
    return _GONE


def _message(pod: Object | None) -> str:
    if pod is None:
        return "pod deleted"
    code = _code(pod)
    return str(find(pod, ("status", "message")) or f"main: Error (exit code {code})")
