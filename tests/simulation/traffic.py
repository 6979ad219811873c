"""Models of gateways, of who asks them, and of operators who steer rollouts.

What they say, and under which ids, is what the real gateway and the real command line say; when, is chance. All
is drawn from numbers of their own, so that a world without plans is the same with and without them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any

from simulation.host import Crash
from simulation.plans import PLANS

from events.catalog import encode, name_of
from events.deploy_requested import DeployRequested
from events.envelope import Event
from events.model_wanted import ModelWanted
from events.rollout_requested import RolloutRequested
from events.traffic_measured import BOUNDS, Figures, TrafficMeasured
from services.deployment.versions import gates_open
from shared.errors import KuzniaError
from shared.identity import event_id
from shared.record import Record

VERSIONS = ("1.0.0", "1.1.0", "1.2.0")
GATEWAYS = ("gateway-1", "gateway-2")
WANTED_EVERY = 10
PLANNED = 0.25  # of the worlds
SETTLED_REQUESTS = 40


def plans(seed: int, names: list[str]) -> dict[str, str]:
    """For each model how its versions take over; in most worlds all of them do at once, as by default."""
    rand = Random(f"{seed}/plans")
    if rand.random() > PLANNED:
        return dict.fromkeys(names, "")
    return {name: rand.choice(["", *PLANS]) for name in names}


def bad(seed: int, model_id: str, version: str) -> bool:
    """Whether half of what this version is asked fails, for as long as the world stands."""
    return Random(f"{seed}/bad/{model_id}@{version}").random() < 0.35


class Traffic:
    """Gateways that see the releases as they were a moment ago."""

    def __init__(self, world: Any, planned: Mapping[str, str]) -> None:
        self._world = world
        self._rand = Random(f"{world.seed}/traffic")
        self._planned = {name: plan for name, plan in planned.items() if plan}
        self._rounds = 0
        self._said: set[str] = set()
        self.seen: Counter[tuple[str, str, str]] = Counter()  # requests by model, mark and version

    def begin(self) -> None:
        """Set down what will be done when."""
        if not self._planned:
            return
        draw = self._rand.random
        for name in self._planned:
            for number, version in enumerate(VERSIONS[: 2 + int(2 * draw())]):
                self._world.at(80 * number + 80 * draw(), partial(self._push, name, version))
        for _ in range(10 + int(40 * draw())):
            self._world.at(60 + 840 * draw(), self._report)  # also when all is healed
        for _ in range(int(6 * draw())):
            self._world.at(100 + 300 * draw(), self._ask)
        for act in (self._steer, self._deploy):
            for _ in range(int(4 * draw())):
                self._world.at(100 + 300 * draw(), act)

    def settle(self) -> bool:
        """After all is healed: what is held gets requests or an operator's word; what sleeps is asked for, twice."""
        self._rounds += 1
        acted = False
        for release in self._world.store.list("releases"):
            rollout = release.data.get("rollout")
            if rollout and rollout["state"] == "stepping":
                if release.dead:  # its moment was given up, and has been redriven just now
                    acted = True
                    continue
                self._world.fail(
                    f"canary: {rollout['version']} of {release.key} waits for a moment that never comes"
                )
            if rollout and rollout["state"] == "held" and self._rand.random() < 0.4:
                self._tell(release, GATEWAYS[0], SETTLED_REQUESTS)
                acted = True
            elif rollout:
                self._word(release, "promote" if self._rand.random() < 0.5 else "abort")
                acted = True
            if self._rounds <= 2 and self._sleeps(release):
                self._wait(release.name)
                acted = True
        return acted

    def _push(self, name: str, version: str) -> None:
        """More versions of one model than people would push by chance, so that they meet."""
        people = self._world.people
        people.push(people.planned(name, version))

    # --- figures

    def _report(self) -> None:
        for release in self._world.store.list("releases"):
            seen = self._world.store.stale(release.key) if self._rand.random() < 0.2 else release
            if seen.data.get("split"):
                self._tell(seen, self._rand.choice(GATEWAYS), int(30 * self._rand.random()))

    def _tell(self, release: Record, gateway: str, requests: int) -> None:
        split, live = release.data["split"], release.data["live"]
        names = release.data["weights"] or [live]
        window = split["window"]
        number = int(self._world.seconds() // window)
        start = self._world.moment() - timedelta(seconds=self._world.seconds() % window)
        measured = TrafficMeasured(
            model_id=release.name,
            gateway=gateway,
            mark=split["mark"],
            since=start,
            until=start + timedelta(seconds=window),
            versions={name: self._figures(release.name, name, requests) for name in names},
        )
        identity = event_id(f"{gateway}/{release.name}", name_of(measured), f"{split['mark']}/{number}")
        if identity in self._said:
            return  # a window has one content
        self._said.add(identity)
        for name, figures in measured.versions.items():
            self.seen[release.name, split["mark"], name] += figures.requests
        self._say(measured, identity)

    def _figures(self, model_id: str, version: str, requests: int) -> Figures:
        errors = (requests + 1) // 2 if bad(self._world.seed, model_id, version) else 0
        slots = tuple(requests - errors if number == 9 else 0 for number in range(len(BOUNDS) + 1))
        return Figures(requests=requests, errors=errors, ttft=slots, latency=slots)

    def _say(self, payload: Any, identity: str, tries: int = 5) -> None:
        """At least once where the bus takes it; the same under the same id where it did not."""
        event = Event(
            id=identity,
            name=name_of(payload),
            source="/kuznia/gateway",
            subject=f"releases/{payload.model_id}",
            time=self._world.moment(),
            data=encode(payload),
        )
        try:
            if self._world.up:
                self._world.publish("door.publish", [event])
                return
        except Crash:
            if self._world.embedded:
                self._world.crash()
            return
        except KuzniaError:
            pass
        if tries:
            self._world.at(3, lambda: self._say(payload, identity, tries - 1))

    # --- requests for what sleeps

    def _ask(self) -> None:
        for release in self._world.store.list("releases"):
            if self._sleeps(release):
                self._wait(release.name)

    def _sleeps(self, release: Record) -> bool:
        live = release.data["versions"].get(release.data["live"])
        return live is not None and live["state"] == "asleep"

    def _wait(self, model_id: str) -> None:
        """A request that waits until the model does not sleep any more; for ever, if nobody starts it."""
        release = self._world.store.load(f"releases/{model_id}")
        if not self._sleeps(release):
            return
        live = release.data["live"]
        engine = release.data["versions"][live]["release"]
        window = int(self._world.seconds() // WANTED_EVERY)
        wanted = ModelWanted(model_id=model_id, version=live, release=engine)
        self._say(wanted, event_id(f"{model_id}@{live}", name_of(wanted), f"{engine}/{window}"), tries=0)
        self._world.at(WANTED_EVERY, lambda: self._wait(model_id))

    # --- operators

    def _steer(self) -> None:
        for release in self._world.store.list("releases"):
            if release.data.get("rollout"):
                self._word(release, self._rand.choice(["pause", "resume", "promote", "abort"]))

    def _word(self, release: Record, action: Any) -> None:
        one = release.data["rollout"]
        word = RolloutRequested(model_id=release.name, version=one["version"], action=action, by="Zofia")
        self._world.checks.refusable.add(self._world.people.say(word, release.key))

    def _deploy(self) -> None:
        for release in self._world.store.list("releases"):
            able = [name for name, version in release.data["versions"].items() if gates_open(version)]
            able = [name for name in able if name != release.data["live"]]
            if able and self._rand.random() < 0.7:
                strategy = self._rand.choice(["", "replace", "blue-green", "canary"])
                word = DeployRequested(
                    model_id=release.name, version=self._rand.choice(able), by="Zofia", strategy=strategy
                )
                said = self._world.people.say(word, release.key)
                self._world.checks.refusable.add(said)
