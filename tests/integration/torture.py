"""`make torture KILLS=n`: a stream of pushes to a platform that is killed with -9 at random moments, again and again.

The platform, its pods, Git and its hook are real; the trainer is the stand-in of `tests/standin`. Afterwards every
accepted push must have its one end. The last line says `kills N, pushes N, lost N, doubled N`.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import msgspec

from tests.integration import ends
from tests.integration.ends import Sent
from tests.integration.installation import Installation
from tests.integration.repository import Repository
from tests.standin import environment

NAMES = ("amber", "birch", "cedar")
PUSH_SECONDS = (0.2, 5.0)  # from one push to the next
LIFE_SECONDS = (0.0, 2.5)  # from the moment it is up to its end
STILLBORN = 0.15  # share of kills that come while it is still starting
ALL_DIE = 0.15  # share of kills that take all pods with them, as a machine does
SETTLE_SECONDS = 240.0  # that nothing may move in at the end
DONE = {"DEPLOYED", "DEPRECATED"}


class Tally(msgspec.Struct):
    """What came of it. failed: ended with a cause, for having been killed more often than a job may be."""

    kills: int = 0
    pushes: int = 0
    superseded: int = 0
    failed: list[str] = msgspec.field(default_factory=list)
    lost: list[str] = msgspec.field(default_factory=list)
    doubled: list[str] = msgspec.field(default_factory=list)

    def __str__(self) -> str:
        return f"kills {self.kills}, pushes {self.pushes}, lost {len(self.lost)}, doubled {len(self.doubled)}"


class Pusher(threading.Thread):
    """The data scientist, who never stops. accepted: pushes that the platform took, by its hook's word."""

    def __init__(self, repository: Repository, dice: random.Random) -> None:
        super().__init__(name="pusher")
        self.accepted: list[Sent] = []
        self.latest: dict[str, Sent] = {}
        self.unheard = 0
        self.error: BaseException | None = None
        self._repository = repository
        self._dice = dice
        self._enough = threading.Event()
        self._numbers: Counter[str] = Counter()

    def run(self) -> None:
        """Push until told to stop."""
        try:
            while not self._enough.wait(self._dice.uniform(*PUSH_SECONDS)):
                self._push(self._dice.choice(NAMES))
        except BaseException as error:  # told by `stop`, in the thread that asks
            self.error = error

    def stop(self) -> None:
        """After the push under way. Raises what stopped it before."""
        self._enough.set()
        self.join()
        if self.error:
            raise self.error

    def _push(self, name: str) -> None:
        version = f"1.{self._numbers[name]}.0"
        self._numbers[name] += 1
        self._repository.write(name, version=version, config={"max_steps": self._dice.randint(5, 60)})
        self._repository.commit()
        sent = Sent(run=self._repository.run(name), name=name, version=version)
        said = self._repository.push()
        if "accepted" in said:
            self.accepted.append(sent)
        else:
            self.unheard += 1
        self.latest[name] = sent


def torture(installation: Installation, repository: Repository, kills: int, seed: int) -> Tally:
    """Kill so often, wait until all is quiet, and judge."""
    dice = random.Random(seed)
    tally = Tally()
    pusher = Pusher(repository, random.Random(seed + 1))
    pusher.start()
    try:
        while tally.kills < kills:
            _live(installation, dice)
            (installation.kill_all if dice.random() < ALL_DIE else installation.kill)()
            tally.kills += 1
    finally:
        pusher.stop()
    installation.up()
    installation.wait("the last pushes are found", lambda: _found(installation, pusher), 90)
    ends.settle(installation, SETTLE_SECONDS)
    _judge(installation, pusher, tally)
    return tally


def _live(installation: Installation, dice: random.Random) -> None:
    if dice.random() < STILLBORN:
        installation.start()
        time.sleep(dice.random())
        return
    installation.up()
    time.sleep(dice.uniform(*LIFE_SECONDS))


def _found(installation: Installation, pusher: Pusher) -> bool:
    return all(installation.record(f"runs/{sent.run}").revision for sent in pusher.latest.values())


def _judge(installation: Installation, pusher: Pusher, tally: Tally) -> None:
    """Of a push that was not accepted, only what Git still has at the end is promised."""
    promised = {sent.run: sent for sent in [*pusher.accepted, *pusher.latest.values()]}
    known = {record.name for record in installation.ports.store.list("runs", limit=1_000_000)}
    tally.pushes = len(promised)
    tally.superseded = len(pusher.accepted) + pusher.unheard - len(known | set(promised))
    for sent in promised.values():
        _judge_end(installation, sent, tally)
    for name in {sent.name for sent in promised.values()}:
        _judge_model(installation, name, tally)
    once = Counter((event.name, event.subject) for event in installation.events() if event.name in ends.ONCE)
    tally.doubled += [f"{name} of {subject}: {n} times" for (name, subject), n in once.items() if n > 1]
    tally.lost += ends.dead(installation)


def _judge_end(installation: Installation, sent: Sent, tally: Tally) -> None:
    run, record = installation.record(f"runs/{sent.run}"), installation.record(f"models/{sent.key}")
    evaluation = installation.record(f"evaluations/{sent.key}")
    if run.status == "FAILED" and run.data["cause"]:
        tally.failed.append(f"{sent.key}: {run.data['cause'].splitlines()[0]}")
    elif evaluation.status == "FAILED":
        tally.failed.append(f"{sent.key}: not validated, {evaluation.data['gates']}")
    elif record.data.get("deployment_failure"):
        tally.failed.append(f"{sent.key}: {record.data['deployment_failure']['cause'].splitlines()[0]}")
    elif (run.status, record.status in DONE) != ("SUCCEEDED", True):
        tally.lost.append(f"{sent.key}: run {sent.run} is {run.status!r}, its model {record.status!r}")


def _judge_model(installation: Installation, name: str, tally: Tally) -> None:
    prefix = f"team-x.{name}.v1@"
    records = installation.ports.store.list("models", prefix=prefix, limit=1_000_000)
    runs = Counter(record.data["run_id"] for record in records)
    tally.doubled += [f"run {run} has {n} registry records" for run, n in runs.items() if n > 1]
    live = [record.name for record in records if record.status == "DEPLOYED"]
    if len(live) > 1:
        tally.doubled.append(f"DEPLOYED of {name}: {live}")
    if len(live) == 1:
        ends.answers(installation, name)


def main(arguments: list[str]) -> int:
    """0 where nothing was lost and nothing done twice."""
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--kills", type=int, default=int(os.environ.get("KILLS") or 30))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or 1))
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="kuznia-torture-") as folder:
        root = Path(folder)
        installation = Installation(root / "home", environment.make(root / "cache"))
        try:
            repository = Repository(installation, root / "repository", environment.MODEL)
            tally = torture(installation, repository, asked.kills, asked.seed)
            tell(tally, asked.seed, installation)
        finally:
            installation.close()
    return int(bool(tally.lost or tally.doubled))


def tell(tally: Tally, seed: int, installation: Installation) -> None:
    """For a person; the last line for a program."""
    lines = [f"  lost: {line}" for line in tally.lost] + [f"  doubled: {line}" for line in tally.doubled]
    if lines:
        lines.append(installation.story())
    lines += [f"  ended with a cause: {line}" for line in tally.failed]
    lines.append(
        f"seed {seed}; {tally.superseded} pushes were superseded in Git before the platform saw them"
    )
    print("\n".join([*lines, str(tally)]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
