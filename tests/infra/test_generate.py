"""The lists that Terraform takes from the code: fresh, complete, and refused where the code contradicts itself."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from events.catalog import definitions
from infra import generate
from services.discovery import discover
from services.ingress import http, notification, storage
from shared import places
from shared.storage.paths import RESERVED

TOPICS = generate.ROOT / "shared" / "google" / "topics.py"


def test_the_file_is_fresh():
    assert generate.main(["--check"]) == 0, "run python -m infra.generate"


def test_a_stale_file_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    stale = tmp_path / "catalog.tf.json"
    stale.write_text("{}")
    monkeypatch.setattr(generate, "CATALOG", stale)
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "catalog", lambda: {"locals": {}})
    assert generate.main(["--check"]) == 1
    assert "To mend: python -m infra.generate" in capsys.readouterr().err
    assert stale.read_text() == "{}"
    assert generate.main([]) == 0
    assert json.loads(stale.read_text()) == {"locals": {}}
    assert generate.main(["--check"]) == 0


def test_names_are_those_that_the_bus_uses(capability: Callable[[str, bool, str], None]):
    there = importlib.util.find_spec("google") and importlib.util.find_spec("google.cloud.pubsub_v1")
    capability("google", bool(there), "the extra google")
    topics = importlib.import_module("shared.google.topics")
    content = generate.catalog()["locals"]
    for name, pair in content["catalog_subscriptions"].items():
        assert name == topics.subscription_name(pair["service"], pair["event"])
    assert all(topics.dead_name(service) == f"{service}.dead" for service in content["catalog_services"])
    delivery = content["catalog_delivery"]
    assert (delivery["ack_seconds"], delivery["kept_seconds"]) == (topics.ACK_SECONDS, topics.KEPT_SECONDS)
    assert (delivery["attempts"], delivery["push_ack_seconds"]) == (
        topics.FORWARDED_AFTER,
        topics.PUSH_ACK_SECONDS,
    )
    assert (delivery["first_retry_seconds"], delivery["longest_retry_seconds"]) == topics.RETRY_SECONDS


def test_what_the_bucket_tells_is_what_the_door_takes():
    content = generate.catalog()["locals"]
    told = content["catalog_notification"]
    headers = {"eventtype": told["type"], "payloadformat": told["format"]}
    assert notification.is_one(headers)
    assert notification.event(headers, {"bucket": "b", "name": "n"})["source"] == told["source"] + "b"
    assert (told["path"], told["event"]) == (http.PATH, storage.NAME)
    assert places.of_run("team-x", "r-1").startswith(told["prefix"])
    assert content["catalog_unfinished"] == f"{RESERVED}/"


def test_delivery_is_within_what_pubsub_takes():
    delivery = generate.delivery(TOPICS.read_text())
    assert 10 <= delivery["ack_seconds"] <= 600
    assert 600 <= delivery["kept_seconds"] <= 31 * 86400
    assert 5 <= delivery["attempts"] <= 100
    assert 0 <= delivery["first_retry_seconds"] <= delivery["longest_retry_seconds"] <= 600


def test_every_event_is_said_by_somebody_and_pods_say_what_their_docstring_says():
    said = {event for service in discover().values() for event in service.says}
    pods = {event for events in generate.POD_SAYS.values() for event in events}
    for name, definition in definitions().items():
        module = __import__(definition.payload.__module__, fromlist=["__doc__"])
        speakers = (module.__doc__ or "").split("said by:", 1)[1].split("heard by:", 1)[0]
        assert ("pod" in speakers) == (name in pods), f"{name} is said by{speakers}"
        others = ("people", "operators", "front door", "cluster", "pod", "gateway")
        by_others = any(word in speakers for word in others)
        assert name in said or by_others, f"{name} is said by{speakers}, and by no service"


def test_rights_follow_from_what_effects_touch():
    services = generate.catalog()["locals"]["catalog_services"]
    assert {name for name, of in services.items() if of["launches"]} == {
        "deployment",
        "engines",
        "training",
        "validation",
    }
    assert {name for name, of in services.items() if of["artifacts"] == "write"} == {"cards", "validation"}
    assert {of["owns"] for of in services.values()} == {service.owns for service in discover().values()}


def test_a_word_that_is_no_event_is_told():
    training = msgspec.structs.replace(discover()["training"], hears=("config-comitted",))
    (fault,) = generate.unheard_of({"training": training}, definitions())
    assert fault == "services/training: no event is called 'config-comitted'; see events/"


def test_constants_that_went_away_are_told():
    with pytest.raises(generate.CatalogError, match=r"topics\.py: 'RETRY_SECONDS' is not there"):
        generate.delivery("ACK_SECONDS = 10\n")


def test_no_indexes_where_there_is_no_file(tmp_path: Path):
    assert generate.read_indexes(tmp_path / "firestore.indexes.json") == ({}, {})


def test_indexes_are_taken_over(tmp_path: Path):
    path = tmp_path / "firestore.indexes.json"
    fields = [{"fieldPath": "status", "order": "ASCENDING"}, {"fieldPath": "key", "order": "DESCENDING"}]
    more = [{"fieldPath": "tags", "arrayConfig": "CONTAINS"}, {"fieldPath": "at", "order": "ASCENDING"}]
    content = {
        "indexes": [
            {"collectionGroup": "records", "queryScope": "COLLECTION", "fields": fields},
            {"collectionGroup": "records", "queryScope": "COLLECTION_GROUP", "fields": more},
        ],
        "fieldOverrides": [{"collectionGroup": "records", "fieldPath": "body", "indexes": []}],
    }
    path.write_text(json.dumps(content))
    exemptions, indexes = generate.read_indexes(path)
    assert exemptions == {"records.body": {"collection": "records", "field": "body"}}
    assert list(indexes) == ["records.status-asce.key-desc", "records.tags-cont.at-asce"]
    assert indexes["records.tags-cont.at-asce"] == {
        "collection": "records",
        "scope": "COLLECTION_GROUP",
        "fields": [
            {"path": "tags", "order": None, "contains": "CONTAINS"},
            {"path": "at", "order": "ASCENDING", "contains": None},
        ],
    }


def test_indexes_that_cannot_be_said_are_told_together(tmp_path: Path):
    path = tmp_path / "firestore.indexes.json"
    content = {
        "indexes": [{"collectionGroup": "records", "fields": [{"fieldPath": "key", "order": "UP"}]}],
        "fieldOverrides": [
            {"collectionGroup": "dead", "fieldPath": "id", "indexes": [{"order": "ASCENDING"}]}
        ],
    }
    path.write_text(json.dumps(content))
    with pytest.raises(generate.CatalogError) as caught:
        generate.read_indexes(path)
    assert "records.key: order is 'UP'" in str(caught.value)
    assert "dead.id: only an empty list" in str(caught.value)


def test_what_terraform_would_read_as_a_template_is_refused():
    with pytest.raises(generate.CatalogError, match="template"):
        generate.text_of({"locals": {"name": "${path.root}"}})


def test_providers_are_pinned_to_the_schemas_that_judge_them():
    texts = [path.read_text() for path in generate.CATALOG.parent.rglob("versions.tf")]
    assert len(texts) == 2
    assert all('version = "6.50.0"' in text for text in texts)
    extract = (generate.ROOT / "tests" / "infra" / "standin" / "extract.py").read_text()
    assert "providers 6.50.0 and 2.38.0" in extract
