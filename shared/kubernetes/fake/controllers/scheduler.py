"""The scheduler: a node for each pod, by selectors, taints and what is left of its resources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from shared.kubernetes.fake.controllers.acting import conditioned, ended, ref, tell, write_status
from shared.kubernetes.fake.core import Core
from shared.kubernetes.fake.objects import Object, labels_of, quantity
from shared.kubernetes.kinds import NODE, POD

_EFFECTS = frozenset({"NoSchedule", "NoExecute"})


class Scheduler:
    """Nodes in order of name; the first that fits."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def step(self) -> None:
        """Look at each pod without a node."""
        pods = self._core.list(POD)
        waiting = [
            pod
            for pod in pods
            if not pod["spec"].get("nodeName") and "deletionTimestamp" not in pod["metadata"]
        ]
        for pod in waiting:
            if not pod["spec"].get("schedulingGates") and not ended(pod):
                self._place(pod)

    def _place(self, pod: Object) -> None:
        nodes = self._core.list(NODE)
        reasons: Counter[str] = Counter()
        for node in nodes:
            why = self._refusal(pod, node)
            if not why:
                self._bind(pod, node)
                return
            reasons.update(why)
        told = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
        message = f"0/{len(nodes)} nodes are available" + (f": {told}." if told else ".")
        said = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        write_status(self._core, POD, pod, conditioned(self._core, pod["status"], said))
        tell(self._core, pod, "FailedScheduling", message, warning=True)

    def _refusal(self, pod: Object, node: Object) -> Sequence[str]:
        spec, labels = pod["spec"], labels_of(node)
        if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
            return ["node(s) didn't match Pod's node affinity/selector"]
        for taint in node["spec"].get("taints") or ():
            if taint["effect"] in _EFFECTS and not _tolerated(taint, spec.get("tolerations") or ()):
                return [f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"]
        if node["spec"].get("unschedulable"):
            return ["node(s) were unschedulable"]
        left = self._left(node)
        asked = requests_of(pod)
        return [
            f"Insufficient {name}" for name, amount in sorted(asked.items()) if amount > left.get(name, 0.0)
        ]

    def _left(self, node: Object) -> Mapping[str, float]:
        name = node["metadata"]["name"]
        left = {key: quantity(amount) for key, amount in node["status"]["allocatable"].items()}
        for pod in self._core.list(POD):
            if pod["spec"].get("nodeName") == name and not ended(pod):
                for key, amount in requests_of(pod).items():
                    left[key] = left.get(key, 0.0) - amount
        return left

    def _bind(self, pod: Object, node: Object) -> None:
        name = node["metadata"]["name"]
        bound = self._core.replace(ref(POD, pod), {**pod, "spec": {**pod["spec"], "nodeName": name}})
        said = {"type": "PodScheduled", "status": "True"}
        status = conditioned(self._core, bound["status"], said) | {"hostIP": "127.0.0.1"}
        write_status(self._core, POD, bound, status)


def requests_of(pod: Object) -> Mapping[str, float]:
    """What its containers ask for, together."""
    asked: Counter[str] = Counter()
    for container in pod["spec"]["containers"]:
        for name, amount in (container["resources"].get("requests") or {}).items():
            asked[name] += quantity(amount)  # type: ignore[assignment]
    return asked


def _tolerated(taint: Object, tolerations: Sequence[Object]) -> bool:
    for each in tolerations:
        key_fits = each.get("key") in (None, taint["key"])
        value_fits = each.get("operator") == "Exists" or each.get("value", "") == taint.get("value", "")
        if key_fits and value_fits and each.get("effect") in (None, "", taint["effect"]):
            return True
    return False
