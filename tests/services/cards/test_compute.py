from __future__ import annotations

import msgspec
import pytest

from services.cards.compute import THRESHOLD, UTILISATION, compute, number


def computed(world, config=None, manifest=None, **changes):
    return compute(world.facts(world.registered(config=config, manifest=manifest, **changes)))


def estimate(result, method):
    return next(found for found in result["estimates"] if found["method"] == method)


def inputs(found):
    return {given["name"]: given["value"] for given in found["inputs"]}


def test_by_model_size_takes_the_size_from_the_name_and_bounds_the_tokens_where_none_were_told(world):
    found = estimate(computed(world), "by model size")
    assert inputs(found) == {"P, parameters": 135e6, "D, tokens": 48 * 4 * 128}
    assert found["flop"] == pytest.approx(6 * 135e6 * 48 * 4 * 128)
    assert found["inputs"][1]["source"].endswith("= 48 × 4 × 1 × 1 × 128")
    assert "upper bound" in found["note"]


def test_what_the_trainer_counted_goes_before_name_and_bound(world):
    runtime = {**world.runtime, "parameters": "134,515,008", "tokens": "11520"}
    found = estimate(computed(world, runtime=runtime), "by model size")
    assert found["flop"] == 6 * 134_515_008 * 11_520


def test_tokens_may_be_among_the_metrics(world):
    found = estimate(computed(world, metrics={"num_input_tokens_seen": 5000.0}), "by model size")
    assert inputs(found)["D, tokens"] == 5000


def test_a_whole_model_needs_no_remark_on_frozen_weights(world):
    whole = msgspec.structs.replace(world.artifact, kind="model")
    assert estimate(computed(world, artifact=whole), "by model size")["note"] == ""


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("Qwen/Qwen3-8B", 8e9),
        ("org/model-0.6b-chat", 0.6e9),
        ("org/model-360M", 360e6),
        ("mistralai/Mixtral-8x7B", None),
        ("org/model-v2", None),
    ],
)
def test_the_size_in_a_name(world, name, parameters):
    artifact = msgspec.structs.replace(world.artifact, base_model=name)
    assert (
        inputs(estimate(computed(world, artifact=artifact), "by model size"))["P, parameters"] == parameters
    )


def test_an_input_that_is_lacking_is_named_and_nothing_is_guessed(world):
    config = {name: value for name, value in world.config.items() if name != "cutoff_len"}
    found = estimate(computed(world, config=config), "by model size")
    assert found["flop"] is None
    assert found["inputs"][1]["source"] == "not counted, and no bound without cutoff_len"


@pytest.mark.parametrize(
    ("device", "devices", "peak"),
    [
        ("2 × NVIDIA L4", 2, 1.21e14),
        ("8 × NVIDIA H100 80GB HBM3", 8, 9.89e14),
        ("1 × NVIDIA L40S", 1, 3.62e14),
        ("1 × NVIDIA A100-SXM4-80GB", 1, 3.12e14),
        ("1 × NVIDIA L40", 1, None),
        ("CPU (4 cores)", 1, None),
    ],
)
def test_by_hardware_where_the_device_is_known(world, device, devices, peak):
    runtime = {**world.runtime, "device": device, "seconds": "100"}
    found = estimate(computed(world, runtime=runtime), "by hardware")
    assert inputs(found)["N, devices"] == devices
    assert inputs(found)["H, peak FLOP/s of a device"] == peak
    assert found["flop"] == (None if peak is None else pytest.approx(devices * 100 * peak * UTILISATION))


def test_devices_are_counted_over_nodes_or_told(world):
    manifest = {**world.manifest, "resources": {"nodes": 4}}
    runtime = {**world.runtime, "device": "2 × NVIDIA L4"}
    several = estimate(computed(world, manifest=manifest, runtime=runtime), "by hardware")
    assert inputs(several)["N, devices"] == 8
    told = estimate(computed(world, runtime={**runtime, "world_size": "3"}), "by hardware")
    assert inputs(told)["N, devices"] == 3


def test_a_resumed_run_says_that_seconds_may_be_missing(world):
    assert estimate(computed(world), "by hardware")["note"] == ""
    resumed = {**world.runtime, "resumed_from": "16"}
    assert "resumed" in estimate(computed(world, runtime=resumed), "by hardware")["note"]


def test_the_largest_estimate_is_set_against_a_third_of_the_indicator(world):
    result = computed(world, metrics={"total_flos": 1e20})
    assert result["flop"] == 1e20
    assert result["share_of_threshold"] == pytest.approx(3e-3)
    assert pytest.approx(3.33e22, rel=1e-2) == THRESHOLD


def test_without_any_input_there_is_no_estimate(world):
    artifact = msgspec.structs.replace(world.artifact, base_model="org/model")
    result = computed(world, config={}, runtime={}, metrics={}, artifact=artifact)
    assert result["flop"] is None
    assert result["share_of_threshold"] is None
    assert all(found["flop"] is None for found in result["estimates"])


@pytest.mark.parametrize(
    ("text", "value"),
    [("1,234", 1234), ("1_000", 1000), ("2.5", 2.5), ("inf", None), ("nan", None), ("", None)],
)
def test_numbers_of_texts(text, value):
    assert number(text) == value
