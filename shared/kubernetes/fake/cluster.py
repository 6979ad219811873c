"""The whole: objects, server, controllers, nodes; and what a person or a test does to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from shared.kubernetes.fake.controllers.acting import conditioned, ended, ref, write_status
from shared.kubernetes.fake.controllers.collector import Collector
from shared.kubernetes.fake.controllers.deployments import Deployments
from shared.kubernetes.fake.controllers.jobs import Jobs
from shared.kubernetes.fake.controllers.jobsets import JobSets
from shared.kubernetes.fake.controllers.kubelet import Kubelet
from shared.kubernetes.fake.controllers.scheduler import Scheduler
from shared.kubernetes.fake.controllers.workflows import Workflows
from shared.kubernetes.fake.core import KEPT_CHANGES, Core
from shared.kubernetes.fake.objects import Object, find
from shared.kubernetes.fake.runtime import Exit, Life, ModelRuntime, Runtime, key_of
from shared.kubernetes.fake.server import ApiServer
from shared.kubernetes.kinds import KINDS, NAMESPACE, NODE, POD, Kind, Ref

NAMESPACES = ("default", "kube-system")
_MOST_STEPS = 200
OOM, PRESSURE = "OOMKilled", "The node was low on resource: {}."


class Controller(Protocol):
    """Does what is due."""

    def step(self) -> None: ...


class FakeCluster:
    """lock: over everything; `step` and the commands take it. backoff: seconds, of failed Jobs and containers."""

    def __init__(
        self,
        now: Callable[[], datetime],
        runtime: Runtime | None = None,
        *,
        backoff: float = 0,
        keep_changes: int = KEPT_CHANGES,
        kinds: Sequence[Kind] = KINDS,
    ) -> None:
        self.moved = threading.Condition(threading.RLock())
        self.core = Core(now, keep_changes=keep_changes)
        self.core.changed = self._changed
        self.runtime: Runtime = runtime or ModelRuntime(now)
        self.server = ApiServer(self.core, _Outputs(self.runtime), kinds)
        self.kubelet = Kubelet(self.core, self.runtime, backoff)
        self._controllers: Sequence[Controller] = (
            Workflows(self.core),
            JobSets(self.core),
            Jobs(self.core, backoff),
            Deployments(self.core),
            Scheduler(self.core),
            self.kubelet,
            Collector(self.core, kinds),
        )
        with self.moved:
            for name in NAMESPACES:
                self.namespace(name)

    def step(self) -> bool:
        """Each controller once. Returns whether anything changed."""
        with self.moved:
            before = self.core.revision
            for controller in self._controllers:
                controller.step()
            return self.core.revision != before

    def settle(self) -> None:
        """Step until nothing changes any more, but for the time."""
        for _ in range(_MOST_STEPS):
            if not self.step():
                return
        raise RuntimeError(f"the controllers do not come to rest within {_MOST_STEPS} steps")

    # --- what is done to it

    def namespace(self, name: str) -> None:
        """Make it, if it is not there."""
        with self.moved:
            if self.core.find(Ref(NAMESPACE, "", name)) is None:
                self.core.create(NAMESPACE, "", {"metadata": {"name": name}})

    def node(self, name: str, *, labels: dict[str, str] | None = None, **allocatable: str) -> None:
        """Add one. allocatable: cpu, memory, gpus; plenty of the first two where they are not said."""
        room = {"cpu": "64", "memory": "512Gi", "ephemeral-storage": "10Ti", "pods": "500"} | {
            {"gpus": "nvidia.com/gpu"}.get(key, key): amount for key, amount in allocatable.items()
        }
        metadata = {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}}
        node = {"metadata": metadata, "spec": {}, "status": {"allocatable": room, "capacity": room}}
        with self.moved:
            self.core.create(NODE, "", node)

    def pods(self, workload: str = "", namespace: str = "") -> Sequence[Object]:
        """Those labelled as this workload's; all where none is named."""
        with self.moved:
            return self.core.selected(POD, namespace, f"kuznia.dev/workload={workload}" if workload else "")

    def preempt(self, node: str, grace: int = 25) -> None:
        """A spot machine is taken: its pods have the grace to end, and stay as failed ones; the node is gone."""
        with self.moved:
            self.core.remove(Ref(NODE, "", node))
            for pod in self._on(node):
                self._disrupt(
                    pod, "TerminationByKubelet", "Pod was terminated in response to imminent node shutdown."
                )
                self.kubelet.shut_down(pod, self.core.now() + timedelta(seconds=grace))

    def lose(self, node: str) -> None:
        """A machine is gone without a word: its pods are given up."""
        with self.moved:
            self.core.remove(Ref(NODE, "", node))
            for pod in self._on(node):
                for container in pod["spec"]["containers"]:
                    self.runtime.end(key_of(pod, container["name"]), kill=True)
                message = "PodGC: node no longer exists"
                self._disrupt(pod, "DeletionByPodGC", message)
                now = self.core.read(ref(POD, pod))
                write_status(self.core, POD, now, {**now["status"], "phase": "Failed", "message": message})

    def squeeze(self, pod: Object, resource: str = "ephemeral-storage") -> None:
        """The node runs short of it, and evicts the pod."""
        with self.moved:
            for container in pod["spec"]["containers"]:
                self.runtime.end(key_of(pod, container["name"]), kill=True)
            self.kubelet.step()
            message = PRESSURE.format(resource)
            self._disrupt(pod, "TerminationByKubelet", message)
            now = self.core.read(ref(POD, pod))
            write_status(
                self.core,
                POD,
                now,
                {**now["status"], "phase": "Failed", "reason": "Evicted", "message": message},
            )

    def starve(self, pod: Object) -> None:
        """Its first container used more memory than it may."""
        with self.moved:
            assert isinstance(self.runtime, ModelRuntime), "a real process starves by itself"
            self.runtime.life(pod).exit = Exit(137, OOM)

    def life(self, pod: Object) -> Life:
        """The model of its first container."""
        assert isinstance(self.runtime, ModelRuntime)
        return self.runtime.life(pod)

    def compact(self) -> None:
        """Forget what changed: a watch that lags behind is told 410."""
        with self.moved:
            self.core.log.compact(self.core.revision)

    def _on(self, node: str) -> Sequence[Object]:
        return [
            pod for pod in self.core.list(POD) if find(pod, ("spec", "nodeName")) == node and not ended(pod)
        ]

    def _disrupt(self, pod: Object, reason: str, message: str) -> None:
        now = self.core.read(ref(POD, pod))
        said: dict[str, Any] = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": reason,
            "message": message,
        }
        write_status(self.core, POD, now, conditioned(self.core, now["status"], said))

    def _changed(self) -> None:
        with self.moved:
            self.moved.notify_all()


class _Outputs:
    """Logs, as the server asks for them."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def read(self, pod: Object, container: str, *, previous: bool) -> str:
        return self._runtime.output(key_of(pod, container), previous=previous)
