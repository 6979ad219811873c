"""The kubelet of all nodes: starts containers, restarts them, ends them, and tells how they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from shared.kubernetes.fake.controllers.acting import (
    conditioned,
    ended,
    ref,
    seconds_since,
    tell,
    write_status,
)
from shared.kubernetes.fake.core import Core, Deletion
from shared.kubernetes.fake.environment import Missing, start_of
from shared.kubernetes.fake.objects import Object, find, holds
from shared.kubernetes.fake.runtime import Exit, Runtime, key_of
from shared.kubernetes.kinds import POD

_LAST_WORDS_BYTES, _LAST_WORDS_LINES = 2048, 80
_LONGEST_BACKOFF = 300.0


def patience(probe: Object) -> float:
    """Seconds that a container has until this probe must have held once."""
    tries, period = probe.get("failureThreshold", 3), probe.get("periodSeconds", 10)
    return float(probe.get("initialDelaySeconds", 0) + tries * period)


class Kubelet:
    """bad_images: those that cannot be pulled. backoff: seconds before the second restart; it doubles."""

    def __init__(self, core: Core, runtime: Runtime, backoff: float) -> None:
        self._core = core
        self._runtime = runtime
        self._backoff = backoff
        self.bad_images: set[str] = set()
        self._told_to_end: set[str] = set()
        self._known: dict[str, Object] = {}
        self._shutting: dict[str, datetime] = {}

    def shut_down(self, pod: Object, until: datetime) -> None:
        """Its machine goes away: it ends now, and is killed then."""
        self._shutting[pod["metadata"]["uid"]] = until

    def step(self) -> None:
        """Look at each pod that has a node."""
        pods = {pod["metadata"]["uid"]: pod for pod in self._core.list(POD)}
        for uid in self._known.keys() - pods.keys():
            self._runtime.forget(self._known[uid])
            self._shutting.pop(uid, None)
        self._known = pods
        for pod in pods.values():
            if pod["spec"].get("nodeName") and not ended(pod):
                if not self._quiet(pod):
                    self._tend(pod)
            elif "deletionTimestamp" in pod["metadata"]:
                self._remove(pod)

    def _quiet(self, pod: Object) -> bool:
        """Whether all of it runs on, and nobody asks whether it is ready."""
        if self._deadline(pod) or not holds(pod, "Ready") or pod["spec"].get("initContainers"):
            return False
        return all(
            "readinessProbe" not in container and self._runtime.poll(key_of(pod, container["name"])) is None
            for container in pod["spec"]["containers"]
        )

    def _tend(self, pod: Object) -> None:
        deadline = self._deadline(pod)
        if deadline:
            self._end(pod, deadline)
        status = dict(pod["status"])
        status.setdefault("podIP", self._runtime.address(pod))
        status.setdefault("podIPs", [{"ip": status["podIP"]}])
        status.setdefault("startTime", self._core.stamp())
        seen: Object = {**pod, "status": status}
        init = [
            self._look(seen, each, "initContainerStatuses")
            for each in pod["spec"].get("initContainers") or ()
        ]
        done = True
        for container, one in zip(pod["spec"].get("initContainers") or (), init, strict=True):
            if done and not find(one, ("state", "terminated")):
                one.update(self._go_on(seen, container, one))
            sidecar = container.get("restartPolicy") == "Always"
            done = done and (
                bool(one.get("started")) if sidecar else find(one, ("state", "terminated", "exitCode")) == 0
            )
        main = [self._look(seen, each, "containerStatuses") for each in pod["spec"]["containers"]]
        if done:
            for container, one in zip(pod["spec"]["containers"], main, strict=True):
                one.update(self._go_on(seen, container, one))
        status["containerStatuses"] = main
        if init:
            status["initContainerStatuses"] = init
        self._tell(pod, self._summed(pod, status, initialized=done))

    def _look(self, pod: Object, container: Object, field: str) -> Object:
        """A container as it was told last, or as it is before its start."""
        known = find(pod, ("status", field)) or ()
        found = next((one for one in known if one["name"] == container["name"]), None)
        waiting = {"waiting": {"reason": "ContainerCreating"}}
        fresh = {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "started": False,
            "state": waiting,
            "lastState": {},
        }
        return dict(found) if found else fresh

    def _go_on(self, pod: Object, container: Object, one: Object) -> Object:
        """The container's next state."""
        if "running" in one["state"]:
            ended_with = self._runtime.poll(key_of(pod, one["name"]))
            return (
                self._ended(pod, container, one, ended_with)
                if ended_with
                else self._probed(pod, container, one)
            )
        if self._deadline(pod):
            return self._never_began(one)
        if "terminated" in one["state"]:
            return self._again(pod, container, one)
        since = find(one, ("state", "waiting", "reason"))
        if since == "CrashLoopBackOff" and self._backing_off(one):
            return one
        return self._start(pod, container, one)

    def _start(self, pod: Object, container: Object, one: Object) -> Object:
        if container["image"] in self.bad_images:
            return self._not_pulled(pod, container, one)
        try:
            self._runtime.start(start_of(self._core, pod, container))
        except Missing as missing:
            return {**one, "state": _waiting("CreateContainerConfigError", f"Error: {missing}")}
        except OSError as error:
            failed = {"exitCode": 128, "reason": "StartError", "message": str(error), **self._times(one)}
            return {**one, "state": {"terminated": failed}}
        return {
            **one,
            "state": {"running": {"startedAt": self._core.stamp()}},
            "started": False,
            "ready": False,
        }

    def _not_pulled(self, pod: Object, container: Object, one: Object) -> Object:
        image = container["image"]
        message = f'failed to pull and unpack image "{image}": failed to resolve reference: not found'
        tell(self._core, pod, "Failed", f'Failed to pull image "{image}": {message}', warning=True)
        first = find(one, ("state", "waiting", "reason")) == "ContainerCreating"
        if first:
            return {**one, "state": _waiting("ErrImagePull", message)}
        return {
            **one,
            "state": _waiting(
                "ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {message}'
            ),
        }

    def _probed(self, pod: Object, container: Object, one: Object) -> Object:
        name = one["name"]
        started = bool(one["started"]) or self._has_started(pod, container, one)
        probe = container.get("readinessProbe")
        ready = started and (probe is None or self._runtime.answers(pod, name, probe))
        return {**one, "started": started, "ready": ready}

    def _has_started(self, pod: Object, container: Object, one: Object) -> bool:
        """By its startup probe; one that has not answered for too long is killed."""
        name, probe = one["name"], container.get("startupProbe")
        if probe is None or self._runtime.answers(pod, name, probe):
            return True
        if seconds_since(self._core, one["state"]["running"]["startedAt"]) > patience(probe):
            tell(self._core, pod, "Killing", f"Container {name} failed startup probe, will be restarted")
            self._runtime.end(key_of(pod, name), kill=True)
        return False

    def _ended(self, pod: Object, container: Object, one: Object, with_: Exit) -> Object:
        over = {"exitCode": with_.code, "reason": with_.reason, **self._times(one)}
        words = container["terminationMessagePolicy"] == "FallbackToLogsOnError"
        if with_.code and words:
            text = self._runtime.output(key_of(pod, one["name"]), previous=False)
            message = "".join(text.splitlines(keepends=True)[-_LAST_WORDS_LINES:])[-_LAST_WORDS_BYTES:]
            over |= {"message": message} if message else {}
        return {**one, "state": {"terminated": over}, "ready": False, "started": False}

    def _times(self, one: Object) -> Object:
        began = find(one, ("state", "running", "startedAt")) or self._core.stamp()
        return {"startedAt": began, "finishedAt": self._core.stamp()}

    def _never_began(self, one: Object) -> Object:
        if "terminated" in one["state"]:
            return one
        over = {"exitCode": 137, "reason": "ContainerStatusUnknown", **self._times(one)}
        over["message"] = "The container could not be located when the pod was terminated"
        return {**one, "state": {"terminated": over}}

    def _again(self, pod: Object, container: Object, one: Object) -> Object:
        policy = container.get("restartPolicy") or pod["spec"]["restartPolicy"]
        code = one["state"]["terminated"]["exitCode"]
        if policy == "Never" or (policy == "OnFailure" and code == 0):
            return one
        message = f"back-off restarting failed container={one['name']} pod={pod['metadata']['name']}"
        return {
            **one,
            "state": _waiting("CrashLoopBackOff", message),
            "lastState": {"terminated": one["state"]["terminated"]},
            "restartCount": one["restartCount"] + 1,
        }

    def _backing_off(self, one: Object) -> bool:
        pause = (
            min(self._backoff * 2.0 ** (one["restartCount"] - 1), _LONGEST_BACKOFF) if self._backoff else 0
        )
        return seconds_since(self._core, one["lastState"]["terminated"]["finishedAt"]) < pause

    def _deadline(self, pod: Object) -> datetime | None:
        """Until when it has to end, if it has to."""
        at = pod["metadata"].get("deletionTimestamp")
        return datetime.fromisoformat(at) if at else self._shutting.get(pod["metadata"]["uid"])

    def _end(self, pod: Object, deadline: datetime) -> None:
        """SIGTERM once; SIGKILL after the grace."""
        uid = pod["metadata"]["uid"]
        late = self._core.now() >= deadline
        for container in _all(pod):
            key = key_of(pod, container["name"])
            if late or uid not in self._told_to_end:
                self._runtime.end(key, kill=late)
        self._told_to_end.add(uid)

    def _summed(self, pod: Object, status: Object, *, initialized: bool) -> Object:
        going = self._deadline(pod) is not None
        phase = _phase(pod, status, initialized=initialized, going=going)
        status = {**status, "phase": phase}
        ready = phase == "Running" and all(one["ready"] for one in status["containerStatuses"])
        for kind, true in (("Initialized", initialized), ("ContainersReady", ready), ("Ready", ready)):
            status = conditioned(self._core, status, {"type": kind, "status": "True" if true else "False"})
        return status

    def _tell(self, pod: Object, status: Object) -> None:
        told = write_status(self._core, POD, pod, status)
        if ended(told) and "deletionTimestamp" in told["metadata"]:
            self._remove(told)

    def _remove(self, pod: Object) -> None:
        self._told_to_end.discard(pod["metadata"]["uid"])
        self._core.delete(ref(POD, pod), Deletion(grace=0))


def _all(pod: Object) -> Sequence[Object]:
    return [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]


def _waiting(reason: str, message: str) -> Mapping[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def _phase(pod: Object, status: Object, *, initialized: bool, going: bool) -> str:
    never = pod["spec"]["restartPolicy"] == "Never"
    for one in status.get("initContainerStatuses") or ():
        if find(one, ("state", "terminated", "exitCode")) and (never or going):
            return "Failed"
    states = [one["state"] for one in status["containerStatuses"]]
    if all("terminated" in state for state in states):
        failed = any(state["terminated"]["exitCode"] for state in states)
        if failed and (never or going):
            return "Failed"
        if not failed and (pod["spec"]["restartPolicy"] != "Always" or going):
            return "Succeeded"
    began = any(
        "waiting" not in state or one["restartCount"]
        for state, one in zip(states, status["containerStatuses"], strict=True)
    )
    return "Running" if initialized and began else "Pending"
