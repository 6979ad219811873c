"""All event services in memory, with pods that answer at once: from a push to a model that answers.

The cluster is the only part that is not real. What its pods say follows from `Pods`, which a test may change.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec

from events.catalog import encode, name_of
from events.checkpoint_written import CheckpointWritten
from events.config_committed import ConfigCommitted
from events.envelope import Event
from events.evaluation_finished import EvaluationFinished
from events.model_approved import ModelApproved
from events.parts import Artifact, Folder, FolderFile, ModelVersion, Origin, Source
from events.training_finished import TrainingFinished
from events.training_progressed import TrainingProgressed
from events.workload_changed import WorkloadChanged
from services.discovery import discover
from shared.delivery import handle, sweep
from shared.errors import Reject
from shared.experiment.folder import read_directory
from shared.experiment.scaffold import scaffold
from shared.hosts.driver import Driver
from shared.identity import content_digest, event_id, run_id
from shared.local.artifacts import DirectoryArtifacts
from shared.ports.cluster import Status, Workload
from shared.record import Do
from shared.service import Ports
from shared.settings import Settings
from tests.memory import ManualClock, MemoryBus, MemoryStore

MODEL_ID = "team-x.llm-qa.v1"
REPOSITORY = "experiments"
RUNTIME = {
    "llamafactory": "0.9.5",
    "torch": "2.13.0",
    "transformers": "5.6.0",
    "python": "3.11.7",
    "seconds": "67.8",
    "steps": "48",
    "device": "CPU (2 cores)",
}
TRAINED = {"train_loss": 0.4312, "train_runtime": 67.2, "epoch": 8.0}


class Pods(msgspec.Struct):
    """What the pods of the cluster do. training, tuned, base: how they end. engine: what a server's start does."""

    training: Literal["succeeded", "failed", "silent"] = "succeeded"
    tuned: dict[str, float] = msgspec.field(default_factory=lambda: {"contains": 0.93, "rouge_l": 0.8871})
    base: dict[str, float] = msgspec.field(default_factory=lambda: {"contains": 0.0, "rouge_l": 0.1276})
    measuring: Literal["succeeded", "failed", "silent"] = "succeeded"
    engine: Literal["ready", "failed", "slow"] = "ready"


class FakeCluster:
    """Remembers workloads under their names and lets `Pods` speak for them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.applied: dict[str, Workload] = {}
        self.stopped: list[str] = []
        self.port = 41000

    def apply(self, workload: Workload) -> None:
        known = self.applied.get(workload.name)
        if known is not None and known != workload:
            raise Reject(f"{workload.name} is there already, and is another")
        self.applied[workload.name] = workload
        if known is None:
            self._begin(workload)

    def stop(self, name: str) -> None:
        workload = self.applied.get(name)
        if workload is not None and name not in self.stopped:
            self.stopped.append(name)
            self.change(workload, "succeeded", reason="Stopped")

    def status(self, name: str) -> Status | None:
        workload = self.applied.get(name)
        return Status(name=name, kind=workload.kind, phase="running", attempt=1) if workload else None

    def list(self) -> Sequence[Status]:
        return [status for name in self.applied if (status := self.status(name))]

    def logs(self, name: str, tail: int = 200) -> str:
        return f"{name}\n"

    def change(self, workload: Workload, phase: str, **facts: Any) -> None:
        """Say `workload-changed` as the cluster's watch does."""
        change = WorkloadChanged(
            name=workload.name,
            service=workload.service,
            key=workload.key,
            kind=workload.kind,
            phase=phase,  # type: ignore[arg-type]
            attempt=facts.pop("attempt", 1),
            **facts,
        )
        self._world.say(change, workload.key, source="/kuznia/cluster")

    def ready(self, workload: Workload) -> None:
        """A server answers, at a new address."""
        self.port += 1
        self.change(workload, "ready", address=f"127.0.0.1:{self.port}")

    def _begin(self, workload: Workload) -> None:
        self.change(workload, "running")
        {"training": self._train, "validation": self._evaluate, "deployment": self._serve}[workload.service](
            workload
        )

    def _train(self, workload: Workload) -> None:
        document, outcome = workload.document, self._world.pods.training
        run, subject = document["run_id"], workload.key
        if outcome == "silent":
            return
        progress = TrainingProgressed(
            run_id=run,
            attempt=1,
            phase="training",
            step=24,
            total_steps=48,
            loss=0.8123,
            learning_rate=1.07e-3,
            epoch=4.0,
            elapsed_seconds=31.0,
            eta_seconds=31.0,
        )
        self._pod_says(progress, subject)
        if outcome == "failed":
            words = "the trainer ran out of memory: lower cutoff_len or per_device_train_batch_size"
            self._pod_says(TrainingFinished(run_id=run, attempt=1, outcome="failed", cause=words), subject)
            self.change(workload, "failed", reason="Error", exit_code=1)
            return
        for step in (16, 48):
            self._pod_says(checkpoint(document, step=step, final=step == 48), subject)
        finished = TrainingFinished(
            run_id=run, attempt=1, outcome="succeeded", metrics=TRAINED, runtime=RUNTIME
        )
        self._pod_says(finished, subject)
        self.change(workload, "succeeded", exit_code=0)

    def _evaluate(self, workload: Workload) -> None:
        document, pods = workload.document, self._world.pods
        if pods.measuring == "silent":
            return
        finished = EvaluationFinished(key=document["key"], role=document["role"], outcome="succeeded")
        if pods.measuring == "failed":
            failed = msgspec.structs.replace(finished, outcome="failed", cause="eval.json has no row")
            self._pod_says(failed, workload.key)
            return
        metrics = pods.tuned if document["role"] == "tuned" else pods.base
        uri = f"evaluations/{document['key']}/{document['role']}.json"
        rows = [{"id": 0, "instruction": "What does E4 mean?", "prediction": "Dry running.", "group": "main"}]
        self._world.ports.artifacts.create(uri, json.dumps({"answers": rows}).encode())
        measured = msgspec.structs.replace(
            finished,
            metrics=metrics,
            groups={"main": metrics},
            rows=14,
            set_digest="sha256:" + "c" * 64,
            uri=uri,
        )
        self._pod_says(measured, workload.key)
        self.change(workload, "succeeded", exit_code=0)

    def _serve(self, workload: Workload) -> None:
        engine = self._world.pods.engine
        if engine == "ready":
            self.ready(workload)
        if engine == "failed":
            self.change(workload, "failed", reason="NotReady", message="it did not answer within 600 s")

    def _pod_says(self, payload: Any, subject: str) -> None:
        self._world.say(payload, subject, source="/kuznia/pod")


class World:
    """Services, ports and pods. home: for artifacts."""

    def __init__(self, home: Path, pods: Pods | None = None) -> None:
        self.pods = pods or Pods()
        self.clock = ManualClock()
        self.store = MemoryStore()
        self.bus = MemoryBus(self.clock)
        self.services = {
            name: one for name, one in discover().items() if one.says
        }  # the others only tell outsiders
        self.cluster = FakeCluster(self)
        self.ports = Ports(
            store=self.store,
            artifacts=DirectoryArtifacts(home / "artifacts"),
            cluster=self.cluster,
            clock=self.clock,
            settings=Settings(home=home, cache=home / "cache"),
        )
        self.driver = Driver(self.services, self.ports, self.bus)
        for service in self.services.values():
            self.bus.subscribe(service.name, service.hears)
        self._said = 0

    def say(self, payload: Any, subject: str, source: str = "/kuznia/cli") -> Event:
        """Publish a payload; each call is a new word."""
        self._said += 1
        self.clock.move(0.25)
        name = name_of(payload)
        event = Event(
            id=event_id(f"{source}/{self._said}", name, subject),
            name=name,
            source=source,
            subject=subject,
            time=self.clock.now(),
            data=encode(payload),
        )
        self.bus.publish([event])
        return event

    def commit(self, committed: ConfigCommitted) -> str:
        """Say `config-committed`; the run's id."""
        self.say(committed, f"runs/{committed.run_id}", source="/kuznia/webhook")
        return committed.run_id

    def pump(self, most: int = 5000) -> None:
        """Handle deliveries, and what is delayed, until nothing is left to do."""
        for _ in range(most):
            if not self._step():
                return
        raise AssertionError(f"after {most} steps something is still to be done: {self.bus.pending}")

    def replay(self, event: Event) -> None:
        """Every service that hears it hears it once more."""
        for service in self.services.values():
            if event.name in service.hears:
                self.deliver(service.name, event)

    def deliver(self, service: str, event: Event) -> None:
        """One delivery, outside the bus's own dedupe."""
        bus = MemoryBus(self.clock)
        bus.subscribe(service, [event.name])
        bus.publish([event])
        driver = Driver(self.services, self.ports, _Twice(self.bus, bus))
        for delivery in bus.lease(1):
            driver.run(handle(self.services[service], delivery, 3))

    def status(self, key: str) -> str:
        return self.store.load(key).status

    def said(self, name: str) -> list[Event]:
        return [event for event in self.bus.events if event.name == name]

    def approve(self, version: str, **changes: str) -> None:
        """A person's word on a version, as it is registered."""
        record = self.store.load(f"models/{MODEL_ID}@{version}")
        word = ModelApproved(
            model_id=MODEL_ID,
            version=version,
            who="Ann",
            role="compliance",
            manifest_digest=record.data["manifest_digest"],
            card_digest=record.data["card_digest"],
            reason="the risk analysis is current",
        )
        self.say(msgspec.structs.replace(word, **changes), record.key)

    def _step(self) -> bool:
        delivered = self.bus.lease(1)
        for delivery in delivered:
            self.driver.run(handle(self.services[delivery.service], delivery, 3))
        if delivered:
            return True
        due = [item.due for item in self.bus.pending]
        due += [
            intent.not_before
            for record in self.store.owing(before=self.clock.now() + timedelta(days=365))
            for intent in record.outbox
            if isinstance(intent, Do) and intent.not_before is not None
        ]
        if not due:
            return False
        self.clock.moment = max(self.clock.now(), min(due)) + timedelta(milliseconds=1)
        self.driver.run(sweep(self.services, 0))
        return True


class _Twice:
    """Deliveries of one bus, everything else of another."""

    def __init__(self, world: MemoryBus, replayed: MemoryBus) -> None:
        self.publish = world.publish
        self.ack, self.retry, self.bury = replayed.ack, replayed.retry, replayed.bury


def experiment(tmp_path: Path, **edits: str) -> Folder:
    """The example of `kuznia new`, with lines of model.yaml or config.yaml replaced: `{"version": "1.1.0"}`."""
    folder = tmp_path / f"experiment-{content_digest(repr(sorted(edits.items())).encode())[7:15]}" / "llm-qa"
    if not folder.exists():
        scaffold(folder, tenant="team-x", name="llm-qa", owner="Support Engineering")
        for key, value in edits.items():
            _edit(folder, key, value)
    return read_directory(folder)


def committed(folder: Folder, **source: str) -> ConfigCommitted:
    """`config-committed` of a folder; its tree id follows from its files."""
    tree = content_digest(msgspec.json.encode(folder.files))[7:47]
    facts = {
        "repository": REPOSITORY,
        "url": "https://git.example/experiments.git",
        "experiment": "experiments/llm-qa",
        "commit": content_digest(tree.encode())[7:47],
        "tree": tree,
        "branch": "main",
        "author": "Ann <ann@orlik.example>",
        **source,
    }
    made = Source(**facts)
    return ConfigCommitted(
        run_id=run_id(made.repository, made.experiment, made.tree), source=made, folder=folder
    )


def faulty() -> ConfigCommitted:
    """A folder in which three things are wrong."""
    texts = {"config.yaml": "stage: sft\nlearning_rat: 1\n", "model.yaml": "name: llm-qa\n"}
    files = tuple(FolderFile(path=path, size=len(text)) for path, text in texts.items())
    return committed(Folder(files=files, texts=texts))


def checkpoint(document: dict[str, Any], *, step: int, final: bool) -> CheckpointWritten:
    """What the pod says of a checkpoint; document: the workload's."""
    run = document["run_id"]
    artifact = Artifact(
        uri=f"runs/{run}/checkpoints/step-{step}",
        manifest_digest=content_digest(f"{run}/{step}".encode()),
        kind="adapter",
        base_model=document["origin"]["config"]["model_name_or_path"],
        base_digest="sha256:" + "b" * 64,
        size=19_586_048,
    )
    plain = CheckpointWritten(run_id=run, step=step, final=False, artifact=artifact)
    if not final:
        return plain
    return msgspec.structs.replace(
        plain,
        final=True,
        metrics=TRAINED,
        runtime=RUNTIME,
        model=msgspec.convert(document["model"], ModelVersion),
        origin=msgspec.convert(document["origin"], Origin),
    )


def _edit(folder: Path, key: str, value: str) -> None:
    for path in (folder / "model.yaml", folder / "config.yaml"):
        lines = path.read_text(encoding="utf-8").splitlines()
        places = [number for number, line in enumerate(lines) if line.strip().startswith(f"{key}:")]
        if places:
            line = lines[places[0]]
            lines[places[0]] = f"{line[: len(line) - len(line.lstrip())]}{key}: {value}"
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
            return
    raise AssertionError(f"neither model.yaml nor config.yaml has {key}")
