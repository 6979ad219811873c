"""One workload under supervision: looks at the facts, does what is due, says when to look again."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from signal import SIGKILL, SIGTERM

import msgspec
from msgspec.structs import replace

from events.envelope import Event
from shared.errors import Retry
from shared.local.cluster import addresses, logs, memory, processes, spec, state, verdict
from shared.local.cluster.around import Around, Look
from shared.local.cluster.attempt import Attempt, Sight
from shared.local.cluster.disk import write_whole
from shared.local.cluster.layout import Layout
from shared.local.cluster.probes import Probe
from shared.local.cluster.processes import Process
from shared.local.cluster.state import FINISHED, STOPPED, SUSPENDED, Ending

_SAMPLE_SECONDS = 1.0  # memory
_UNHURRIED_SECONDS = 10.0  # the size of the log, and markers left by another process
_SOON_SECONDS = 0.02
_REPEAT_SECONDS = 0.2  # kills
_SWEEPS = 25
_LAUNCHES = 5


class Watched:
    """Used by the supervisor's thread only, which alone writes a workload's state."""

    def __init__(self, layout: Layout, around: Around) -> None:
        self.layout = layout
        self.workload = spec.load(layout)
        self.state = state.load(layout)
        self._around = around
        self._attempt = Attempt(layout.attempt(self.state.attempt))
        self._pidfd = -1
        self._probe: Probe | None = None
        self._sampled = 0.0
        self._tidied = 0.0
        self._sweeps = 0
        self._launches = 0

    @property
    def finished(self) -> bool:
        """Nothing will happen any more."""
        return self.state.phase in FINISHED

    @property
    def under_way(self) -> bool:
        """An attempt has begun, and its end was not yet dealt with."""
        return not self.finished and self._attempt.look() is not Sight.NEVER_BEGAN

    def step(self, look: Look) -> float | None:
        """Do what is due. Returns after how many seconds to look again; None: when something happens.

        Raises Retry (disk full) and OSError; whatever was done is found again by the next step.
        """
        if self.finished:
            return None
        sight = self._attempt.look()
        if sight is Sight.RUNS:
            return self._attend(look)
        if sight is Sight.OVER or self.state.phase != "pending":
            return self._conclude(look)
        return self._begin(look)

    def say(self, publish: Callable[[Sequence[Event]], None]) -> None:
        """Publish what is unsaid, then note that it was said. Raises what `publish` raises."""
        if self.state.unsaid:
            publish(self.state.unsaid)
            self._save(replace(self.state, unsaid=()))

    def suspend(self, now: datetime) -> None:
        """Begin to end the attempt; it will be started again by the next platform."""
        if self.under_way and self.state.ending is None:
            self._end(SUSPENDED, "", now)

    def release(self) -> None:
        """Let go of what was taken from the kernel; the processes go on."""
        if self._probe:
            self._probe.stop()
            self._probe = None
        if self._pidfd >= 0:
            self._around.waits.unwatch(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def _begin(self, look: Look) -> float | None:
        if self.layout.stopped.exists():
            self._save(verdict.stopped_before_start(self.state))
            return None
        if look.closing:
            return None
        early = self.state.due_at - look.seconds
        if 0 < early <= verdict.LONGEST_BACKOFF:  # more than that means that the clock was set back
            return early
        if self._launches >= _LAUNCHES:
            message = f"it ended {_LAUNCHES} times before it could begin; {logs.last_words(self.layout)}"
            self._save(verdict.could_not_start(self.workload, self.state, message, look.now))
            return None
        self._launch(look)
        return _SOON_SECONDS * float(2**self._launches)

    def _launch(self, look: Look) -> None:
        self._attempt.reap()
        if self.state.ending:  # of a platform that was killed while it closed
            self._save(replace(self.state, ending=None))
        write_whole(self.layout.document, msgspec.json.encode(self.workload.document))
        variables = {
            "PYTHONUNBUFFERED": "1",  # so that the log is there when the pod is killed
            **self._around.environment,
            "KUZNIA_POD": str(self.layout.document),
            "KUZNIA_ATTEMPT": str(self.state.attempt),
        }
        if self.workload.kind == "server":
            self._attempt.address = addresses.choose(str(self._attempt.folder), self._around.taken())
            variables["KUZNIA_ADDRESS"] = self._attempt.address
        command = [sys.executable, "-m", self.workload.module]
        title = f"{logs.MARK} {self.state.attempt} of {self.workload.name}, {look.now.isoformat(timespec='seconds')}"
        self._attempt.launch(command, variables, log=self.layout.log, title=title)
        self._launches += 1

    def _attend(self, look: Look) -> float | None:
        wrapper = self._hold()
        if wrapper is None:
            return _SOON_SECONDS  # it has not yet written down who it is
        self._note_beginning(look)
        ending = self._why_end(look)
        if ending:
            return self._press(ending, look)
        if self.workload.kind == "server" and self.state.phase == "running":
            self._ask_ready(look)
        self._tidy(look)
        return min(self._next_looks(look))

    def _hold(self) -> Process | None:
        """The wrapper, with a handle that tells of its end."""
        wrapper = self._attempt.wrapper()
        if wrapper and self._pidfd < 0:
            with suppress(OSError):  # it has just ended, or the kernel is too old: we look again soon
                self._pidfd = os.pidfd_open(wrapper.pid)
                self._around.waits.watch(self._pidfd)
        return wrapper

    def _note_beginning(self, look: Look) -> None:
        if self.state.phase == "pending":
            at, address = self._attempt.began_at, self._attempt.address
            self._save(verdict.began(self.workload, self.state, at=at, address=address, now=look.now))

    def _why_end(self, look: Look) -> Ending | None:
        ending = self.state.ending
        if (ending is None or ending.reason == SUSPENDED) and self.layout.stopped.exists():
            return self._end(STOPPED, "", look.now)
        if ending:
            return ending
        late = verdict.overdue(self.workload, self.state, look.now)
        if late:
            return self._end(late.reason, late.message, look.now)
        limit = self.workload.limits.memory_bytes
        if limit and abs(look.seconds - self._sampled) >= _SAMPLE_SECONDS / 2:
            self._sampled = look.seconds
            used = memory.over(self._attempt.members(look.processes), limit)
            if used:
                message = f"it used {used / 2**20:.0f} MiB; its limit is {limit / 2**20:.0f} MiB"
                return self._end("OutOfMemory", message, look.now, at_once=True)
        return None

    def _end(self, reason: str, message: str, now: datetime, *, at_once: bool = False) -> Ending:
        grace = 0 if at_once else self.workload.limits.grace_seconds
        asked = bool(self.state.ending and self.state.ending.asked)
        ending = Ending(reason=reason, message=message, at=now.timestamp(), grace=grace, asked=asked)
        self._note_ending(ending)
        return ending

    def _note_ending(self, ending: Ending) -> None:
        """A full disk must not keep a process from being ended, so it is enough to know it ourselves."""
        self.state = replace(self.state, ending=ending)
        with suppress(Retry, OSError):
            self._save(self.state)

    def _press(self, ending: Ending, look: Look) -> float:
        """SIGTERM to the pod alone, which knows how to end its children; after the grace SIGKILL to all."""
        left = ending.at + ending.grace - look.seconds
        if not 0 < left <= ending.grace:
            wrapper = self._attempt.wrapper()
            mourner = wrapper.pid if wrapper else 0  # left until last, so that it writes down the exit
            members = self._attempt.members(look.processes)
            processes.send([one for one in members if one.pid != mourner] or members, SIGKILL)
            return _REPEAT_SECONDS
        if not ending.asked:
            pod = self._attempt.pod(look.processes)
            if not pod:
                return _SOON_SECONDS  # between the wrapper's start and the pod's
            processes.send(pod, SIGTERM)
            self._note_ending(replace(ending, asked=True))
        return left

    def _ask_ready(self, look: Look) -> None:
        address = self.state.address
        if self._probe is None:
            self._probe = Probe(address, self.workload.ready_path, self._around.waits.wake)
        if not self._probe.answered.is_set():
            return
        self._probe = None
        members = (process.pid for process in self._attempt.members(look.processes))
        if not addresses.is_a_strangers(address, members):
            self._save(verdict.became_ready(self.workload, self.state, look.now))

    def _tidy(self, look: Look) -> None:
        if abs(look.seconds - self._tidied) >= _UNHURRIED_SECONDS:
            self._tidied = look.seconds
            logs.rotate(self.layout)

    def _next_looks(self, look: Look) -> Iterable[float]:
        yield _UNHURRIED_SECONDS
        if self._pidfd < 0:
            yield _REPEAT_SECONDS
        if self.workload.limits.memory_bytes:
            yield _SAMPLE_SECONDS
        if self.workload.limits.deadline_seconds and self.state.phase == "running":
            left = self.state.began_at + verdict.remaining(self.workload, self.state) - look.seconds
            yield max(left, _SOON_SECONDS)

    def _conclude(self, look: Look) -> float | None:
        self.release()
        self._attempt.reap()
        self._note_beginning(look)
        remains = self._attempt.remains(look.processes)
        if remains and self._sweeps < _SWEEPS:  # a process that waits for a dead disk cannot be killed: go on
            self._sweeps += 1
            processes.send(remains, SIGKILL)
            return _SOON_SECONDS
        self._save(verdict.concluded(self.workload, self.state, self._death(), look.now))
        self._attempt = Attempt(self.layout.attempt(self.state.attempt))
        self._sweeps = self._launches = 0
        return 0

    def _death(self) -> verdict.Death:
        words = logs.last_words(self.layout)
        address = self._attempt.address
        never_ready = bool(address) and self.state.phase != "ready"
        taken = never_ready and ("address already in use" in words.lower() or addresses.in_use(address))
        return verdict.Death(
            exit_code=self._attempt.exit_code(),
            last_words=words,
            port_taken=taken,
            stopped=self.layout.stopped.exists(),
        )

    def _save(self, changed: state.State) -> None:
        state.save(self.layout, changed)
        self.state = changed
