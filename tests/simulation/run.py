"""Many seeds: `python tests/simulation/run.py --seeds 2000 --jobs 2 --report out.json`, or one: `--seed 17`.

A run with a report that was cut off goes on where it was when it is asked for again, at the same commit.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from msgspec.structs import replace  # noqa: E402 - needs the path above
from simulation.faults import pairs  # noqa: E402 - needs the path above
from simulation.play import simulate  # noqa: E402
from simulation.shrink import report  # noqa: E402
from simulation.world import Options  # noqa: E402

from shared.identity import content_digest  # noqa: E402

CHUNK = 250
MOST_REPORTS = 3
CORPUS = Path(__file__).with_name("seeds.txt")


class Summary:
    """What many worlds came to."""

    def __init__(self) -> None:
        self.seeds = self.steps = self.faults = 0
        self.hours = 0.0
        self.covered: set[tuple[str, str]] = set()
        self.ends: Counter[str] = Counter()
        self.violations: dict[int, str] = {}

    def add(self, seed: int) -> None:
        """Run one seed and count it."""
        result = simulate(seed)
        self.seeds += 1
        self.steps += result.steps
        self.faults += result.fired
        self.hours += result.hours
        self.covered |= result.covered
        self.ends.update(result.ends)
        if result.violation:
            self.violations[seed] = result.violation

    def join(self, other: Summary) -> None:
        """Add what another one counted."""
        self.seeds += other.seeds
        self.steps += other.steps
        self.faults += other.faults
        self.hours += other.hours
        self.covered |= other.covered
        self.ends.update(other.ends)
        self.violations.update(other.violations)

    @classmethod
    def read(cls, document: dict[str, Any]) -> Summary:
        """The one that told this document."""
        summary = cls()
        summary.seeds, summary.steps = document["seeds"], document["steps"]
        summary.hours, summary.faults = document["virtual_hours"], document["faults"]
        missing = set(document["pairs_missing"])
        summary.covered = {pair for pair in pairs() if " at ".join(pair) not in missing}
        summary.ends.update(document["ends"])
        summary.violations = {int(seed): what for seed, what in document["violations"].items()}
        return summary

    def document(self, seconds: float) -> dict[str, Any]:
        """As JSON types. seconds: of wall time."""
        missing = sorted(f"{kind} at {place}" for kind, place in set(pairs()) - self.covered)
        return {
            "seeds": self.seeds,
            "virtual_hours": round(self.hours, 1),
            "steps": self.steps,
            "faults": self.faults,
            "pairs_covered": len(self.covered),
            "pairs": len(pairs()),
            "pairs_missing": missing,
            "ends": dict(sorted(self.ends.items())),
            "violations": {str(seed): what for seed, what in sorted(self.violations.items())},
            "seconds": round(seconds, 1),
            "seeds_per_second": round(self.seeds / max(seconds, 1e-9), 1),
        }


def corpus() -> list[int]:
    """Every seed that ever failed."""
    lines = CORPUS.read_text(encoding="utf-8").splitlines()
    return [int(line.split()[0]) for line in lines if line.strip() and not line.startswith("#")]


def many(seeds: Sequence[int], jobs: int) -> Iterator[Summary]:
    """Summaries of the seeds, a chunk each, in their order."""
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    if jobs == 1:
        yield from map(_chunk, chunks)
        return
    with get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(_chunk, chunks)


def _chunk(seeds: Sequence[int]) -> Summary:
    gc.set_threshold(
        20_000, 20, 20
    )  # a world is garbage as a whole: looking at it while it lives costs a tenth
    summary = Summary()
    for seed in seeds:
        summary.add(seed)
    return summary


def main(arguments: Sequence[str]) -> int:
    """0: no violation. 1: at least one; the first few are told, shrunk."""
    words = _parser().parse_args(arguments)
    if words.seed is not None:
        return _one(words.seed, Options(told=words.told, kubernetes=words.kubernetes))
    asked = {"commit": _commit(), "start": words.start, "asked": words.seeds}
    document = _before(words.report, asked)
    total, began = Summary.read(document), time.monotonic() - document["seconds"]
    seeds = [*corpus(), *range(words.start, words.start + words.seeds)]
    for summary in many(seeds[total.seeds :], words.jobs):
        total.join(summary)
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{total.seeds} seeds, {len(total.violations)} violations")
        document = total.document(time.monotonic() - began) | asked
        if words.report:  # after every chunk: a long run that is cut off has told what it saw
            _write(words.report, document)
    for seed in sorted(total.violations)[:MOST_REPORTS]:
        print(report(seed), end="\n\n")
    print(_line(document))
    return int(bool(total.violations))


def _before(path: Path | None, asked: dict[str, Any]) -> dict[str, Any]:
    """What the same run has told so far, where it was cut off; else an empty document."""
    if path and path.is_file():
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if {key: document.get(key) for key in asked} == asked:
            return document
    return Summary().document(0)


def _commit() -> str:
    """Of the working tree, with a plus where something in it was changed since."""
    git = ("git", "-C", str(CORPUS.parent))
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run([*git, "diff", "HEAD"], capture_output=True, text=True, check=False)
    mark = f"+{content_digest(changed.stdout.encode())[-8:]}" if changed.stdout else ""
    return f"{head.stdout.strip()}{mark}"


def _write(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _one(seed: int, options: Options) -> int:
    result = simulate(seed, options)
    if options.told:
        print("\n".join(result.lines))
    print(
        report(seed, replace(options, told=False))
        if result.violation
        else f"seed {seed}: nothing lost, nothing done twice"
    )
    return int(bool(result.violation))


def _line(document: dict[str, Any]) -> str:
    return (
        f"{document['seeds']} seeds, {document['virtual_hours']} virtual hours, {document['faults']} faults, "
        f"{document['pairs_covered']} of {document['pairs']} fault-by-place pairs, "
        f"{document['seeds_per_second']} seeds/s, {len(document['violations'])} violations"
    )


def _parser() -> argparse.ArgumentParser:
    environ = os.environ
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=int(environ.get("SEEDS") or 2000))
    parser.add_argument("--start", type=int, default=int(environ.get("START") or 0))
    parser.add_argument("--jobs", type=int, default=int(environ.get("JOBS") or 1))
    parser.add_argument("--report", type=Path, default=environ.get("REPORT") and Path(environ["REPORT"]))
    parser.add_argument("--seed", type=int, help="one seed alone; with --told, its whole story")
    parser.add_argument("--kubernetes", action="store_true", help="with --seed: on a cluster of Kubernetes")
    parser.add_argument("--told", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
