"""A cluster in memory: names, restarts, verdicts and events are the local cluster's own; the pods are models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from msgspec.structs import replace
from simulation.faults import Injector
from simulation.pods import Exit, Orders, Pod, Ready, pod_of, stopped

from events.envelope import Event
from shared.errors import KuzniaError, Reject
from shared.local.cluster import spec, verdict
from shared.local.cluster.state import FINISHED, State
from shared.ports.cluster import Status, Workload

AGAIN_SECONDS = 1.0  # the watch tries again what the bus did not take
EXIT_CODES = {"killed": 137, "vanished": None, "mute-failure": 1, "mute-success": 0}


class Surroundings(Protocol):
    """What the cluster and its pods need of the world."""

    faults: Injector
    up: bool

    def at(self, delay: float, do: Callable[[], None]) -> None: ...
    def moment(self) -> datetime: ...
    def publish(self, place: str, events: Sequence[Event]) -> None: ...
    def tell(self, line: str) -> None: ...


class Held:
    """One workload: as applied, how it stands, and the pod that runs now, if any."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.state = State()
        self.pod: Pod | None = None
        self.stopped = False
        self.saying = False
        self.waits = False  # for other orders


class MemoryCluster:
    """See `shared.ports.cluster.Cluster`. created: told each workload that is made, before it is."""

    def __init__(self, world: Surroundings, created: Callable[[Workload], None]) -> None:
        self._world = world
        self._created = created
        self._starts = 0  # every start of a server gets another port
        self.held: dict[str, Held] = {}

    def apply(self, workload: Workload) -> None:
        held = self.held.get(workload.name)
        if held is None:
            faults = spec.faults(workload)
            if faults:
                raise Reject(f"workload {workload.name!r} cannot be run: {faults}")
            self._created(workload)
            held = self.held[workload.name] = Held(workload)
            self._world.at(1 + self._world.faults.draw(), lambda: self._begin(held))
        elif held.workload != workload:
            raise Reject(f"another workload is already called {workload.name!r}")

    def stop(self, name: str) -> None:
        held = self.held.get(name)
        if held is None or held.state.phase in FINISHED:
            return
        held.stopped = True
        if held.pod is None:
            held.state = verdict.stopped_before_start(held.state)
            return
        if held.workload.module == "services.training.pod" and self._world.faults.draw() < 0.7:
            self._politely(held, held.pod, stopped(held.workload, held.state.attempt, self._world))
            return  # else it is killed before it could say a word
        self._world.at(1.0, lambda pod=held.pod: self._ended(held, pod, 143))

    def _politely(self, held: Held, pod: Pod, last: Pod) -> None:
        """It saves where it stands, and says so."""
        word = last.step()
        if isinstance(word, Exit):
            self._ended(held, pod, word.code)
        elif held.pod is pod:
            self._world.at(float(word), lambda: self._politely(held, pod, last))  # type: ignore[arg-type]

    def status(self, name: str) -> Status | None:
        held = self.held.get(name)
        if held is None:
            return None
        state = held.state
        return Status(
            name=name,
            kind=held.workload.kind,
            phase=state.phase,
            attempt=state.attempt,
            reason=state.reason,
            message=state.message,
            exit_code=state.exit_code,
            address=state.address,
        )

    def list(self) -> Sequence[Status]:
        return [status for name in sorted(self.held) if (status := self.status(name))]

    def logs(self, name: str, tail: int = 200) -> str:
        raise FileNotFoundError(name)

    def _begin(self, held: Held) -> None:
        if held.stopped or held.state.phase != "pending":
            return
        self._starts += 1
        server = held.workload.kind == "server"
        address = f"127.0.0.1:{20000 + self._starts}" if server else ""
        now = self._world.moment()
        held.state = verdict.began(held.workload, held.state, at=now.timestamp(), address=address, now=now)
        pod = held.pod = pod_of(held.workload, held.state.attempt, self._world)
        self.say(held)
        limit = held.workload.limits.deadline_seconds
        if limit and server:
            self._world.at(limit, lambda: self._overdue(held, pod))
        self._step(held, pod)

    def _step(self, held: Held, pod: Pod) -> None:
        """Go on with the pod's model until its next pause, its readiness or its end."""
        if held.pod is not pod:
            return  # it was killed meanwhile
        word = pod.step()
        if isinstance(word, Exit):
            self._ended(held, pod, word.code)
            return
        if isinstance(word, Ready):
            held.state = verdict.became_ready(held.workload, held.state, self._world.moment())
            self.say(held)
            kind = self._world.faults.hit("pod.engine")
            if kind in EXIT_CODES:
                self._world.at(
                    600 * self._world.faults.draw() ** 3, lambda: self._ended(held, pod, EXIT_CODES[kind])
                )
            if word.goes_on:
                self._world.at(0.1, lambda: self._step(held, pod))
            return
        if isinstance(word, Orders):
            held.waits = True
            return
        self._world.at(word, lambda: self._step(held, pod))

    def ordered(self, key: str) -> None:
        """A record has changed: pods that wait for it look again."""
        for held in self.held.values():
            if held.waits and held.workload.key == key and held.pod is not None:
                held.waits = False
                self._world.at(0.05, lambda held=held, pod=held.pod: self._step(held, pod))

    def _overdue(self, held: Held, pod: Pod) -> None:
        ending = verdict.overdue(held.workload, held.state, self._world.moment())
        if held.pod is pod and ending:
            held.state = replace(held.state, ending=ending)
            self._ended(held, pod, 143)
        elif held.pod is pod and held.state.phase == "running":
            self._world.at(60, lambda: self._overdue(held, pod))  # the clock was set back

    def _ended(self, held: Held, pod: Pod, code: int | None) -> None:
        if held.pod is not pod:
            return
        held.pod = None
        death = verdict.Death(exit_code=code, last_words="its last words", stopped=held.stopped)
        now = self._world.moment()
        held.state = verdict.concluded(held.workload, held.state, death, now)
        self._world.tell(f"cluster: {held.workload.name} ended ({code}), is {held.state.phase}")
        self.say(held)
        if held.state.phase == "pending":
            wait = min(max(0.0, held.state.due_at - now.timestamp()), verdict.LONGEST_BACKOFF)
            self._world.at(wait + 0.5, lambda: self._begin(held))

    def say(self, held: Held) -> None:
        """The watch: at least once, later where it was down, again where the bus did not take it."""
        if held.state.unsaid and not held.saying:
            held.saying = True
            late = (
                300 * self._world.faults.draw() if self._world.faults.hit("watch.publish") == "late" else 0.05
            )
            self._world.at(late, lambda: self._say(held))

    def watch_again(self) -> None:
        """The platform is back, and with it the watch."""
        for held in self.held.values():
            self.say(held)

    def _say(self, held: Held) -> None:
        held.saying = False
        if not self._world.up:
            return  # a gap of the watch; `watch_again` goes on from what was written down
        unsaid = held.state.unsaid
        try:
            self._world.publish("watch.publish", unsaid)
        except KuzniaError:
            held.saying = True
            self._world.at(AGAIN_SECONDS, lambda: self._say(held))
            return
        held.state = replace(held.state, unsaid=held.state.unsaid[len(unsaid) :])
        self.say(held)
