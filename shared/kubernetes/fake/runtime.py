"""What runs a container for the kubelet: a model of it, stepped by the test, or a process of this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

import msgspec

from shared.kubernetes.fake.objects import Object

TERMINATED, KILLED = 143, 137


class Exit(msgspec.Struct, frozen=True):
    """code: as the shell tells it. reason: `Completed`, `Error`, `OOMKilled`."""

    code: int
    reason: str


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """One start of a container. environment: complete. files: path in the container -> content."""

    pod: Object
    container: Object
    environment: Mapping[str, str]
    files: Mapping[str, bytes]

    @property
    def key(self) -> str:
        """Of the container."""
        return key_of(self.pod, self.container["name"])


def key_of(pod: Object, container: str) -> str:
    """Of a container of one pod."""
    return f"{pod['metadata']['uid']}/{container}"


class Runtime(Protocol):
    """Containers by key; each method is called by one thread."""

    def address(self, pod: Object) -> str:
        """The pod's own IP address."""
        ...

    def start(self, start: Start) -> None:
        """Begin. Raises OSError where it cannot."""
        ...

    def poll(self, key: str) -> Exit | None:
        """How it ended, or None while it runs."""
        ...

    def answers(self, pod: Object, container: str, probe: Object) -> bool:
        """Whether a probe succeeds now."""
        ...

    def end(self, key: str, *, kill: bool) -> None:
        """SIGTERM, or SIGKILL."""
        ...

    def output(self, key: str, *, previous: bool) -> str:
        """What it has written."""
        ...

    def forget(self, pod: Object) -> None:
        """Its pod is gone."""
        ...


class Life(msgspec.Struct, kw_only=True):
    """A model of a container. seconds: until it ends by itself, None: never. on_term: its exit code then."""

    seconds: float | None = None
    code: int = 0
    output: str = ""
    ready_after: float = 0
    on_term: int = TERMINATED
    began: datetime | None = None
    exit: Exit | None = None


class ModelRuntime:
    """lives: told each start, it says how the container lives; it is then at the hand of `life`."""

    def __init__(
        self, now: Callable[[], datetime], lives: Callable[[Start], Life] = lambda _start: Life()
    ) -> None:
        self._now = now
        self.lives = lives
        self._held: dict[str, Life] = {}
        self._before: dict[str, Life] = {}
        self._addresses: dict[str, str] = {}

    def life(self, pod: Object, container: str = "") -> Life:
        """Of a container that was started; of the pod's first where none is named."""
        return self._held[key_of(pod, container or pod["spec"]["containers"][0]["name"])]

    def address(self, pod: Object) -> str:
        """See `Runtime.address`."""
        number = len(self._addresses) + 1
        return self._addresses.setdefault(pod["metadata"]["uid"], f"10.8.{number // 250}.{number % 250 + 1}")

    def start(self, start: Start) -> None:
        """See `Runtime.start`."""
        if start.key in self._held:
            self._before[start.key] = self._held[start.key]
        life = self._held[start.key] = self.lives(start)
        life.began = self._now()

    def poll(self, key: str) -> Exit | None:
        """See `Runtime.poll`."""
        life = self._held.get(key)
        if life is None:
            return Exit(KILLED, "ContainerStatusUnknown")
        over = (
            life.seconds is not None
            and life.began
            and (self._now() - life.began).total_seconds() >= life.seconds
        )
        if life.exit is None and over:
            life.exit = Exit(life.code, "Error" if life.code else "Completed")
        return life.exit

    def answers(self, pod: Object, container: str, probe: Object) -> bool:  # noqa: ARG002 - the protocol's names
        """See `Runtime.answers`."""
        life = self._held[key_of(pod, container)]
        return bool(life.began and (self._now() - life.began).total_seconds() >= life.ready_after)

    def end(self, key: str, *, kill: bool) -> None:
        """See `Runtime.end`."""
        life = self._held.get(key)
        if life and life.exit is None:
            code = KILLED if kill else life.on_term
            life.exit = Exit(code, "Error" if code else "Completed")

    def output(self, key: str, *, previous: bool) -> str:
        """See `Runtime.output`."""
        life = (self._before if previous else self._held).get(key)
        return life.output if life else ""

    def forget(self, pod: Object) -> None:
        """See `Runtime.forget`."""
        for container in pod["spec"]["containers"]:
            self._held.pop(key_of(pod, container["name"]), None)
