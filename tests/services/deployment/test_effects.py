"""What a release asks of the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.errors import Reject
from shared.record import Do
from tests.services.chain import MODEL_ID, Pods, World, committed, experiment


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, Pods(engine="slow"))
    world.commit(committed(experiment(tmp_path)))
    world.pump()
    return world


def perform(world: World, effect: str, **arguments: Any) -> Any:
    do = Do(id="do-1", effect=effect, arguments=arguments, cause="e-1", traceparent="00-trace")
    record = world.store.load(f"releases/{MODEL_ID}")
    return world.services["deployment"].effects(world.ports)[effect](do, record)


def test_an_engine_is_asked_for_under_the_release_s_name(world: World):
    release = world.store.load(f"releases/{MODEL_ID}").data["versions"]["1.0.0"]["release"]
    workload = world.cluster.applied[release]
    assert (workload.service, workload.kind, workload.key) == ("deployment", "server", f"releases/{MODEL_ID}")
    assert workload.module == "services.deployment.pod"
    assert workload.ready_path.startswith("/")
    assert workload.limits.deadline_seconds > 0
    document = workload.document
    assert (document["release"], document["model"]) == (release, f"{MODEL_ID}@1.0.0")
    assert document["artifact"]["kind"] == "adapter"
    assert (document["template"], document["engine"]) == ("chatml", "llamafactory")
    assert workload.labels == {"tenant": "team-x", "model": MODEL_ID}
    assert "deployment" not in document, "one is what every cluster runs, and an operator may say otherwise"


def test_how_many_a_cluster_runs_of_it_goes_along(tmp_path: Path):
    world = World(tmp_path, Pods(engine="slow"))
    world.commit(committed(experiment(tmp_path, replicas="2\n  autoscaling: {max_replicas: 4}")))
    world.pump()
    release = world.store.load(f"releases/{MODEL_ID}").data["versions"]["1.0.0"]["release"]
    asked = world.cluster.applied[release].document["deployment"]
    assert asked["replicas"] == 2
    assert (asked["autoscaling"]["min_replicas"], asked["autoscaling"]["max_replicas"]) == (1, 4)


def test_asked_for_twice_it_is_there_once(world: World):
    release = world.store.load(f"releases/{MODEL_ID}").data["versions"]["1.0.0"]["release"]
    known = world.cluster.applied[release]
    do = Do(
        id="do-1",
        effect="serve",
        arguments={"version": "1.0.0", "release": release},
        cause=known.document["cause"],
        traceparent=known.document["traceparent"],
    )
    record = world.store.load(f"releases/{MODEL_ID}")
    effects = world.services["deployment"].effects(world.ports)
    assert effects["serve"](do, record) == []
    assert world.cluster.applied[release] == known


def test_another_engine_under_the_name_is_refused(world: World):
    release = world.store.load(f"releases/{MODEL_ID}").data["versions"]["1.0.0"]["release"]
    with pytest.raises(Reject):
        perform(world, "serve", version="1.0.0", release=release)


def test_stopped_twice_is_once_and_what_was_never_there_is_stopped_too(world: World):
    release = world.store.load(f"releases/{MODEL_ID}").data["versions"]["1.0.0"]["release"]
    assert perform(world, "stop", release=release) == []
    assert perform(world, "stop", release=release) == []
    assert perform(world, "stop", release="serve-never") == []
    assert world.cluster.stopped == [release]
