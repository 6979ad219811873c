"""A failing seed made small: fewer kinds of faults, fewer models and pushes, a shorter tape of faults."""

from __future__ import annotations

import subprocess
from pathlib import Path

from msgspec.structs import replace
from simulation.faults import KINDS
from simulation.play import Result, simulate
from simulation.world import Options

MOST_LINES = 20
ROOT = Path(__file__).resolve().parents[2]


def shrunk(seed: int, options: Options | None = None) -> tuple[Options, Result]:
    """The smallest options found under which the seed still breaks the same invariant; and that run, told."""
    options = options or Options()
    broken = _kind(simulate(seed, options))
    for smaller in _fewer(options):
        if _kind(simulate(seed, smaller)) == broken:
            options = smaller
            break
    for kind in sorted({kind for kinds in KINDS.values() for kind in kinds}):
        without = replace(options, without=(*options.without, kind))
        if _kind(simulate(seed, without)) == broken:
            options = without
    options = _shorter_tape(seed, options, broken)
    return options, simulate(seed, replace(options, told=True))


def _kind(result: Result) -> str:
    """The invariant that broke, without what it broke on."""
    return result.violation.split(":", 1)[0]


def _fewer(options: Options) -> list[Options]:
    """Fewest models and pushes first."""
    return [replace(options, models=m, pushes=p) for m in (0, 1, 2) for p in (1, 2, 3)]


def _shorter_tape(seed: int, options: Options, broken: str) -> Options:
    """The fewest first faults that still break it. Bisection: what breaks it need not break it with more."""
    low, high = 0, simulate(seed, options).fired
    while low < high:
        middle = (low + high) // 2
        if _kind(simulate(seed, replace(options, limit=middle))) == broken:
            high = middle
        else:
            low = middle + 1
    shortest = replace(options, limit=high)
    return shortest if _kind(simulate(seed, shortest)) == broken else options


def timeline(result: Result) -> list[str]:
    """At most 20 lines: all faults and people's words if they fit, and what came last."""
    lines = [line[:160] for line in result.lines]
    if len(lines) <= MOST_LINES:
        return lines
    last = lines[-MOST_LINES // 2 :]
    telling = [
        line
        for line in lines[: -MOST_LINES // 2]
        if any(word in line for word in ("FAULT", "push ", "people"))
    ]
    return [*telling[-(MOST_LINES // 2 - 1) :], "     ...", *last]


def report(seed: int, options: Options | None = None) -> str:
    """What a person needs to find the bug: seed, commit, what is left of the world, and its last lines."""
    smallest, result = shrunk(seed, options)
    commit = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    head = f"seed {seed} at commit {commit or 'unknown'}: {result.violation}"
    left = f"left: {result.fired} fault(s), models {smallest.models}, pushes {smallest.pushes}, without {smallest.without}"
    again = f"again: python tests/simulation/run.py --seed {seed}"
    return "\n".join((head, left, again, *timeline(result)))
