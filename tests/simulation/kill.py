"""Does the simulator find every planted bug? `python tests/simulation/kill.py`; its last line is `killed N of M`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path

import msgspec

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from simulation.mutants import MUTANTS, planted  # noqa: E402 - needs the path above
from simulation.play import simulate  # noqa: E402

MOST_SEEDS = 2000
SAMPLE = 100  # seeds over which the rate is counted
HEAD = """# Planted bugs

Each is a small patch of the real code, or of the ports in memory (`tests/simulation/mutants.py`), that some seed must find. `make mutants` plants them one by one; `python tests/simulation/kill.py --table docs/planted-bugs.md` writes this page.

Share: of the worlds that were played with it: 100, or as many as it took to find it. *No guard*: the store's own last check is taken away too.

| planted bug | what | share | first seed | what the seed says |
|---|---|---|---|---|"""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """first: seed that found it, -1 for none. found: of the first `seeds` seeds."""

    name: str
    what: str
    first: int
    found: int
    seeds: int
    how: str


def judge(number: int, sample: int = SAMPLE, most: int = MOST_SEEDS) -> Verdict:
    """Run seeds against one bug: a sample for the rate, then on until one finds it."""
    bug = MUTANTS[number]
    first, found, seeds, how = -1, 0, 0, ""
    for seed in range(most):
        if seeds >= sample and first >= 0:
            break
        with planted(bug):
            violation = simulate(seed).violation
        seeds += 1
        if violation and first < 0 and simulate(seed).violation:
            raise RuntimeError(f"seed {seed} fails without a planted bug too: mend that first")
        if violation:
            found += 1
            first, how = (seed, violation) if first < 0 else (first, how)
    return Verdict(name=bug.name, what=bug.what, first=first, found=found, seeds=seeds, how=how)


def main(arguments: Sequence[str]) -> int:
    """0: all were found. 1: one survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("JOBS") or 1))
    parser.add_argument("--sample", type=int, default=int(os.environ.get("SAMPLE") or SAMPLE))
    parser.add_argument("--only", default="", help="names that contain this")
    parser.add_argument("--table", type=Path, help="write the table there, as Markdown")
    words = parser.parse_args(arguments)
    asked = [(number, words.sample) for number, bug in enumerate(MUTANTS) if words.only in bug.name]
    print(f"{'planted bug':36} {'found':>7} {'first':>6}  by")
    verdicts = []
    for verdict in _judged(asked, words.jobs):
        verdicts.append(verdict)
        print(_line(verdict), flush=True)
    killed = sum(verdict.first >= 0 for verdict in verdicts)
    if words.table:
        words.table.write_text(table(verdicts), encoding="utf-8")
    print(f"killed {killed} of {len(verdicts)}")
    return int(killed < len(verdicts))


def table(verdicts: Sequence[Verdict]) -> str:
    """All of them, for docs/planted-bugs.md."""
    rows = (
        f"| {verdict.name} | {verdict.what} | {100 * verdict.found / verdict.seeds:.1f} % | {_first(verdict)} "
        f"| {verdict.how[:60].replace('|', '/')} |"
        for verdict in verdicts
    )
    return "\n".join([HEAD, *rows, ""])


def _judged(asked: Sequence[tuple[int, int]], jobs: int) -> Iterator[Verdict]:
    if jobs == 1:
        yield from map(_judge, asked)
        return
    with get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(_judge, asked)


def _judge(asked: tuple[int, int]) -> Verdict:
    return judge(*asked)


def _line(verdict: Verdict) -> str:
    share = f"{100 * verdict.found / verdict.seeds:.1f} %"
    return f"{verdict.name:36} {share:>7} {_first(verdict):>6}  {verdict.how[:70]}"


def _first(verdict: Verdict) -> str:
    return str(verdict.first) if verdict.first >= 0 else "NEVER"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
