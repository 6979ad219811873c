"""What must hold: at every commit and every call, when the world has come to rest, and after a replay.

The numbers I1 to I9 are those of `docs/reliability.md`. What is checked here is written anew, from what people
and pods really did; it asks neither the guards of the store nor the records whether they are right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from simulation.canaries import Canaries

from events.envelope import Event
from shared.lifecycle import TRANSITIONS
from shared.local.cluster.state import FINISHED
from shared.ports.bus import DeadLetter
from shared.ports.cluster import Workload
from shared.reaction import Commit, Perform, Publish
from shared.record import Do, Record, Say

OUTSIDERS = frozenset(
    {
        "push-received",
        "model-approved",
        "model-rejected",
        "rollback-requested",
        "retry-requested",
        "quota-set",
        "deploy-requested",
        "rollout-requested",
        "traffic-measured",
        "model-wanted",
    }
)
SAID_ONCE = frozenset(
    {
        "config-committed",
        "training-started",
        "model-registered",
        "model-validated",
        "card-rendered",
        "model-deployed",
        "model-deprecated",
        "deployment-failed",
    }
)
FAILED = ("Retry:", "Unknown:", "Conflict:")  # how the cause of a dead letter begins that was not refused
LATE_HOURS = 50 / 3600  # that a sweep and a pod's last save may take
RUN_ENDS = frozenset({"REJECTED", "SUCCEEDED", "FAILED"})
RUNNING = frozenset({"starting", "ready", "canary", "live", "standing"})


class Violation(Exception):
    """Something that must hold does not; the message begins with its number or name."""


class Checks:
    """Sees everything, remembers what it needs, raises Violation."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self.finals: dict[str, str] = {}  # run -> digest of the weights its pod really made
        self.approvals: set[tuple[str, str, str, str]] = set()  # model_id, version, weights, card
        self.refusable: set[str] = set()  # ids of events that people said and that may be refused
        self.measured: dict[
            tuple[str, str], tuple[str, float]
        ] = {}  # evaluation, role -> first word of its pod
        self._intents: set[str] = set()
        self._workloads: Counter[tuple[str, ...]] = Counter()
        self._handled: set[tuple[str, str]] = set()
        self._explained: set[str] = set()
        self._replays = False
        self._canaries = Canaries(world, self._gates)

    # --- at every commit

    def committed(self, old: Record, new: Record) -> None:
        legal = TRANSITIONS.get(new.kind, frozenset())
        if old.status != new.status and (old.status, new.status) not in legal:
            raise Violation(f"I2: {new.key} went from {old.status or 'nothing'} to {new.status}")
        if new.revision != old.revision + 1:
            raise Violation(f"I2: {new.key} went from revision {old.revision} to {new.revision}")
        if not set(old.inbox) <= set(new.inbox):
            raise Violation(f"I2: {new.key} forgot what it had heard")
        if new.inbox != old.inbox and not set(old.unheard) <= {*new.unheard, *new.inbox}:
            raise Violation(f"death: {new.key} lives again, and what it died of was not heard")
        self._intents.update(intent.id for intent in new.outbox)
        if new.kind == "models":
            self._model(old, new)
        if new.kind == "releases":
            self._release(old, new)
        if new.kind == "claims" and old.revision:
            raise Violation(f"{new.key}: a claim was written over")

    def _model(self, old: Record, new: Record) -> None:
        said = old.data.get("approvals", [])
        if new.data.get("approvals", [])[: len(said)] != said:
            raise Violation(f"approvals: of {new.key} were rewritten")
        if new.status == "DEPLOYED" and old.status != "DEPLOYED":
            data = new.data
            self._gates(data["model_id"], data["version"], data)

    def _release(self, old: Record, new: Record) -> None:
        self._holds(self._canaries.committed(old, new))
        live = new.data.get("live", "")
        if live and live != old.data.get("live"):
            self._gates(new.name, live, new.data["versions"][live])
            if not new.data["versions"][live]["address"]:
                raise Violation(f"routes: {new.key} sends to {live}, which has not answered yet")
        for name, version in new.data.get("versions", {}).items():
            if version["state"] == "live" and name != live:
                raise Violation(f"one live: {new.key} has {name} live beside {live or 'nothing'}")

    def _gates(self, model_id: str, version: str, data: dict[str, Any]) -> None:
        """I3, asked of the other services' records and of what people and pods did."""
        key, records = f"{model_id}@{version}", self._world.store
        evaluation = records.load(f"evaluations/{key}")
        if evaluation.status != "PASSED":
            raise Violation(
                f"I3: {key} is released, and its evaluation is {evaluation.status or 'not there'}"
            )
        run = evaluation.data["model"]["run_id"]
        weights = data["manifest_digest"]
        if weights != self.finals.get(run):
            raise Violation(f"I3: {key} is released with other weights than run {run} made")
        card = records.load(f"cards/{key}")
        path = f"tenants/{model_id.partition('.')[0]}/cards/{model_id}/{version}/card.md"
        if not data.get("card_digest") or card.data.get("digest") != data["card_digest"]:
            raise Violation(f"I3: {key} is released with another card than was decided")
        if self._world.artifacts.write_digest(path) != data["card_digest"]:
            raise Violation(f"I3: {key} is released, and its card does not lie in the store")
        if self.needs_person(key) and (model_id, version, weights, data["card_digest"]) not in self.approvals:
            raise Violation(f"I3: {key} is released, and no person approved these weights and this card")

    def needs_person(self, key: str) -> bool:
        return any(
            content.kind in ("high", "required")
            for content in self._world.people.contents
            if key == f"team-x.{content.name}.v{content.version.split('.')[0]}@{content.version}"
        )

    # --- at every call

    def asked(self, task: Any, call: Any) -> None:
        """Before a call takes effect."""
        if isinstance(call, Perform):
            task.performed = True
            if call.do.id not in self._intents:
                raise Violation(f"I4: {call.do.effect} for {call.record.key} was never decided")
            if call.do.not_before and call.do.not_before > self._world.moment():
                late = (call.do.not_before - self._world.moment()).total_seconds()
                if late > self._world.jumped:
                    raise Violation(f"I4: {call.do.effect} for {call.record.key} came {late:.0f} s early")
        elif isinstance(call, Publish) and not task.performed:
            for event in call.events:
                if event.id not in self._intents:
                    raise Violation(f"I4: {event.name} was said and never decided")
        elif isinstance(call, Commit) and task.delivery is not None:
            pass

    def answered(self, task: Any, call: Any, answer: Any) -> None:
        """After a call took effect."""
        kind = type(call).__name__
        if kind == "Ack" and answer:
            self._acked(task, call.delivery)
        elif kind == "Again" and answer:
            self._again(call)
        elif kind == "Bury" and answer:
            self._buried(call)

    def _acked(self, task: Any, delivery: Any) -> None:
        service = self._world.service(delivery.service)
        self._handled.add((delivery.service, delivery.event.id))
        key = service.key(delivery.event)
        if key is None:
            return
        record = self._world.store.load(key)
        owes = [i for i in record.outbox if _due(i, self._world) and _of(i, delivery.event.id)]
        if owes and record.dead is None:
            raise Violation(
                f"ack: {delivery.event.name} was struck off while {key} still owes {_named(owes[0])}"
            )

    def _again(self, call: Any) -> None:
        if call.error.startswith("Conflict:"):
            return  # somebody else was faster, which is what the pause is for
        if not self._justified(call.error, call.delivery):
            raise Violation(f"I9: {call.delivery.service} put {call.delivery.event.name} off: {call.error}")

    def _buried(self, call: Any) -> None:
        if not call.cause:
            raise Violation("I5: a dead letter without a cause")
        tried = call.delivery.attempt >= self._world.settings.max_attempts
        if call.cause.startswith(FAILED) and not tried:
            raise Violation(f"I9: {call.delivery.service} gave up after {call.delivery.attempt} attempts")
        if not self._justified(call.cause, call.delivery):
            raise Violation(f"I9: {call.delivery.service} gave up {call.delivery.event.name}: {call.cause}")

    def _justified(self, cause: str, delivery: Any) -> bool:
        """A fault explains it; or people asked for what cannot be; or what it waits for is still on its way."""
        if "injected" in cause or delivery.event.id in self.refusable:
            return True
        if cause.startswith("Retry:"):
            return self._world.unsettled(delivery)
        return cause.startswith("Conflict:") and self._world.faults.on

    def created(self, workload: Workload) -> None:
        """I1: before the cluster makes something new."""
        if workload.module == "services.deployment.pod":
            self._serves(workload)
            return
        if workload.module == "services.engines.pod":
            self._carries(workload)
            return
        if workload.module == "services.deployment.judge":
            self._judges(workload)
            return
        what = (workload.module, workload.key, str(workload.document.get("role", "")))
        self._workloads[what] += 1
        record = self._world.store.load(workload.key)
        if self._workloads[what] > 1 + len(record.data.get("retries", [])):
            raise Violation(f"I1: a second {workload.name} for {workload.key}")
        queued = record.status == "QUEUED"  # who asked before it may be late, and find that there is room now
        if not queued and not any(isinstance(i, Do) for i in record.outbox):
            raise Violation(f"I4: {workload.name} was asked for, and {workload.key} owes nothing")
        if workload.module == "services.training.pod":
            model = workload.document["model"]
            claim = self._world.store.load(f"claims/{model['model_id']}@{model['version']}")
            if claim.data.get("run_id") != workload.document["run_id"]:
                raise Violation(f"claim: {workload.name} was started, and its version is another run's")
            self._within_limits(workload)

    def _within_limits(self, workload: Workload) -> None:
        """Never more at once than people allowed: counted are jobs whose runs are not over."""
        held = self._world.cluster.held.values()
        jobs = [other.workload for other in held if other.state.phase not in FINISHED]
        runs = {job.key for job in jobs if job.module == workload.module} | {workload.key}
        alive = [key for key in runs if self._world.store.load(key).status not in RUN_ENDS]
        limit = self._world.people.most_runs
        if limit is not None and len(alive) > limit:
            raise Violation(f"slots: {len(alive)} runs train at once, and {limit} may: {workload.name}")

    def _carries(self, workload: Workload) -> None:
        """An engine in common: one a generation, and only where somebody wants it."""
        data = self._world.store.load(workload.key).data
        self._workloads["engine", workload.key, ""] += 1
        if self._workloads["engine", workload.key, ""] > data["generation"]:
            raise Violation(f"I1: more engines of {workload.key} than were decided")

    def _judges(self, workload: Workload) -> None:
        """A judge of a canary: only the one that is owed, and only while that canary stands, or has just ended."""
        record = self._world.store.load(workload.key)
        owed = (i for i in record.outbox if isinstance(i, Do) and i.effect == "judge")
        if not any(do.arguments["job"] == workload.name for do in owed):
            raise Violation(f"I4: {workload.name} was asked for, and {workload.key} owes nothing of it")

    def _serves(self, workload: Workload) -> None:
        record = self._world.store.load(workload.key)
        name = workload.document["model"].partition("@")[2]
        version = record.data["versions"][name]
        self._workloads["serve", workload.key, name] += 1
        if self._workloads["serve", workload.key, name] > version["starts"]:
            raise Violation(f"I1: more engines of {name} of {workload.key} than were decided")
        if self.needs_person(f"{record.name}@{name}"):
            self._gates(record.name, name, version)

    # --- at rest

    def refused(self, letter: DeadLetter) -> bool:
        """Whether people asked for what cannot be, and were told so; a word that only failed is redriven."""
        return letter.event.id in self.refusable and not letter.cause.startswith(FAILED)

    def at_rest(self) -> None:
        for entry in self._world.bus.pending():
            raise Violation(f"I5: {entry.event.name} was never handled by {entry.service}")
        for letter in self._world.bus.dead_letters():
            if not self.refused(letter):
                raise Violation(f"I5: {letter.service} can never handle {letter.event.name}: {letter.cause}")
        for record in self._world.store.records.values():
            if record.outbox:
                raise Violation(f"I7: {record.key} still owes {_named(record.outbox[0])}")
            if record.dead is not None:
                raise Violation(
                    f"I5: {record.key} is still dead, though nothing is left: {record.dead.cause}"
                )
        self._causes()
        self._told()
        self._pushes()
        for record in self._world.store.list("releases"):
            self._serving(record)
        for record in self._world.store.list("engines"):
            self._engine(record)
        self._orphans()
        self._slots()

    def nobody_waits_in_vain(self) -> None:
        """Half an hour after all was healed, and before who waits asks again by himself."""
        limit, runs = self._world.people.most_runs, self._world.store.list("runs")
        if limit is None or self._world.bus.dead_letters() or any(run.dead for run in runs):
            return
        jobs = {held.workload.key for held in self._world.cluster.held.values()}
        waiting = [run.key for run in runs if run.status == "QUEUED" and run.key not in jobs]
        training = [run for run in runs if run.status not in RUN_ENDS and run.key not in waiting]
        taken = len(training) + len(self._granted(runs, waiting))
        if waiting and taken < limit:
            raise Violation(f"slots: {waiting[0]} waits, and {taken} of {limit} slots are taken")

    def _granted(self, runs: Sequence[Record], waiting: Sequence[str]) -> list[str]:
        """Who got a slot by a late repeat of a word that was answered before, and whose start was cut off then. It
        starts when it asks again, which it must owe.
        """
        slots = self._world.store.load("slots/training").data.get("running", {})
        return [run.key for run in runs if run.key in waiting and run.name in slots and _asks_again(run)]

    def _slots(self) -> None:
        """Who is over has no slot, and every hour that was trained is counted once."""
        slots = self._world.store.load("slots/training").data
        kept = sorted({**slots.get("running", {}), **slots.get("waiting", {})})
        if kept:
            raise Violation(f"slots: {', '.join(kept)} ended and kept a slot, or a place in the queue")
        counted = sum(hours for tenants in slots.get("used", {}).values() for hours in tenants.values())
        for run in self._world.store.list("runs", status="SUCCEEDED"):
            hours = sum(_hours(attempt) for attempt in run.data.get("attempts", []))
            budget = run.data.get("budget_hours")
            calm = not self._world.fired
            if calm and budget is not None and hours > budget + LATE_HOURS:
                raise Violation(f"budget: {run.key} trained {hours:.4f} hours of {budget:g}")
        trained = sum(
            _hours(attempt)
            for run in self._world.store.list("runs")
            for attempt in run.data.get("attempts", [])
        )
        if abs(counted - trained) > 1e-6:
            raise Violation(f"slots: {trained:.6f} hours were trained, and {counted:.6f} are counted")

    def _causes(self) -> None:
        """I8; and that nothing is said twice under two ids."""
        said: set[tuple[str, str, str]] = set()
        for event in self._world.bus.events:
            what = (event.name, event.cause, event.subject)
            if event.name in SAID_ONCE and event.source != "/kuznia/people" and what in said:
                raise Violation(f"twice: {event.name} of {event.subject} was said twice for one cause")
            said.add(what)
            if event.name == "training-started":
                self._claimed(event.data["model"])
        known = {event.id for event in self._world.bus.events}
        for event in self._world.bus.events:
            person = event.name == "model-deprecated" and event.source == "/kuznia/people"
            if event.cause not in known and event.name not in OUTSIDERS and not person:
                raise Violation(f"I8: {event.name} {event.id} has no cause in the log")

    def _claimed(self, model: dict[str, str]) -> None:
        key = f"claims/{model['model_id']}@{model['version']}"
        if self._world.store.load(key).data.get("run_id") != model["run_id"]:
            raise Violation(f"claim: run {model['run_id']} is said to be trained, and {key} is another's")

    def _told(self) -> None:
        """Who asked for every event is told of every event, once, as far as outbound hears them."""
        hears = self._world.service("outbound").hears
        wanted = {f"deliveries/other/{event.id}" for event in self._world.bus.events if event.name in hears}
        wanted = wanted if self._world.outsiders else set()
        written = {record.key for record in self._world.store.list("deliveries")}
        if wanted != written:
            raise Violation(f"I5: other systems are not told of {min(wanted ^ written)}")

    def _pushes(self) -> None:
        """I5: every accepted push has its one end."""
        load = self._world.store.load
        for run, content in self._world.people.expected_runs().items():
            record = load(f"runs/{run}")
            if record.status not in RUN_ENDS:
                raise Violation(f"I5: run {run} of an accepted push is {record.status or 'lost'}")
            if content.kind == "faulty" and record.status != "REJECTED":
                raise Violation(f"I5: faulty run {run} is {record.status}")
        for run in self._world.store.list("runs", status="SUCCEEDED"):
            model = run.data["model"]
            self._version(f"{model['model_id']}@{model['version']}")
        for model in self._world.store.list("models"):
            run = load(f"runs/{model.data['run_id']}")
            if run.status != "SUCCEEDED":
                raise Violation(f"I5: {model.key} is registered, and its run is {run.status}")

    def _version(self, key: str) -> None:
        model, evaluation = (
            self._world.store.load(f"models/{key}"),
            self._world.store.load(f"evaluations/{key}"),
        )
        if model.revision == 0:
            raise Violation(f"I5: {key} was trained, and is not registered")
        if model.data["manifest_digest"] != self.finals[model.data["run_id"]]:
            raise Violation(f"I3: {key} is registered with other weights than its run made")
        for role, result in evaluation.data.get("results", {}).items():
            said, _ = self.measured.get((key, role), ("", 0))
            if said and result["outcome"] != said:
                raise Violation(
                    f"I5: the {role} model of {key} was measured ({said}), and recorded is {result['cause']}"
                )
        if evaluation.status not in ("PASSED", "FAILED"):
            raise Violation(f"I5: the evaluation of {key} is {evaluation.status or 'lost'}")
        if (evaluation.status == "PASSED") != self._good(key):
            raise Violation(f"I5: {key} is {evaluation.status}, and measured was {self._words(key)}")
        if "validation" not in model.data:
            raise Violation(f"I5: {key} was judged, and the registry does not know")
        if evaluation.status == "PASSED" and not model.data.get("card_digest"):
            raise Violation(f"I5: {key} has no card")
        if evaluation.status == "PASSED":
            self._ended(model)

    def _words(self, key: str) -> list[tuple[str, float]]:
        return [self.measured.get((key, role), ("", 0.0)) for role in ("base", "tuned")]

    def _good(self, key: str) -> bool:
        """Whether the pods measured both, and what they measured is over the thresholds of the example."""
        (base_said, base), (tuned_said, tuned) = self._words(key)
        return base_said == tuned_said == "succeeded" and tuned >= 0.7 and tuned - base >= 0.4

    def _ended(self, model: Record) -> None:
        """A version that may answer does, did, waits for a person, or somebody said why not."""
        release = self._world.store.load(f"releases/{model.data['model_id']}")
        version = release.data.get("versions", {}).get(model.data["version"])
        if version is None:
            raise Violation(f"I5: {model.key} was never offered to the deployment")
        state, live = version["state"], release.data["live"] == model.data["version"]
        if live != (model.status == "DEPLOYED") and state != "failed":
            raise Violation(f"routes: {model.key} is {model.status}, and its release is {state}")
        if state == "candidate" and (not version["approval_needed"] or self._approved(model)):
            raise Violation(f"I5: {model.key} may answer, and nobody started it")
        if state in ("starting", "ready"):
            raise Violation(f"I5: {model.key} may answer, and stays {state}")
        if state == "refused" and "rejection" not in model.data:
            raise Violation(f"I5: {model.key} passed, and was refused by nobody")
        if state == "failed" and "deployment_failure" not in model.data:
            raise Violation(f"I5: the engine of {model.key} failed, and the registry does not know")

    def _approved(self, model: Record) -> bool:
        data = model.data
        word = (data["model_id"], data["version"], data["manifest_digest"], data.get("card_digest", ""))
        return word in self.approvals

    def _holds(self, fault: str) -> None:
        if fault:
            raise Violation(fault)

    def _asleep(self, record: Record, version: dict[str, Any]) -> None:
        """It is still the live one, and its engine has ended."""
        status = self._world.cluster.status(version["release"])
        if status is not None and status.phase not in FINISHED:
            raise Violation(
                f"sleep: {version['release']} of {record.key} sleeps, and its engine is {status.phase}"
            )

    def _serving(self, record: Record) -> None:
        self._holds(self._canaries.at_rest(record))
        live = record.data["live"]
        if live and record.data["versions"][live]["state"] == "asleep":
            self._asleep(record, record.data["versions"][live])
        elif live:
            version = record.data["versions"][live]
            server = self._server(version)
            status = self._world.cluster.status(server)
            if status is None or status.phase != "ready" or status.address != version["address"]:
                raise Violation(f"routes: {record.key} sends to {server}, which does not answer there")
        deployed = [
            model.key
            for model in self._world.store.list("models", prefix=f"{record.name}@", status="DEPLOYED")
            if record.data["versions"][model.data["version"]]["state"] != "failed"
        ]
        if len(deployed) > 1:
            raise Violation(f"one live: {', '.join(deployed)} are all DEPLOYED")

    def _server(self, version: dict[str, Any]) -> str:
        """What it runs in: a server of its own, or the engine that carries it."""
        if not version["shared"]:
            return str(version["release"])
        engine = self._world.store.load(f"engines/{version['shared']}").data
        if version["release"] not in engine["adapters"]:
            raise Violation(f"routes: {version['shared']} does not carry {version['release']}")
        return str(engine["server"])

    def _engine(self, record: Record) -> None:
        """It carries what is wanted, and ends once that is nothing."""
        data = record.data
        if data["state"] == "starting" or (data["state"] == "ready" and not data["adapters"]):
            raise Violation(
                f"I7: {record.key} is {data['state']} at rest, with {len(data['adapters'])} adapters"
            )
        for release, told in data["adapters"].items():
            versions = self._world.store.load(f"releases/{told['model_id']}").data["versions"]
            version = versions[told["version"]]
            if version["release"] != release or version["state"] not in RUNNING:
                raise Violation(f"I7: {record.key} carries {release}, which nobody wants")

    def _orphans(self) -> None:
        """I7: nothing runs that no record speaks of."""
        for name, held in self._world.cluster.held.items():
            if held.state.phase in FINISHED:
                continue
            record = self._world.store.load(held.workload.key)
            if held.workload.module == "services.engines.pod":
                if record.data["server"] != name or record.data["state"] not in ("starting", "ready"):
                    raise Violation(f"I7: {name} runs on, and {record.key} does not know of it")
                continue
            versions = record.data.get("versions", {}).values()
            if not any(v.get("release") == name and v["state"] in RUNNING for v in versions):
                raise Violation(f"I7: {name} runs on, and {held.workload.key} does not know of it")

    # --- replay

    def replaying(self, event: Event) -> None:
        """Deliver again to each service that had handled it."""
        self._replays = True
        self._world.bus.redeliver(event, self._handled)

    def state(self) -> dict[str, Any]:
        """What must be the same after a replay: records but for their inboxes, what ran, what was written."""
        records = {
            key: (record.status, record.data, record.outbox, record.dead)
            for key, record in self._world.store.records.items()
        }
        return {
            **records,
            "cluster": sorted(self._world.cluster.held),
            "artifacts": dict(self._world.artifacts.files),
            "events": len(self._world.bus.events),
        }

    def same(self, before: dict[str, Any]) -> None:
        """I6"""
        for key, value in self.state().items():
            if before.get(key) != value:
                raise Violation(
                    f"I6: replaying every event changed {key}: {before.get(key)!r:.200} -> {value!r:.200}"
                )

    def ends(self) -> dict[str, int]:
        """How many records ended how."""
        found = Counter(f"{record.kind} {record.status}" for record in self._world.store.records.values())
        found["dead letters"] = len(self._world.bus.dead_letters())
        return dict(found)


def _hours(attempt: dict[str, Any]) -> float:
    ended, began = (datetime.fromisoformat(attempt[word]) for word in ("ended", "began"))
    return (ended - began).total_seconds() / 3600


def _due(intent: Say | Do, world: Any) -> bool:
    not_before = getattr(intent, "not_before", None)
    return not_before is None


def _of(intent: Say | Do, event_id: str) -> bool:
    return (intent.event.cause if isinstance(intent, Say) else intent.cause) == event_id


def _named(intent: Say | Do) -> str:
    return intent.event.name if isinstance(intent, Say) else intent.effect


def _asks_again(run: Record) -> bool:
    return any(isinstance(owed, Do) and owed.effect == "launch" for owed in run.outbox)
