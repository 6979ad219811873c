"""Faults: which kinds, at which places, how often. Each world draws its own mix (swarm testing)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

# What may happen around a call, before or after it takes effect.
CALLS = ("error", "crash-before", "crash-after", "timeout", "stall")
KINDS: Mapping[str, tuple[str, ...]] = {
    # the reaction's own calls
    "load": CALLS,  # never stale: the port promises the record as it is, and SQLite and Firestore keep that
    "commit": (*CALLS, "conflict"),
    "publish": CALLS,
    "perform": ("crash-before", "crash-after", "stall"),
    "owing": ("error", "crash-before", "stale"),
    "ack": CALLS,
    "again": CALLS,
    "bury": CALLS,
    # calls of effects, the front door and operators
    "effect.load": ("error", "crash-before", "crash-after", "stale", "interleave"),
    "effect.commit": ("error", "crash-before", "crash-after", "timeout", "conflict", "interleave"),
    "effect.create": ("error", "crash-before", "crash-after", "timeout", "interleave"),
    "effect.read": ("error", "crash-before", "interleave"),
    "effect.apply": ("error", "quota", "crash-before", "crash-after", "timeout", "interleave"),
    "effect.stop": ("error", "quota", "crash-before", "crash-after", "timeout", "interleave"),
    "effect.fetch": ("error", "crash-before", "interleave"),
    "door.publish": ("error", "crash-before", "crash-after", "timeout"),
    "pod.publish": ("error", "timeout"),
    "watch.publish": ("error", "timeout", "late"),
    # the bus
    "bus": ("delay", "duplicate"),
    # pods and engines (models of them)
    "pod.training": ("preempted", "killed", "vanished", "failed", "mute-failure", "mute-success"),
    "pod.evaluation": ("killed", "vanished", "failed", "mute-failure"),
    "pod.engine": ("killed", "vanished", "mute-failure", "never-ready"),
    # the world around, as hazards a minute
    "world": ("clock-jump", "restart", "disk-full", "newer-schema", "lost-webhook"),
}
MOST = 0.12  # of the calls of one place, at most, a kind
MOST_SELDOM = 0.4  # of what is asked a few times a world only
SELDOM = frozenset({"pod.training", "pod.evaluation", "pod.engine", "world"})


def pairs() -> list[tuple[str, str]]:
    """All (kind, place) there are."""
    return [(kind, place) for place, kinds in KINDS.items() for kind in kinds]


class Injector:
    """Decides at each place whether something goes wrong there.

    without: kinds that are left out. limit: how many faults may fire, -1 for any number; the shrinker uses both.
    """

    def __init__(self, rand: Random, *, without: Sequence[str] = (), limit: int = -1) -> None:
        self._next = rand.random
        self.on = True
        self.fired = 0
        self.covered: set[tuple[str, str]] = set()
        self.told: Callable[[str, str], None] = lambda _kind, _place: None
        self._without = frozenset(without)
        self._limit = limit
        self._tables = {
            place: self._drawn(kinds, MOST_SELDOM if place in SELDOM else MOST)
            for place, kinds in KINDS.items()
        }
        if rand.random() < 0.1:  # a calm world shows that faults are not what makes it work
            self._tables = {}

    def _drawn(self, kinds: Sequence[str], most: float) -> list[tuple[float, str]]:
        """Kinds with the upper bounds of their shares; most worlds have only some of them."""
        bound, table = 0.0, []
        for kind in kinds:
            chosen, strength = self._next(), self._next()
            if chosen < 0.35:
                bound += most * strength * strength
                table.append((bound, kind))
        return table

    def hit(self, place: str) -> str:
        """The kind that strikes here and now, or empty."""
        table = self._tables.get(place)
        if not table or not self.on:
            return ""
        drawn = self._next()
        if drawn >= table[-1][0]:
            return ""
        kind = next(kind for bound, kind in table if drawn < bound)
        if kind in self._without or self.fired == self._limit:
            return ""
        self.fired += 1
        self.covered.add((kind, place))
        self.told(kind, place)
        return kind

    def draw(self) -> float:
        """A number in [0, 1) for how long or how much."""
        return self._next()
