"""Worlds whose cluster is Kubernetes: the same promises, with the real adapter over the fake API server."""

from __future__ import annotations

import pytest
from simulation.kubernetes import KubernetesWorld
from simulation.play import simulate, world_of
from simulation.world import Options

ON_KUBERNETES = Options(kubernetes=True)

MANY = 100


@pytest.mark.parametrize("seed", [2, 3, 5])
def test_the_promises_hold(seed: int):
    result = simulate(seed, ON_KUBERNETES)
    assert not result.violation
    assert result.ends


@pytest.mark.slow
def test_they_hold_in_many_worlds():
    ends: set[str] = set()
    fired = 0
    for seed in range(100, 100 + MANY):
        result = simulate(seed, ON_KUBERNETES)
        assert not result.violation, f"seed {seed}"
        ends |= set(result.ends)
        fired += result.fired
    assert {"runs SUCCEEDED", "runs FAILED", "models DEPLOYED", "evaluations FAILED"} <= ends
    assert fired > 10 * MANY, "requests fail, and nothing comes of it"


@pytest.mark.slow
def test_the_same_seed_is_the_same_world():
    told = Options(told=True, kubernetes=True)
    assert simulate(9, told) == simulate(9, told)


def test_some_of_all_worlds_are_such():
    made = [isinstance(world_of(seed, Options()), KubernetesWorld) for seed in range(128)]
    assert sum(made) == 2


def test_it_calms_down_with_the_world():
    world = KubernetesWorld(3, Options())
    world.faults.on = False
    assert [world.cluster.trouble.hit("get", "pods", "") for _ in range(100)] == [""] * 100
