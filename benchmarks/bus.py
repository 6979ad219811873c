"""The local bus beside plain SQLite: `python -m benchmarks.bus` (or `make bench-bus`).

Both sides in one run, in turns, on the same disk with the same durability: a loop over SQLite as somebody
would write it by hand for this one purpose, and our bus, store and host with a service that counts what it
hears (quiet), or also says an event and asks for one effect each time (speaking). Each is measured on logs
of growing size. Ratios carry over to other machines; the rates are this machine's, in the state it was in.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from benchmarks.bus_worlds import Ours, Plain, World, counter, stream
from events.envelope import Event

SIZES = (1_000, 10_000, 100_000)
PHASES = ("publish", "react", "replay")
PLAIN = "plain SQLite"


class Sample(msgspec.Struct, frozen=True):
    """One round of one phase: per event, in µs."""

    wall: float
    cpu: float


class Side(msgspec.Struct):
    """A world, and the events that it gets next. samples: size, phase -> rounds."""

    name: str
    world: World
    events: Iterator[Event]
    published: int = 0
    samples: dict[tuple[int, str], list[Sample]] = {}

    def take(self, count: int) -> list[Event]:
        """The next events."""
        self.published += count
        return list(islice(self.events, count))


class Row(msgspec.Struct, frozen=True):
    """One line of the table. rates: events a second, (min, median, max). cpu: µs an event, median.

    cpu_ratio, wall_ratio: to plain SQLite, median of the ratios within each round.
    """

    size: int
    phase: str
    side: str
    rates: tuple[float, float, float]
    cpu: float
    cpu_ratio: float
    wall_ratio: float


def sides(folder: Path) -> list[Side]:
    """All that is compared, each in a home of its own."""
    worlds: dict[str, World] = {
        PLAIN: Plain(folder / "plain"),
        "quiet": Ours(folder / "quiet", counter(speaks=False)),
        "speaking": Ours(folder / "speaking", counter(speaks=True)),
    }
    return [Side(name, world, stream()) for name, world in worlds.items()]


def grow(side: Side, size: int) -> None:
    """Let it live until so many events were published and handled."""
    if size > side.published:
        side.world.publish(side.take(size - side.published))
        side.world.react()


def measure(compared: Sequence[Side], size: int, rounds: int, count: int) -> None:
    """Rounds at one size of the log; who begins changes from round to round."""
    for number in range(rounds):
        first = number % len(compared)
        for side in (*compared[first:], *compared[:first]):
            _round(side, size, count)


def _round(side: Side, size: int, count: int) -> None:
    events = side.take(count)
    side.samples.setdefault((size, "publish"), []).append(_timed(count, lambda: side.world.publish(events)))
    side.samples.setdefault((size, "react"), []).append(_timed(count, side.world.react))
    side.world.replay(count)
    side.samples.setdefault((size, "replay"), []).append(_timed(count, side.world.react))


def _timed(count: int, work: Callable[[], None]) -> Sample:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Sample(wall / count * 1e6, cpu / count * 1e6)


def rows(compared: Sequence[Side]) -> list[Row]:
    """The table: by size, phase, side."""
    floor = compared[0].samples
    return [
        _row(side.name, size, phase, side.samples[size, phase], floor[size, phase])
        for size, phase in floor
        for side in compared
    ]


def _row(name: str, size: int, phase: str, own: Sequence[Sample], floor: Sequence[Sample]) -> Row:
    rates = sorted(1e6 / sample.wall for sample in own)
    pairs = list(zip(own, floor, strict=True))
    return Row(
        size=size,
        phase=phase,
        side=name,
        rates=(rates[0], median(rates), rates[-1]),
        cpu=median(sample.cpu for sample in own),
        cpu_ratio=median(ours.cpu / plain.cpu for ours, plain in pairs),
        wall_ratio=median(ours.wall / plain.wall for ours, plain in pairs),
    )


def flatness(table: Sequence[Row]) -> dict[str, float]:
    """CPU an event on the largest log, over that on the smallest."""
    small, large = min(row.size for row in table), max(row.size for row in table)
    cpu = {(row.side, row.phase, row.size): row.cpu for row in table}
    return {
        f"{row.side}, {row.phase}": cpu[row.side, row.phase, large] / row.cpu
        for row in table
        if row.size == small
    }


def show(table: Sequence[Row], waits: Mapping[str, Mapping[str, float]]) -> None:
    """Print it."""
    print(f"{'log':>7}  {'phase':<8} {'side':<13} {'events/s min':>12} {'median':>7} {'max':>7}"
          f" {'CPU µs':>7} {'CPU ×':>6} {'time ×':>6}")  # fmt: skip
    for row in table:
        low, middle, high = row.rates
        print(f"{row.size:>7}  {row.phase:<8} {row.side:<13} {low:>12.0f} {middle:>7.0f} {high:>7.0f}"
              f" {row.cpu:>7.0f} {row.cpu_ratio:>6.1f} {row.wall_ratio:>6.1f}")  # fmt: skip
    print("× is to plain SQLite in the same round. CPU an event, largest log over smallest:")
    for name, ratio in flatness(table).items():
        print(f"  {name:<24} {ratio:.2f}")
    print("One event at a time, publish to effect, ms:")
    for name, times in waits.items():
        print(f"  {name:<24} p50 {times['p50']:.2f}  p95 {times['p95']:.2f}")


def alone(folder: Path, count: int) -> dict[str, dict[str, float]]:
    """One event at a time, from publish to its effect, in ms: p50 and p95."""
    performed = threading.Event()
    plain, ours = (
        Plain(folder / "plain-alone"),
        Ours(folder / "alone", counter(speaks=True, told=performed.set)),
    )
    found = {
        PLAIN: sorted(plain.alone(islice(stream(), count))),
        "speaking": sorted(ours.alone(islice(stream(), count), performed)),
    }
    plain.close()
    ours.close()
    return {
        name: {"p50": times[len(times) // 2] * 1e3, "p95": times[len(times) * 95 // 100] * 1e3}
        for name, times in found.items()
    }


def machine() -> dict[str, Any]:
    """On what, and how busy it was."""
    return {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "load": os.getloadavg(),
    }


def run(sizes: Sequence[int], rounds: int, count: int, folder: Path) -> tuple[list[Row], dict[str, Any]]:
    """The table, and the times of one event at a time."""
    compared = sides(folder)
    for size in sorted(sizes):
        for side in compared:
            print(f"{side.name}: to {size} events", file=sys.stderr)
            grow(side, size)
        measure(compared, size, rounds, count)
    for side in compared:
        side.world.close()
    return rows(compared), alone(folder, count)


def main(words: Sequence[str]) -> int:
    """Measure, print, and with --json write."""
    parser = argparse.ArgumentParser(prog="benchmarks.bus", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="events in the log before")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--events", type=int, default=500, help="in each round")
    parser.add_argument("--folder", type=Path, default=Path(), help="on which disk (default: here)")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    arguments = parser.parse_args(words)
    before = machine()
    with tempfile.TemporaryDirectory(prefix=".bench-bus-", dir=arguments.folder) as folder:
        table, waits = run(arguments.sizes, arguments.rounds, arguments.events, Path(folder))
    show(table, waits)
    if arguments.json:
        facts = {
            "before": before,
            "after": machine(),
            "rows": msgspec.to_builtins(table),
            "flat": flatness(table),
            "alone": waits,
        }
        arguments.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
