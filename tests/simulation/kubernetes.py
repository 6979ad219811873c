"""The cluster on Kubernetes in the simulator: the real adapter, over the real fake API server, in memory.

In place of `simulation.cluster.MemoryCluster`, whose face it has. Jobs, restarts and evictions are the controllers'
own, the watch's words come through list and watch with gaps, requests fail, and the platform dies between any two of
them; the pods are the same models. Faults of requests are drawn from a stream of their own, so that worlds without
Kubernetes stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any

from simulation.host import NEVER, Crash
from simulation.pods import Exit, Orders, Pod, Ready, pod_of, stopped
from simulation.world import EPOCH, World

from events.envelope import Event
from shared.errors import KuzniaError
from shared.kubernetes.api import Gone, RestApi
from shared.kubernetes.cluster import KubernetesCluster
from shared.kubernetes.fake.cluster import FakeCluster
from shared.kubernetes.fake.controllers.kubelet import patience
from shared.kubernetes.fake.faults import Fault
from shared.kubernetes.fake.objects import find
from shared.kubernetes.fake.runtime import Exit as Ended
from shared.kubernetes.fake.runtime import Start, key_of
from shared.kubernetes.fake.transport import MemoryTransport
from shared.kubernetes.kinds import CONFIG_MAP, DEPLOYMENT, JOB, KINDS, POD, Kind, Ref
from shared.kubernetes.ledger import FINISHED, WORKLOAD, Ledger, Standing
from shared.kubernetes.making import PlainReleaser
from shared.kubernetes.settings import KubernetesSettings
from shared.ports.cluster import Status, Workload

NEEDED = {
    "namespaces",
    "nodes",
    "pods",
    "services",
    "configmaps",
    "events",
    "deployments",
    "jobs",
    "networkpolicies",
}
SERVED = tuple(kind for kind in KINDS if kind.plural in NEEDED)
HEARD: Sequence[Kind] = (CONFIG_MAP, POD, DEPLOYMENT, JOB)
READS: Sequence[Fault] = ("429", "500", "503", "lost", "refused", "stale")
WRITES: Sequence[Fault] = ("429", "500", "503", "403", "409", "lost", "refused")
MOST = 0.06  # of all requests of one kind
SOON, RESTLESS = 0.02, 1.0
EXITS = {"killed": 137, "vanished": None, "mute-failure": 1, "mute-success": 0}


class Trouble:
    """What goes wrong with requests. `crash`: the platform dies before or after it."""

    def __init__(self, world: Any, rand: Random) -> None:
        self._world = world
        self._next = rand.random
        self._strength = {verb: MOST * self._next() ** 2 for verb in ("get", "list", "watch", "write")}
        self._crash = 0.01 * self._next() ** 2
        self.fired = 0
        self.inside = False  # an effect's call: only there a crash is a worker's

    def hit(self, verb: str, plural: str, name: str) -> Fault:
        if not self._world.faults.on:
            return ""
        if self.inside and self._next() < self._crash:
            raise Crash
        kind = verb if verb in self._strength else ("get" if verb == "log" else "write")
        if self._next() >= self._strength[kind]:
            return ""
        self.fired += 1
        choices = {"watch": ("gone", "dropped", "500"), "write": WRITES}.get(kind, READS)
        fault: Fault = choices[int(len(choices) * self._next())]  # type: ignore[assignment]
        self._world.tell(f"FAULT {fault} at {verb} of {plural} {name}")
        return fault


class Container:
    """A pod's model, and what the kubelet sees of it."""

    def __init__(self, pod: Pod) -> None:
        self.pod = pod
        self.exit: Ended | None = None
        self.ready = False
        self.waits = False
        self.ending = False


class Held:
    """One workload, as the invariants look at it."""

    def __init__(self, workload: Workload, cluster: KubernetesInMemory) -> None:
        self.workload = workload
        self._cluster = cluster
        self.container: Container | None = None
        self.starts = 0

    @property
    def state(self) -> Standing:
        """As the ledger tells; before it is written down, it is pending."""
        return self._cluster.standing(self.workload.name)

    @property
    def pod(self) -> Pod | None:
        """What runs now."""
        running = self.container is not None and self.container.exit is None
        return self.container.pod if self.container and running else None


class KubernetesInMemory:
    """See `shared.ports.cluster.Cluster`. created: told each workload that is made, before it is."""

    def __init__(self, world: Any, created: Callable[[Workload], None]) -> None:
        self._world = world
        self._created = created
        self.held: dict[str, Held] = {}
        self.fake = FakeCluster(self._time, self, backoff=0.5, keep_changes=2000, kinds=SERVED)
        self.fake.node("node-0", gpus="1000", cpu="10000", memory="1000Ti", pods="10000")
        for name in ("kuznia",):
            self.fake.namespace(name)
        self.trouble = Trouble(world, Random(f"{world.seed}/kubernetes"))
        self._settings = KubernetesSettings(trainer_image="trainer:1", engine_image="engine:1")
        self._api = RestApi(MemoryTransport(self.fake))
        self._ledger = Ledger(RestApi(MemoryTransport(self.fake)), self._settings.platform_namespace)
        releaser = PlainReleaser(self._api, self._settings)
        self._cluster = KubernetesCluster(self._api, self._settings, releaser, self._publish, world.clock)
        self.fake.server.faults = self.trouble
        self._containers: dict[str, tuple[Held, Container]] = {}
        self._known: dict[str, tuple[str, Standing]] = {}
        self._revisions: dict[Kind, str] = {}
        self._due: dict[str, float] = {}
        self._next_turn = NEVER

    def _time(self) -> datetime:
        """The API server's own clock is never set."""
        return EPOCH + timedelta(seconds=self._world.now)

    # --- the port

    def apply(self, workload: Workload) -> None:
        if workload.name not in self.held:
            self._created(workload)
            self.held[workload.name] = Held(workload, self)
            for kind in ("job", "server"):
                self.fake.namespace(self._settings.namespace_of(workload.labels["tenant"], kind))
        self._within(lambda: self._cluster.apply(workload))

    def stop(self, name: str) -> None:
        self._within(lambda: self._cluster.stop(name))

    def status(self, name: str) -> Status | None:
        with_trouble, self.fake.server.faults = self.fake.server.faults, _Calm()
        try:
            return self._cluster.status(name)
        finally:
            self.fake.server.faults = with_trouble

    def list(self) -> Sequence[Status]:
        return [status for name in sorted(self.held) if (status := self.status(name))]

    def logs(self, name: str, tail: int = 200) -> str:
        raise FileNotFoundError(name)

    def _within(self, act: Callable[[], None]) -> None:
        self.trouble.inside = True
        try:
            act()
        finally:
            self.trouble.inside = False
            self._kick()

    def standing(self, name: str) -> Standing:
        found = self.fake.core.find(Ref(CONFIG_MAP, self._settings.platform_namespace, name))
        if found is None:
            return Standing()
        revision = found["metadata"]["resourceVersion"]
        known = self._known.get(name)
        if known is None or known[0] != revision:
            calm, self.fake.server.faults = self.fake.server.faults, _Calm()
            entry = self._ledger.read(name)
            self.fake.server.faults = calm
            assert entry
            known = self._known[name] = (revision, entry.standing)
        return known[1]

    # --- the watch, stepped

    def watch_again(self) -> None:
        """The platform is back; its watch has never stopped turning here."""

    def _publish(self, events: Sequence[Event]) -> None:
        self._world.publish("watch.publish", events)

    def _kick(self, delay: float = SOON) -> None:
        at = self._world.now + delay
        if at < self._next_turn:
            self._next_turn = at
            self._world.at(delay, lambda: self._turn(at))

    def _turn(self, at: float) -> None:
        if at != self._next_turn:
            return  # one that came sooner was asked for since
        self._next_turn = NEVER
        self.fake.settle()
        if self._world.up:
            self._due.pop("", None)
            self._hear()
            self._tend()
            self.fake.settle()
        if (
            self._due or self._restless() or not self._world.up
        ):  # what ends meanwhile is heard after the restart
            waits = [due - self._world.now for due in self._due.values()]
            if self._restless() or not self._world.up:
                waits.append(RESTLESS)
            self._kick(max(SOON, min(waits)))

    def _hear(self) -> None:
        for kind in HEARD:
            try:
                self._hear_of(kind)
            except Gone:
                self._revisions.pop(kind, None)
                self._due.setdefault("", self._world.now + RESTLESS)
            except KuzniaError:
                self._due.setdefault("", self._world.now + RESTLESS)

    def _hear_of(self, kind: Kind) -> None:
        revision = self._revisions.get(kind)
        if revision is None:
            listed = self._api.list(kind, labels=WORKLOAD)
            for item in listed.items:
                self._noted(item)
            self._revisions[kind] = listed.revision
            return
        for change, obj in self._api.watch(kind, revision, WORKLOAD, 1):
            self._revisions[kind] = str(obj["metadata"]["resourceVersion"])
            if change != "BOOKMARK":
                self._noted(obj)
        if int(self._revisions[kind]) < self.fake.core.revision:  # it was dropped: the rest is heard soon
            self._due.setdefault("", self._world.now + SOON)

    def _noted(self, obj: dict[str, Any]) -> None:
        self._due[obj["metadata"]["labels"][WORKLOAD]] = self._world.now

    def _tend(self) -> None:
        for name in sorted(name for name, due in self._due.items() if name and due <= self._world.now):
            del self._due[name]
            try:
                pause = self._cluster.tend(name)
            except KuzniaError as error:
                self._world.tell(f"cluster: {name}: {error}")
                pause = RESTLESS
            if pause is not None and not self._rests(name):
                self._due[name] = self._world.now + max(pause, SOON)

    def _rests(self, name: str) -> bool:
        """Nothing will happen to it before its pod does something."""
        standing = self.standing(name)
        if standing.unsaid or standing.ending or standing.phase in FINISHED:
            return False
        server = self.held[name].workload.kind == "server"
        return self.held[name].pod is not None and standing.phase == ("ready" if server else "running")

    def _restless(self) -> bool:
        """Whether time alone changes something in the cluster."""
        pods = self.fake.core.list(POD)
        if any(
            "deletionTimestamp" in pod["metadata"] or find(pod, ("status", "phase")) == "Pending"
            for pod in pods
        ):
            return True
        living = {
            pod["metadata"]["labels"][WORKLOAD] for pod in pods if find(pod, ("status", "phase")) == "Running"
        }
        jobs = self.fake.core.list(JOB)
        over = {"Complete", "Failed"}
        return any(
            job["metadata"]["name"] not in living
            and over.isdisjoint(each["type"] for each in find(job, ("status", "conditions")) or ())
            for job in jobs
        )

    # --- the runtime of its pods: `shared.kubernetes.fake.runtime.Runtime`

    def address(self, pod: dict[str, Any]) -> str:
        return "10.0.0.1"

    def start(self, start: Start) -> None:
        held = self.held[start.pod["metadata"]["labels"][WORKLOAD]]
        held.starts += 1
        container = held.container = Container(pod_of(held.workload, held.starts, self._world))
        self._containers[start.key] = (held, container)
        self._world.at(SOON, lambda: self._step(held, container))
        if probe := start.container.get("startupProbe"):  # the kubelet looks whether it answers by then
            self._world.at(patience(probe) + RESTLESS, self._kick)

    def poll(self, key: str) -> Ended | None:
        return (
            self._containers[key][1].exit if key in self._containers else Ended(137, "ContainerStatusUnknown")
        )

    def answers(self, pod: dict[str, Any], container: str, probe: dict[str, Any]) -> bool:
        return self._containers[key_of(pod, container)][1].ready

    def end(self, key: str, *, kill: bool) -> None:
        held, container = self._containers[key]
        if container.exit or (container.ending and not kill):
            return
        container.ending = True
        training = held.workload.module == "services.training.pod"
        if kill:
            container.exit = Ended(137, "Error")
        elif training and self._world.chance() < 0.7:
            container.pod = stopped(held.workload, held.starts, self._world)
            self._world.at(SOON, lambda: self._step(held, container))
        else:
            self._world.at(1.0, lambda: self._exited(container, 143))

    def output(self, key: str, *, previous: bool) -> str:
        return "its last words\n"

    def forget(self, pod: dict[str, Any]) -> None:
        self._containers.pop(key_of(pod, "main"), None)

    def _step(self, held: Held, container: Container) -> None:
        """Go on with the pod's model until its next pause, its readiness or its end."""
        if container.exit:
            return
        pod, word = container.pod, container.pod.step()
        if container.pod is not pod:
            return
        if isinstance(word, Exit):
            self._exited(container, word.code)
        elif isinstance(word, Ready):
            container.ready = True
            self._kick()
            kind = self._world.faults.hit("pod.engine")
            if kind in EXITS:
                later = 600 * self._world.faults.draw() ** 3
                self._world.at(later, lambda: self._exited(container, EXITS[kind]))
            if word.goes_on:
                self._world.at(0.1, lambda: self._step(held, container))
        elif isinstance(word, Orders):
            container.waits = True
        else:
            self._world.at(float(word), lambda: self._step(held, container) if container.pod is pod else None)

    def _exited(self, container: Container, code: int | None) -> None:
        if container.exit is None:
            number = 137 if code is None else code
            container.exit = Ended(number, "Error" if number else "Completed")
            self._kick()

    def ordered(self, key: str) -> None:
        """A record has changed: pods that wait for it look again."""
        for held in self.held.values():
            container = held.container
            if container and container.waits and held.workload.key == key and not container.exit:
                container.waits = False
                self._world.at(0.05, lambda held=held, container=container: self._step(held, container))


class _Calm:
    def hit(self, verb: str, plural: str, name: str) -> Fault:
        return ""


class KubernetesWorld(World):
    """A world whose cluster is Kubernetes."""

    def _compose(self) -> None:
        super()._compose()
        self.cluster: Any = KubernetesInMemory(self, self._created)

    @property
    def fired(self) -> int:
        return self.faults.fired + self.cluster.trouble.fired
