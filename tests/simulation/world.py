"""One seed, one world: a virtual clock, ports in memory, the real services, people, pods, and what goes wrong.

Phases: faults; then all is healed and the world has to come to rest within so many virtual hours; then every
event is delivered again, and nothing may change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from heapq import heappop, heappush
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from msgspec.structs import replace
from simulation.cluster import MemoryCluster
from simulation.faults import Injector
from simulation.host import INJECTED, Crash, Host, newer
from simulation.invariants import Checks, Violation
from simulation.memory import MemoryArtifacts, MemoryBus, MemoryStore
from simulation.repository import Forge, ForgeMirror
from simulation.workload import People

from events.envelope import Event
from services.discovery import discover
from shared.errors import Conflict, Retry, Unknown
from shared.ports.bus import Delivery
from shared.ports.cluster import Workload
from shared.record import Record
from shared.service import Ports, Service
from shared.settings import Settings

EPOCH = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
FAULTY_SECONDS = 400.0
HOURS_TO_REST = 6.0
MOST_STEPS = 60_000
ROUNDS = 8
MOST_DEPTH = 2
_encode = msgspec.json.Encoder().encode
_records = msgspec.json.Decoder(Record).decode
_events = msgspec.json.Decoder(Event).decode


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the shrinker may take away. without: kinds of faults. pushes: how many at most, -1 for as drawn.

    limit: only so many faults, -1 for any number. models: the more, the more names. told: keep the story.
    kubernetes: every world's cluster is Kubernetes, not only that of one seed in 64.
    """

    without: tuple[str, ...] = ()
    pushes: int = -1
    limit: int = -1
    models: int = 3
    told: bool = False
    kubernetes: bool = False


@cache
def services() -> Mapping[str, Service]:
    return discover()


class World:
    """Built from a seed, run once."""

    def __init__(self, seed: int, options: Options) -> None:
        self.seed, self.options = seed, options
        self._rand = Random(f"{seed}/schedule")
        self.chance = self._rand.random
        self.faults = Injector(Random(f"{seed}/faults"), without=options.without, limit=options.limit)
        self.faults.told = self._fault
        self.now, self.skew, self.epoch, self.steps = 0.0, 0.0, 0, 0
        self.up, self.disk_full, self.newer = True, False, False
        self.embedded = self.chance() < 0.5
        self.cards_whole = seed % 32 == 0
        self.outsiders = seed % 4 == 2  # other systems asked to be told of everything
        self._through_bytes = seed % 8 == 1
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count, self._depth, self._jumped = 0, 0, 0.0
        self.lines: list[str] = []
        self.settings = Settings(
            home=Path("/simulated"),
            cache=Path("/simulated/cache"),
            max_attempts=(2, 3, 8)[int(3 * self.chance())],
            lease_seconds=(10.0, 60.0)[int(2 * self.chance())],
            reconcile_seconds=(5.0, 5.0, 30.0)[int(3 * self.chance())],
        )
        self._compose()

    def _compose(self) -> None:
        self.checks = Checks(self)
        self.clock = WorldClock(self)
        self.bus = MemoryBus(self.seconds, self.moment, self.settings.lease_seconds)
        self.bus.pause, self.bus.repeated = self._pause, self._repeated
        self.store = MemoryStore(self._committed)
        self.artifacts = MemoryArtifacts()
        self.cluster = MemoryCluster(self, self._created)
        self.forge = Forge()
        self._fetched: set[str] = set()
        self.host = Host(self, services(), workers=1 + int(6 * self.chance()))
        self.bus.changed = self.host.wake
        if self.seed % 8 != 3:
            self.bus.concerns = self._concerns
        for service in services().values():
            if service.name != "outbound" or self.outsiders:
                self.bus.subscribe(service.name, service.hears)
        ports: Any = Ports(
            store=EffectStore(self),  # type: ignore[arg-type]
            artifacts=EffectArtifacts(self),  # type: ignore[arg-type]
            cluster=EffectCluster(self),  # type: ignore[arg-type]
            clock=self.clock,
            settings=self.settings,
        )
        self.host.effects = {name: service.effects(ports) for name, service in services().items()}
        self.people = People(self, Random(f"{self.seed}/people"))

    def mirror(self, _path: Path) -> ForgeMirror:
        """What stands for the mirror of a repository on disk."""
        self.within("effect.fetch", lambda: None)
        return ForgeMirror(self.forge, self._fetched)

    @property
    def fired(self) -> int:
        """How many faults struck."""
        return self.faults.fired

    # --- time

    def at(self, delay: float, do: Callable[[], None]) -> None:
        self._count += 1
        heappush(self._heap, (self.now + delay, self._count, do))

    def seconds(self) -> float:
        """The wall clock, which may jump."""
        return self.now + self.skew

    def moment(self) -> datetime:
        return EPOCH + timedelta(0, self.now + self.skew)

    def wall(self, moment: datetime | None) -> float:
        """That moment in the seconds of the wall clock; the beginning where there is none."""
        return (moment - EPOCH).total_seconds() if moment else 0.0

    @property
    def jumped(self) -> float:
        """How far the clock has ever been set back in all, seconds."""
        return self._jumped

    def service(self, name: str) -> Service:
        return services()[name]

    def _concerns(self, service: str, event: Event) -> bool:
        """Whether it would do more than strike it off: a saving, which some worlds do without."""
        return services()[service].key(event) is not None

    def unsettled(self, delivery: Delivery) -> bool:
        """Whether something is still on its way that this delivery may wait for."""
        others = any(entry.lease != delivery.lease for entry in self.bus.pending())
        running = any(held.pod for held in self.cluster.held.values())
        return bool(others or running or self.store.owed or self.bus.dead_letters())

    def pump(self, until: float) -> None:
        """Let happen what is due, until that time or until nothing is left."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self._next()

    def _next(self) -> None:
        self.now, _, do = heappop(self._heap)
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise Violation("I5: it goes on and on: no rest after so many steps")
        do()

    # --- what the parts tell the world

    def fail(self, what: str) -> None:
        raise Violation(f"unexpected: {what}")

    def tell(self, line: str) -> None:
        if self.options.told:
            self.lines.append(f"{self.now:8.1f} {line}")

    def _fault(self, kind: str, place: str) -> None:
        self.tell(f"FAULT {kind} at {place}")

    def _committed(self, old: Record, new: Record) -> None:
        self.checks.committed(old, new)
        if self.options.told:
            owes = ", ".join(getattr(i, "effect", None) or i.event.name for i in new.outbox)
            self.tell(f"{new.key} r{new.revision} {new.status}{' DEAD' if new.dead else ''} owes [{owes}]")
        self.cluster.ordered(new.key)
        if new.outbox:
            self.host.sweep_soon()

    def _created(self, workload: Workload) -> None:
        self.tell(f"cluster: {workload.name} created")
        self.checks.created(workload)

    def trained(self, run: str, digest: str) -> None:
        self.checks.finals.setdefault(run, digest)

    def measured(self, key: str, role: str, outcome: str, score: float) -> None:
        self.checks.measured.setdefault((key, role), (outcome, score))

    def lend(self, entry: Any) -> Delivery:
        delivery = self.bus.lend(entry)
        if self.newer and self.faults.on:
            delivery = replace(delivery, event=newer(delivery.event))
        if self._through_bytes:
            delivery = replace(delivery, event=_events(_encode(delivery.event)))
        self.tell(
            f"{delivery.service} hears {delivery.event.name} {delivery.event.id[:6]} try {delivery.attempt}"
        )
        return delivery

    def load(self, key: str) -> Record:
        """A record; in some worlds as its bytes tell it, with what a newer version of ours has added."""
        record = self.store.load(key)
        if not self._through_bytes:
            return record
        body = msgspec.json.decode(_encode(record)) | {"x_newer": 1}
        return _records(_encode(body))

    def _pause(self) -> float:
        self._drawn = self.faults.hit("bus")
        return 150 * self.faults.draw() if self._drawn == "delay" else 0.0

    def _repeated(self) -> bool:
        return self._drawn == "duplicate"

    # --- calls from outside the reaction

    def publish(self, place: str, events: Sequence[Event]) -> None:
        """Pods, the cluster's watch and the front door speak."""
        kind = self.faults.hit(place)
        if kind == "crash-before":
            raise Crash
        if kind in ("error", "late") or self.disk_full:
            raise Retry(f"{INJECTED}: {place} was not accepted")
        self.bus.publish(events)
        for event in events:
            self.tell(f"{event.source} says {event.name} {event.id[:6]}")
        if kind == "crash-after":
            raise Crash
        if kind == "timeout":
            raise Unknown(f"{INJECTED}: the answer of {place} was lost")

    def within(self, place: str, act: Callable[[], Any]) -> Any:
        """A port call of an effect; others may run just before it."""
        epoch = self.epoch
        kind = self.faults.hit(place)
        if kind == "interleave" and self._depth < MOST_DEPTH:
            self._depth += 1
            try:
                self._others()
            finally:
                self._depth -= 1
        if kind == "crash-before" or epoch != self.epoch:
            raise Crash
        if kind in ("error", "quota"):
            raise Retry(f"{INJECTED}: {place} {kind}", after=5.0 if kind == "quota" else None)
        if kind == "conflict":
            raise Conflict(f"{INJECTED}: {place}")
        if self.disk_full and place in ("effect.commit", "effect.create"):
            raise Retry(f"{INJECTED}: {place}: the disk is full")
        answer = act()
        if kind == "crash-after":
            raise Crash
        if kind == "timeout":
            raise Unknown(f"{INJECTED}: the answer of {place} was lost")
        return answer

    def _others(self) -> None:
        for _ in range(1 + int(20 * self.faults.draw())):
            if self._heap:
                self._next()

    # --- what goes wrong with the world

    def crash(self) -> None:
        """All workers die at once; the cluster and its pods go on."""
        self.epoch += 1
        self.up = False
        self.host.restart()
        epoch = self.epoch
        self.at(1 + 30 * self.faults.draw(), lambda: self._restart(epoch))

    def _restart(self, epoch: int) -> None:
        if epoch != self.epoch:
            return
        self.up = True
        self.tell("the platform starts again")
        if self.embedded:
            self.bus.expire_leases()
        self.host.wake()
        self.host.sweep_soon()
        self.cluster.watch_again()

    def _hazard(self) -> None:
        kind = self.faults.hit("world")
        draw = self.faults.draw
        if kind == "clock-jump":
            jump = 1200 * draw() - 600
            self.skew += jump
            self._jumped += max(0.0, -jump)
            self.host.sweep_soon()  # what was due in an hour may be due now
        elif kind == "restart":
            self.crash()
        elif kind == "disk-full":
            self.disk_full = True
            self.at(90 * draw(), self._disk_freed)
        elif kind == "newer-schema":
            self.newer = not self.newer
        if self.now < FAULTY_SECONDS:
            self.at(20, self._hazard)

    def _disk_freed(self) -> None:
        self.disk_full = False

    # --- phases

    def run(self) -> None:
        """All phases. Raises Violation."""
        self.people.begin()
        self.at(10, self._hazard)
        self.pump(FAULTY_SECONDS)
        self._heal()
        self._rest()
        for _ in range(ROUNDS):
            acted = self.people.settle()
            self._rest()
            if not acted:
                break
        self.checks.at_rest()
        self._replay()

    def _heal(self) -> None:
        self.tell("--- all is healed")
        self.faults.on = False
        self.disk_full = self.newer = False
        if not self.up:
            self._restart(self.epoch)
        until = self.now
        for _ in range(3 if self.people.most_runs is not None else 0):
            self.people.redrive()  # or who waits for the slot of a dead run would ask on and on
            until += 600 + self._jumped / 3  # what was due waits until the old time comes again
            self.pump(until)
        self.checks.nobody_waits_in_vain()

    def _rest(self) -> None:
        until = self.now + HOURS_TO_REST * 3600
        self.pump(until)
        if self._heap:
            raise Violation(f"I5: not at rest {HOURS_TO_REST:g} virtual hours after all was healed")

    def _replay(self) -> None:
        self.tell("--- every event again")
        before = self.checks.state()
        order = list(self.bus.events)
        if self.seed % 2:
            self._rand.shuffle(order)
        for event in order:
            self.checks.replaying(event)
        self.host.wake()
        self._rest()
        self.checks.same(before)


class WorldClock:
    """The wall clock as a port."""

    def __init__(self, world: World) -> None:
        self.now = world.moment


class EffectStore:
    """The store as effects see it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def load(self, key: str) -> Record:
        world = self._world
        return world.within("effect.load", lambda: world.load(key))

    def list(self, kind: str, *, status: str = "") -> Sequence[Record]:
        world = self._world
        return world.within("effect.load", lambda: world.store.list(kind, status=status))

    def commit(self, record: Record) -> Record:
        world = self._world
        return world.within("effect.commit", lambda: world.store.commit(record))


class EffectArtifacts:
    """The artifacts as effects see them."""

    def __init__(self, world: World) -> None:
        self._world = world

    def create(self, path: str, content: bytes) -> Any:
        world = self._world
        return world.within("effect.create", lambda: world.artifacts.create(path, content))

    def write(self, path: str, content: bytes) -> Any:
        world = self._world
        return world.within("effect.create", lambda: world.artifacts.write(path, content))

    def read(self, path: str) -> bytes:
        world = self._world
        return world.within("effect.read", lambda: world.artifacts.read(path))

    def uri(self, path: str) -> str:
        return self._world.artifacts.uri(path)


class EffectCluster:
    """The cluster as effects see it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def apply(self, workload: Workload) -> None:
        world = self._world
        world.within("effect.apply", lambda: world.cluster.apply(workload))

    def stop(self, name: str) -> None:
        world = self._world
        world.within("effect.stop", lambda: world.cluster.stop(name))

    def status(self, name: str) -> Any:
        return self._world.cluster.status(name)
