"""What a run asks for: its version, and its job."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from events.catalog import encode
from events.training_finished import TrainingFinished
from events.training_started import TrainingStarted
from services.training.effects import GIGABYTE
from shared.errors import Conflict
from shared.record import Do, Record
from shared.service import Ports
from tests.memory import START
from tests.services.chain import World
from tests.services.words import RUN, SOURCE, started
from tests.shared.kubernetes.workloads import GPU, training


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def launch(world: World, wanted: TrainingStarted, ports: Ports | None = None) -> list[object]:
    """What is said once its run, which waits, asks for it."""
    asked = {"at": START.isoformat(), "cause": "e-1", "traceparent": "00-trace", "patient": True}
    do = Do(id="do-1", effect="launch", arguments={**encode(wanted), "asked": asked}, cause="e-9")
    effect = world.services["training"].effects(ports or world.ports)["launch"]
    return [speech.payload for speech in effect(do, queued(world, wanted))]


def queued(world: World, wanted: TrainingStarted) -> Record:
    """Its run, which waits for its start."""
    record = world.store.load(f"runs/{wanted.run_id}")
    if record.revision:
        return record
    data = {"job": wanted.job, "model": encode(wanted.model), "gpus": 1, "attempts": []}
    return world.store.commit(Record(key=record.key, status="QUEUED", data=data))


def other(run: str) -> TrainingStarted:
    return TrainingStarted(run_id=run, model=started().model, origin=started().origin, job=f"train-{run}")


def test_the_first_to_ask_owns_the_version_and_gets_its_job(world: World):
    assert launch(world, started()) == [started()]
    assert world.store.load("claims/team-x.llm-qa.v1@1.0.0").data == {"run_id": RUN}
    (workload,) = world.cluster.applied.values()
    assert (workload.name, workload.service, workload.key, workload.kind) == (
        f"train-{RUN}", "training", f"runs/{RUN}", "job",
    )  # fmt: skip
    assert workload.module == "services.training.pod"
    assert workload.limits.memory_bytes == 4 * GIGABYTE
    assert workload.limits.deadline_seconds == 3600
    assert workload.labels == {"tenant": "team-x", "run": RUN}
    assert (workload.document["cause"], workload.document["traceparent"]) == ("e-1", "00-trace")
    assert workload.document["origin"]["source"] == encode(SOURCE)


def test_it_is_the_job_that_the_manifests_are_tested_with(world: World):
    resources = {**GPU, "gpus": 2, "nodes": 2, "disk_gb": 100}
    launch(world, started(resources=resources))
    assert list(world.cluster.applied.values()) == [training(**resources)]


def test_asked_for_twice_it_is_there_once(world: World):
    assert launch(world, started()) == launch(world, started())
    assert len(world.cluster.applied) == 1


def test_without_resources_there_are_no_limits(world: World):
    launch(world, started(resources={}))
    (workload,) = world.cluster.applied.values()
    assert (workload.limits.memory_bytes, workload.limits.deadline_seconds) == (0, 0)


def test_other_content_under_a_taken_version_is_told_how_to_mend_it(world: World):
    launch(world, started())
    (word,) = launch(world, other("r-other"))
    assert isinstance(word, TrainingFinished)
    assert (word.run_id, word.outcome) == ("r-other", "failed")
    assert word.cause == (
        f"version 1.0.0 of team-x.llm-qa.v1 belongs to run {RUN}, which has other content:"
        " raise `version` in experiments/llm-qa/model.yaml and push again;"
        f" if that run failed, `kuznia retry {RUN}` tries it as it was"
    )
    assert len(world.cluster.applied) == 1


def test_of_two_at_once_one_gets_it_and_the_other_finds_whose_it_is(world: World):
    launch(world, started())
    seen = iter([Record(key="claims/team-x.llm-qa.v1@1.0.0")])  # the first look was before the other's word
    store = SimpleNamespace(
        load=lambda key: next(seen, None) or world.store.load(key), commit=world.store.commit
    )
    (word,) = launch(world, other("r-other"), msgspec.structs.replace(world.ports, store=store))
    assert isinstance(word, TrainingFinished)
    assert f"belongs to run {RUN}, which" in word.cause


def test_a_conflict_with_nobody_is_tried_again(world: World):
    def commit(record: Record) -> Record:
        raise Conflict(record.key)

    nobody = SimpleNamespace(load=world.store.load, commit=commit)
    with pytest.raises(Conflict):
        launch(world, started(), msgspec.structs.replace(world.ports, store=nobody))
