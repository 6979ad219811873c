"""Models of what runs in the cluster. They are declared as such: the real pods are tested with real processes.

What a model says, and under which ids, is what the real pod says (`shared.podkit.voice`); what it does between
two words is chance.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec
from simulation.faults import Injector
from simulation.memory import MemoryArtifacts
from simulation.plans import worse

from events.answers_judged import AnswersJudged
from events.catalog import encode, name_of
from events.checkpoint_written import CheckpointWritten
from events.envelope import Event
from events.evaluation_finished import EvaluationFinished
from events.parts import Artifact, ModelVersion, Origin
from events.training_finished import TrainingFinished
from events.training_progressed import TrainingProgressed
from events.workload_changed import WorkloadChanged
from shared.errors import KuzniaError
from shared.identity import content_digest, event_id
from shared.local.cluster.verdict import PREEMPTED
from shared.ports.cluster import Workload

PATIENCE_SECONDS = 2.0
REFUSED = 0.15  # of all adapters fit no engine
MUTE = 0.15  # of all judges get no answer from an engine
_CODES: dict[str, int | None] = {"killed": 137, "vanished": None, "mute-failure": 1, "mute-success": 0}


class Exit(msgspec.Struct, frozen=True):
    """The pod ends. code: None where nobody sees it end."""

    code: int | None


class Ready(msgspec.Struct, frozen=True):
    """The server answers. goes_on: it has more to do then."""

    goes_on: bool = False


class Orders(msgspec.Struct, frozen=True):
    """The pod goes on once its record has changed."""


class PodWorld(Protocol):
    """What a pod needs of the world. final: digest of the weights a run ended with, once and for all."""

    seed: int
    faults: Injector
    artifacts: MemoryArtifacts
    cluster: Any
    store: Any

    def moment(self) -> datetime: ...
    def publish(self, place: str, events: Sequence[Event]) -> None: ...
    def chance(self) -> float: ...
    def trained(self, run: str, digest: str) -> None: ...
    def measured(self, key: str, role: str, outcome: str, score: float) -> None: ...


Word = float | Exit | Ready | Orders
Script = Generator[Word, None, int | None]


class Pod:
    """One attempt of a workload."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def step(self) -> Word:
        try:
            return next(self._script)
        except StopIteration as stop:
            return Exit(stop.value)


def pod_of(workload: Workload, attempt: int, world: Any) -> Pod:
    """The model of what this workload runs."""
    scripts: dict[str, Callable[[Workload, int, Any], Script]] = {
        "services.training.pod": _training,
        "services.validation.pod": _evaluation,
        "services.deployment.pod": _engine,
        "services.deployment.judge": _judge,
        "services.engines.pod": _engine_in_common,
    }
    return Pod(scripts[workload.module](workload, attempt, world))


def stopped(workload: Workload, attempt: int, world: Any) -> Pod:
    """What a training pod still does after SIGTERM."""
    return Pod(_saved(workload, attempt, world))


def _saved(workload: Workload, attempt: int, world: PodWorld) -> Script:
    run = workload.document["run_id"]
    say = _voice(workload, world, "/kuznia/training", f"runs/{run}")
    yield 1 + 10 * world.chance()
    ended = TrainingFinished(
        run_id=run, attempt=attempt, outcome="preempted", cause="stopped on request", job=workload.name
    )
    yield from say(ended, f"{attempt}/preempted")
    return PREEMPTED


def _training(workload: Workload, attempt: int, world: PodWorld) -> Script:
    document = workload.document
    run, subject = document["run_id"], f"runs/{document['run_id']}"
    say = _voice(workload, world, "/kuznia/training", subject)
    for step in (0, 16, 32):
        kind = world.faults.hit("pod.training")
        if kind in _CODES:
            return _CODES[kind]
        if kind in ("preempted", "failed"):
            cause = "stopped on request" if kind == "preempted" else "the loss became nan"
            ended = TrainingFinished(
                run_id=run, attempt=attempt, outcome=kind, cause=cause, job=workload.name
            )
            yield from say(ended, f"{attempt}/{kind}")
            return PREEMPTED if kind == "preempted" else 1
        progress = TrainingProgressed(
            run_id=run, attempt=attempt, phase="training", step=step, total_steps=48
        )
        yield from say(progress, f"{attempt}/{step}")
        yield 5 + 20 * world.chance()
    checkpoint = CheckpointWritten(
        run_id=run, step=32, final=False, artifact=_weights(document, world, "step-32")
    )
    yield from say(checkpoint, "step-32")
    yield from _final(document, attempt, world, say)
    return 0


def _final(document: dict[str, Any], attempt: int, world: PodWorld, say: Any) -> Generator[Word, None, None]:
    run = document["run_id"]
    path = f"runs/{run}/final/manifest.json"
    if path not in world.artifacts.files:  # a second start finds what the first one left
        world.artifacts.write(path, f"weights of {run} by start {attempt}".encode())
        yield 1.0
    final = _weights(document, world, "final")
    world.trained(run, final.manifest_digest)
    written = CheckpointWritten(
        run_id=run,
        step=48,
        final=True,
        artifact=final,
        metrics={"train_loss": 0.5},
        runtime={"seconds": "60.0", "steps": "48"},
        model=msgspec.convert(document["model"], ModelVersion),
        origin=msgspec.convert(document["origin"], Origin),
    )
    yield from say(written, "final")
    finished = TrainingFinished(run_id=run, attempt=attempt, outcome="succeeded", metrics={"train_loss": 0.5})
    yield from say(finished, "succeeded")


def _weights(document: dict[str, Any], world: PodWorld, name: str) -> Artifact:
    prefix = f"runs/{document['run_id']}/{name}"
    content = world.artifacts.files.get(f"{prefix}/manifest.json", prefix.encode())
    return Artifact(
        uri=world.artifacts.uri(prefix),
        manifest_digest=content_digest(content),
        kind="adapter",
        base_model=document["origin"]["config"]["model_name_or_path"],
    )


def _evaluation(workload: Workload, attempt: int, world: PodWorld) -> Script:
    document = workload.document
    key, role = document["key"], document["role"]
    say = _voice(workload, world, "/kuznia/validation", f"evaluations/{key}")
    yield 2 + 15 * world.chance()
    kind = world.faults.hit("pod.evaluation")
    if kind in _CODES:
        return _CODES[kind]
    if kind == "failed":
        failed = EvaluationFinished(key=key, role=role, outcome="failed", cause="the set cannot be read")
        yield from say(failed, f"{key}/{role}/failed")
        world.measured(key, role, "failed", 0.0)
        return 0
    score = 0.1 if role == "base" else 0.9 if world.chance() < 0.8 else 0.3
    path = f"evaluations/{key}/{role}.json"
    answers = [{"id": "1", "prediction": "42", "output": "42", "group": "", "instruction": "6 × 7?"}]
    world.artifacts.write(path, json.dumps({"answers": answers}).encode())
    measured = EvaluationFinished(
        key=key, role=role, outcome="succeeded", metrics={"contains": score}, rows=1, uri=path
    )
    yield from say(measured, f"{key}/{role}/succeeded")
    world.measured(key, role, "succeeded", score)
    return 0


def _judge(workload: Workload, attempt: int, world: PodWorld) -> Script:
    """As `services.deployment.judge`: it says of both versions how good their answers are, or of none."""
    document = workload.document
    model_id, mark = document["model_id"], document["mark"]
    say = _voice(workload, world, "/kuznia/deployment", f"releases/{model_id}")
    yield 2 + 150 * world.chance() ** 3  # a step may be over before
    kind = world.faults.hit("pod.evaluation")
    if kind or world.chance() < MUTE:
        return _CODES.get(kind, 1)
    for version in (engine["version"] for engine in document["engines"]):
        mean = 0.5 if worse(world.seed, model_id, version) else 0.9
        judged = AnswersJudged(
            model_id=model_id,
            version=version,
            metric=document["metric"],
            samples=document["samples"],
            mean=mean,
            judge="kuznia",
            mark=mark,
        )
        yield from say(judged, f"{mark}/{version}")
        yield world.chance()
    return 0


def _engine(workload: Workload, attempt: int, world: PodWorld) -> Script:
    yield from _engine_start(world)
    yield Ready()
    return 1


def _engine_start(world: PodWorld) -> Script:
    yield 3 + 20 * world.chance()
    kind = world.faults.hit("pod.engine")
    if kind == "never-ready":
        while True:
            yield 1000.0
    if kind in _CODES:
        yield Exit(_CODES[kind])
    return None


def _engine_in_common(workload: Workload, attempt: int, world: PodWorld) -> Script:
    """As `services.engines.pod`: it loads what its record wants, one after another, and says so once a start."""
    yield from _engine_start(world)
    yield Ready(goes_on=True)
    address, told = world.cluster.status(workload.name).address, set[str]()
    while True:
        data = world.store.load(workload.key).data
        wanted = data["adapters"] if data["server"] == workload.name else {}
        told &= wanted.keys()
        release = min(wanted.keys() - told, default="")
        if not release:
            yield Orders()
            continue
        yield 0.1 + world.chance()
        fits = hash_of(release) >= REFUSED
        yield from _adapter(workload, attempt, world, wanted[release], address if fits else "")
        told.add(release)


def _adapter(
    workload: Workload, attempt: int, world: PodWorld, told: dict[str, Any], address: str
) -> Generator[Word, None, None]:
    phase = "ready" if address else "failed"
    key = f"releases/{told['model_id']}"
    said = WorkloadChanged(
        name=told["release"],
        service="deployment",
        key=key,
        kind="server",
        phase="ready" if address else "failed",
        attempt=attempt,
        reason="" if address else "Refused",
        address=address,
    )
    document = {"cause": told["cause"], "traceparent": told["traceparent"]}
    say = _voice(msgspec.structs.replace(workload, document=document), world, "/kuznia/engines", key)
    yield from say(said, f"{workload.name}#{attempt}/{told['release']}/{phase}")


def hash_of(word: str) -> float:
    """A number in [0, 1) that is the word's own: some adapters fit no engine, whoever tries."""
    return int(content_digest(word.encode())[7:15], 16) / 0x1_0000_0000


def _voice(workload: Workload, world: PodWorld, source: str, subject: str) -> Any:
    """As `shared.podkit.voice`: ids follow from what is said; it insists until the bus took it."""
    cause = workload.document["cause"]

    def say(payload: Any, discriminator: str) -> Generator[Word, None, None]:
        name = name_of(payload)
        event = Event(
            id=event_id(cause, name, discriminator),
            name=name,
            source=source,
            subject=subject,
            time=world.moment(),
            data=encode(payload),
            traceparent=workload.document["traceparent"],
            cause=cause,
        )
        while True:
            try:
                world.publish("pod.publish", [event])
            except KuzniaError:
                yield PATIENCE_SECONDS
            else:
                return

    return say
