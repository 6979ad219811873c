"""The host of the simulated platform: steps the real generators call by call, with a fault point at each one.

It stands where `shared.hosts.embedded` and `shared.hosts.driver` stand in production, and does what they do.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any

from msgspec.structs import replace

from shared import delivery as outcomes
from shared.delivery import Ack, Again, Bury, Owing
from shared.errors import Conflict, KuzniaError, Retry, Unknown
from shared.ports.bus import Delivery
from shared.reaction import Commit, Load, Now, Perform, Publish
from shared.record import Record, Say
from shared.service import Effect, Service

INJECTED = "injected"
NEVER = float("inf")
PLACES: Mapping[type, str] = {
    Load: "load",
    Commit: "commit",
    Publish: "publish",
    Perform: "perform",
    Ack: "ack",
    Again: "again",
    Bury: "bury",
    Owing: "owing",
}


class Crash(BaseException):
    """The process ends here: nothing of ours runs any more, no handler, no `finally`."""


class Task:
    """One generator on its way. natural: the last error thrown into it that no fault explains."""

    __slots__ = ("call", "delivery", "epoch", "generator", "performed", "raised", "what")

    def __init__(self, generator: Generator[Any, Any, Any], delivery: Delivery | None, epoch: int) -> None:
        self.generator = generator
        self.delivery = delivery
        self.epoch = epoch
        self.call: Any = None
        self.performed = False
        self.raised: Exception | None = None
        self.what = f"{delivery.service} {delivery.event.name}" if delivery else "sweep"


class Host:
    """Workers that take deliveries, and the sweep. World: see `simulation.world`."""

    def __init__(self, world: Any, services: Mapping[str, Service], *, workers: int) -> None:
        self._world = world
        self._faults = world.faults
        self._services = services
        self._workers = workers
        self._busy = 0
        self._sweeping = False
        self._sweep_at = self._waking = NEVER
        self.effects: Mapping[str, Mapping[str, Effect]] = {}
        self._carry: dict[type, Callable[[Any], Any]] = {
            Load: lambda call: world.load(call.key),
            Commit: lambda call: world.store.commit(call.record),
            Owing: lambda call: world.store.owing(before=call.before),
            Publish: lambda call: world.bus.publish(call.events),
            Perform: lambda call: self.effects[call.service][call.do.effect](call.do, call.record),
            Ack: lambda call: world.bus.ack(call.delivery),
            Again: lambda call: world.bus.retry(call.delivery, call.after, call.error),
            Bury: lambda call: world.bus.bury(call.delivery, call.cause),
        }

    def restart(self) -> None:
        """All workers are gone; what was theirs is forgotten."""
        self._busy = 0
        self._sweeping = False
        self._sweep_at = self._waking = NEVER

    # --- deliveries

    def wake(self) -> None:
        """Something changed on the bus: look when the next delivery is due."""
        if self._waking <= self._world.now or self._busy >= self._workers or not self._world.up:
            return  # it will be looked at anyway
        due = self._world.bus.next_due()
        if due is None:
            return
        at = max(self._world.now, due - self._world.skew)
        if at < self._waking:
            self._waking = at
            epoch = self._world.epoch
            self._world.at(at - self._world.now + 0.0005, lambda: self._dispatch(epoch))

    def _dispatch(self, epoch: int) -> None:
        if epoch != self._world.epoch:
            return
        self._waking = NEVER
        self._take()

    def _take(self) -> None:
        """Deliveries for the idle workers, any of those that are due."""
        world = self._world
        while self._busy < self._workers:
            due = world.bus.due()
            if not due:
                self.wake()
                return
            self._handle(world.lend(due[int(world.chance() * len(due))]))

    def _handle(self, delivery: Delivery) -> None:
        service = self._services[delivery.service]
        generator = outcomes.handle(service, delivery, self._world.settings.max_attempts)
        self._busy += 1
        self._start(Task(generator, delivery, self._world.epoch))

    # --- the sweep

    def sweep_soon(self) -> None:
        """A record owes something: a round of the sweep looks at it when it is due.

        Rounds that would find nothing to do are left out; they are most of them.
        """
        if self._sweeping:
            return
        due = min(map(self._owes_at, self._world.store.owed.values()), default=NEVER)
        if due == NEVER:
            return
        world, seconds = self._world, self._world.settings.reconcile_seconds
        rounds = max(world.now // seconds + 1, -((world.skew - due) // seconds))
        at = rounds * seconds + 0.001
        if at < self._sweep_at:
            self._sweep_at = at
            epoch = world.epoch
            world.at(at - world.now, lambda: self._sweep(epoch, at))

    def _owes_at(self, record: Record) -> float:
        """When the sweep would find something to do for it, wall seconds."""
        quiet = self._world.wall(record.updated_at) + self._world.settings.reconcile_seconds
        first = NEVER
        for intent in record.outbox:
            later = None if isinstance(intent, Say) else intent.not_before
            if later is None:
                return quiet
            first = min(first, self._world.wall(later))
        return max(quiet, first)

    def _sweep(self, epoch: int, at: float) -> None:
        if epoch != self._world.epoch or at != self._sweep_at or self._sweeping:
            return
        self._sweep_at = NEVER
        if not self._world.up:  # a zombie of before asked for it; the next start asks again
            return
        self._sweeping = True
        generator = outcomes.sweep(self._services, self._world.settings.reconcile_seconds)
        self._start(Task(generator, None, epoch))

    # --- steps

    def _start(self, task: Task) -> None:
        self._advance(task, None, None)

    def _advance(self, task: Task, answer: Any, error: Exception | None) -> None:
        """Let the generator run to its next call, and set that down for a moment later."""
        world, generator = self._world, task.generator
        while True:
            try:
                call = generator.send(answer) if error is None else generator.throw(error)
            except StopIteration:
                self._over(task)
                return
            except KuzniaError:
                self._over(task)  # not even the outcome could be written: the lease runs out
                return
            except Exception as unexpected:
                self._unexpected(task, unexpected)
                return
            if type(call) is not Now:
                break
            answer, error = world.moment(), None
        task.call = call
        world.at(world.chance() * 0.02, lambda: self._carry_out(task))

    def _carry_out(self, task: Task) -> None:
        world = self._world
        if task.epoch != world.epoch:
            return
        call = task.call
        place = PLACES[type(call)]
        kind = self._faults.hit(place)
        if kind == "stall":
            pause = 3 * world.bus.lease_seconds * self._faults.draw()
            world.tell(f"{task.what} hangs {pause:.0f} s before {place}")
            world.at(pause, lambda: self._do(task, call, place, ""))
        elif place == "load" and not kind:
            self._advance(task, world.load(call.key), None)  # the most frequent by far, and it cannot fail
        else:
            self._do(task, call, place, kind)

    def _do(self, task: Task, call: Any, place: str, kind: str) -> None:
        if task.epoch != self._world.epoch:
            return
        answer, error = None, None
        try:
            answer = self._struck(task, call, place, kind)
        except Crash:
            self._crashed(task)
            return
        except KuzniaError as raised:
            error = task.raised = raised
        except Exception as raised:
            self._world.fail(f"{task.what}: {place} raised {type(raised).__name__}: {raised}")
            error = raised
        self._advance(task, answer, error)

    def _struck(self, task: Task, call: Any, place: str, kind: str) -> Any:
        world = self._world
        if kind == "error" or (world.disk_full and place in ("commit", "publish", "again", "bury")):
            raise Retry(f"{INJECTED}: {place} is not to be had")
        if kind == "crash-before":
            raise Crash
        if kind == "conflict":
            raise Conflict(f"{INJECTED}: {place}")
        world.checks.asked(task, call)
        answer = self._stale(call) if kind == "stale" else self._carry[type(call)](call)
        if task.epoch != world.epoch:
            raise Crash  # others ran while an effect did, and all went down
        world.checks.answered(task, call, answer)
        if kind == "crash-after":
            raise Crash
        if kind == "timeout":
            raise Unknown(f"{INJECTED}: the answer of {place} was lost")
        return answer

    def _stale(self, call: Any) -> Any:
        if isinstance(call, Owing):
            return []
        return self._world.store.stale(call.key)

    def _crashed(self, task: Task) -> None:
        self._world.tell(f"crash of {task.what} at {PLACES[type(task.call)]}")
        if self._world.embedded:
            self._world.crash()
        else:
            self._over(task)

    def _over(self, task: Task) -> None:
        if task.delivery is None:
            self._sweeping = False
            self.sweep_soon()
            return
        self._busy -= 1
        if self._world.up:
            self._take()

    def _unexpected(self, task: Task, error: Exception) -> None:
        """As the embedded host: whatever a service raises is a failed attempt; and here it is a violation."""
        self._world.fail(f"{task.what} raised {type(error).__name__}: {error}")
        if task.delivery is None:
            self._over(task)
            return
        service = self._services[task.delivery.service]
        attempts = self._world.settings.max_attempts
        task.generator = outcomes.failed(service, task.delivery, attempts, error)
        self._advance(task, None, None)


def newer(event: Any) -> Any:
    """The same event as a later version of ours would say it: with a field that we do not know."""
    return replace(event, data={**event.data, "x_newer": {"field": 1}})
