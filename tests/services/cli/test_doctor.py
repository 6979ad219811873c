# ruff: noqa: F401, F811 - fixtures come by import
"""`kuznia doctor`: the exit code for cron, the mend for people, the metric for Prometheus."""

from __future__ import annotations

import json

import msgspec

from services.operations.checks import THOROUGH, USUAL
from shared.local.cluster.process_cluster import ProcessCluster
from shared.ports.cluster import Workload
from tests.services.chain import MODEL_ID
from tests.services.cli.operators import forge, forged, home
from tests.services.cli.prepared import kuznia, read, told
from tests.shared.operations.home import Home


def test_a_healthy_home(forge: Home) -> None:
    assert told("doctor").strip() == f"all is well: {len(USUAL)} checks, no finding"
    assert told("doctor", "--deep").strip() == f"all is well: {len(THOROUGH)} checks, no finding"
    assert read("doctor") == {"healthy": True, "checks": list(USUAL), "findings": []}


def test_a_finding_says_what_where_and_how_to_mend(forge: Home) -> None:
    forge.ports.artifacts.delete(forge.store.load(f"models/{MODEL_ID}@1.1.0").data["card_path"])
    result = kuznia("doctor")
    assert result.exit_code == 1
    assert f"documents  models/{MODEL_ID}@1.1.0" in result.stdout
    assert "what: its card" in result.stdout
    assert "mend: bring" in result.stdout
    assert result.stdout.endswith(f"1 finding(s) of {len(USUAL)} checks\n")
    (finding,) = json.loads(kuznia("doctor", "--json").stdout)["findings"]
    assert set(finding) == {"check", "what", "where", "mend"}


def test_one_check_alone(forge: Home) -> None:
    forge.ports.artifacts.delete(forge.store.load(f"models/{MODEL_ID}@1.1.0").data["card_path"])
    assert kuznia("doctor", "--check", "documents").exit_code == 1
    assert kuznia("doctor", "--check", "gates", "--check", "dead").exit_code == 0
    unknown = kuznia("doctor", "--check", "hair")
    assert unknown.exit_code == 2
    assert "there are: owing" in unknown.stderr


def test_the_metric(forge: Home) -> None:
    text = told("doctor", "--metrics")
    assert 'kuznia_doctor_findings{check="gates"} 0' in text
    key = f"releases/{MODEL_ID}"
    record = forge.store.load(key)
    forge.overwrite(msgspec.structs.replace(record, data={**record.data, "live": ""}))
    result = kuznia("doctor", "--metrics")
    assert result.exit_code == 1
    assert 'kuznia_doctor_findings{check="one-live"} 1' in result.stdout


def test_what_lies_in_the_cluster_is_read_without_supervising_it(forge: Home) -> None:
    """An orphan that was applied by nobody's record."""
    stray = Workload(
        name="train-r-gone", service="training", key="runs/r-gone", kind="job", module="x", document={}
    )
    ProcessCluster(forge.settings.cluster, forge.bus.publish, {}, forge.clock).apply(stray)
    result = kuznia("doctor", "--check", "orphans")
    assert result.exit_code == 1
    assert "orphans  train-r-gone" in result.stdout
