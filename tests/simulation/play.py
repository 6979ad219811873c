"""A world from its beginning to its end, and what came of it."""

from __future__ import annotations

import msgspec
from simulation import seams
from simulation.invariants import Violation
from simulation.kubernetes import KubernetesWorld
from simulation.world import Options, World

ONE_IN, WHICH = 64, 21  # these worlds stand on Kubernetes; they take ten times as long as others


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """violation: empty where there is none. hours: virtual. covered: (kind, place) pairs that struck."""

    seed: int
    violation: str
    hours: float
    steps: int
    fired: int
    covered: frozenset[tuple[str, str]]
    ends: dict[str, int]
    lines: tuple[str, ...] = ()


def world_of(seed: int, options: Options) -> World:
    """As the seed draws it."""
    made = KubernetesWorld if options.kubernetes or seed % ONE_IN == WHICH else World
    return made(seed, options)


def simulate(seed: int, options: Options | None = None) -> Result:
    """Play the seed's world. The same seed and options give the same result."""
    world = world_of(seed, options or Options())
    violation = ""
    with seams.placed(world.mirror, lambda _url: world.people.heads(), cards_whole=world.cards_whole):
        try:
            world.run()
        except Violation as found:
            violation = str(found)
    return Result(
        seed=seed,
        violation=violation,
        hours=world.now / 3600,
        steps=world.steps,
        fired=world.fired,
        covered=frozenset(world.faults.covered),
        ends=world.checks.ends(),
        lines=tuple(world.lines),
    )
