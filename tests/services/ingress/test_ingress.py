"""The door for other systems: who may post what for whom, in three modes; all or nothing; once."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from events.catalog import definitions, encode
from events.envelope import from_structured_json, to_structured_json
from services.ingress.http import PATH, route
from services.ingress.receive import Answer, Ingress, Place
from services.ingress.senders import NEVER, faults, new_token
from services.ingress.subjects import subject_of
from shared.errors import Reject, Retry
from shared.identity import content_digest
from shared.local.artifacts import DirectoryArtifacts
from shared.podkit.manifests import File, Manifest
from shared.record import Record
from shared.settings import Settings
from tests.memory import ManualClock, MemoryBus, MemoryStore
from tests.services.words import MODEL_ID, RUN, started

EXAMPLES = Path(__file__).resolve().parents[3] / "events" / "examples"
SOURCE = "//ci.example/pipelines"
BUCKET = "//storage.googleapis.com/projects/_/buckets/forge"
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
LIMIT = 200_000
FOLDER = f"tenants/team-x/runs/{RUN}"


def approval(**changes: Any) -> dict[str, Any]:
    """An event as another system writes it."""
    data = {
        "model_id": MODEL_ID, "version": "1.0.0", "who": "Ann", "role": "compliance",
        "manifest_digest": "sha256:1", "card_digest": "sha256:2",
    }  # fmt: skip
    return {
        "specversion": "1.0", "id": "1", "source": SOURCE, "type": "dev.kuznia.model-approved.v1",
        "subject": f"models/{MODEL_ID}@1.0.0", "time": "2026-11-23T10:00:00Z", "datacontenttype": "application/json",
        "data": data, **changes,
    }  # fmt: skip


class Door:
    """One sender with a token."""

    def __init__(self, home: Path) -> None:
        self.clock, self.store = ManualClock(), MemoryStore()
        self.bus = MemoryBus(self.clock)
        self.artifacts = DirectoryArtifacts(home / "artifacts")
        self.token, digest = new_token("ci")
        events = sorted(set(definitions()) - NEVER - {"model-rejected"})
        data = {"hash": digest, "events": events, "sources": [SOURCE, BUCKET]}
        self.store.commit(Record(key="senders/ci", status="ACTIVE", data=data))
        settings = Settings(home=home, cache=home, max_body_bytes=LIMIT)
        self.ingress = Ingress(
            Place(
                store=self.store, bus=self.bus, artifacts=self.artifacts, clock=self.clock, settings=settings
            )  # type: ignore[arg-type]
        )

    def post(self, body: Any, media: str = STRUCTURED, **headers: str) -> Answer:
        known = {"authorization": f"Bearer {self.token}", "content-type": media}
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ingress.receive(known | headers, raw)

    def change(self, **changes: Any) -> None:
        record = self.store.load("senders/ci")
        self.store.commit(msgspec.structs.replace(record, data={**record.data, **changes}))


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


def told(answer: Answer) -> str:
    return json.dumps(answer.body)


class TestModes:
    def test_structured(self, door: Door):
        answer = door.post(approval())
        assert answer.status == 202
        (event,) = door.bus.events
        assert (event.name, event.source, event.data["who"]) == ("model-approved", SOURCE, "Ann")
        assert answer.body == {"events": [{"id": "1", "event": event.id, "duplicate": False}]}

    def test_binary(self, door: Door):
        raw = approval()
        headers = {
            f"ce-{name}": value for name, value in raw.items() if name not in ("data", "datacontenttype")
        }
        headers["ce-subject"] = headers["ce-subject"].replace("@", "%40")
        assert door.post(raw["data"], "application/json; charset=utf-8", **headers).status == 202
        assert door.bus.events[0].subject == raw["subject"]

    def test_binary_and_structured_are_the_same_event(self, door: Door):
        raw = approval()
        headers = {
            f"ce-{name}": value for name, value in raw.items() if name not in ("data", "datacontenttype")
        }
        door.post(raw)
        answer = door.post(raw["data"], "application/json", **headers)
        assert answer.body["events"][0]["duplicate"] is True
        assert len(door.bus.events) == 1

    def test_batch(self, door: Door):
        answer = door.post([approval(), approval(id="2")], BATCH)
        assert (answer.status, len(answer.body["events"]), len(door.bus.events)) == (202, 2, 2)

    def test_an_empty_batch_is_nothing_to_do(self, door: Door):
        assert door.post([], BATCH).status == 200

    @pytest.mark.parametrize(
        ("body", "media", "said"),
        [
            (b"{}", "application/json", "ce-specversion"), (b"{}", "", "missing"), (b"{", STRUCTURED, "no JSON"),
            (b"[]", STRUCTURED, "no JSON object"), (b"{}", BATCH, "no JSON array"), (b"[1]", BATCH, "event 0"),
            (b"\xff", STRUCTURED, "no JSON"), (b"[" + b"{}," * 1000 + b"{}]", BATCH, "1000"),
        ],
    )  # fmt: skip
    def test_what_is_no_event(self, door: Door, body: bytes, media: str, said: str):
        answer = door.post(body, media)
        assert answer.status == 400
        assert said in told(answer)

    def test_binary_data_of_another_kind(self, door: Door):
        answer = door.post(b"<a/>", "application/xml", **{"ce-specversion": "1.0"})
        assert (answer.status, "application/xml" in told(answer)) == (400, True)

    def test_too_long(self, door: Door):
        assert door.post(b"x" * (LIMIT + 1)).status == 413


class TestOnce:
    def test_the_same_again(self, door: Door):
        first = door.post(approval()).body["events"][0]
        again = door.post(approval()).body["events"][0]
        assert again == first | {"duplicate": True}
        assert len(door.bus.events) == 1

    def test_twice_in_one_batch(self, door: Door):
        assert door.post([approval(), approval()], BATCH).status == 202
        assert len(door.bus.events) == 1

    @pytest.mark.parametrize("together", [False, True])
    def test_one_id_for_two_events_is_refused(self, door: Door, together: bool):
        other = approval()
        other["data"] = other["data"] | {"who": "Mallory"}
        answers = (
            [door.post([approval(), other], BATCH)] if together else [door.post(approval()), door.post(other)]
        )
        assert answers[-1].status == 409
        assert [event.data["who"] for event in door.bus.events] == ([] if together else ["Ann"])

    def test_another_source_has_ids_of_its_own(self, door: Door):
        door.post(approval())
        door.post(approval(source=f"{SOURCE}/nightly"))
        assert len({event.id for event in door.bus.events}) == 2

    def test_an_outsider_cannot_take_an_id_of_ours(self, door: Door):
        door.post(approval(id="an-id-that-registration-will-use"))
        assert door.bus.events[0].id != "an-id-that-registration-will-use"


class TestWho:
    @pytest.mark.parametrize(
        "header",
        [
            "",
            "Bearer",
            "Basic Y2k6",
            "Bearer wrong",
            "Bearer kze_ci_wrong",
            "Bearer kze_other_x",
            "Bearer kze_/../x_y",
            "Bearer żółw",
        ],
    )
    def test_nobody_without_a_token(self, door: Door, header: str):
        answer = door.post(approval(), authorization=header)
        assert (answer.status, door.bus.events) == (401, [])
        assert "senders" in told(answer)

    def test_a_revoked_one(self, door: Door):
        record = door.store.load("senders/ci")
        door.store.commit(msgspec.structs.replace(record, status="REVOKED"))
        assert door.post(approval()).status == 401

    def test_while_a_token_changes_both_hold(self, door: Door):
        old, record = door.token, door.store.load("senders/ci")
        door.token, digest = new_token("ci")
        until = (door.clock.now() + timedelta(days=1)).isoformat()
        door.change(hash=digest, old={"hash": record.data["hash"], "until": until})
        assert door.post(approval()).status == 202
        assert door.post(approval(id="2"), authorization=f"bearer {old}").status == 202
        door.clock.move(86400)
        assert door.post(approval(id="3"), authorization=f"Bearer {old}").status == 401

    @pytest.mark.parametrize(
        "source", ["/kuznia/registration", "//ci.example", "//ci.example/pipelines-evil", "x"]
    )
    def test_not_for_another_source(self, door: Door, source: str):
        answer = door.post(approval(source=source))
        assert (answer.status, door.bus.events) == (403, [])
        assert "ci may not speak for" in told(answer)

    def test_below_its_source_it_may(self, door: Door):
        assert door.post(approval(source=f"{SOURCE}/nightly")).status == 202

    def test_not_another_event(self, door: Door):
        answer = door.post(approval(type="dev.kuznia.model-rejected.v1"))
        assert (answer.status, "may not post model-rejected" in told(answer)) == (403, True)

    @pytest.mark.parametrize("name", sorted(NEVER))
    def test_some_are_never_taken_whatever_the_record_says(self, door: Door, name: str):
        door.change(events=[name])
        raw = json.loads((EXAMPLES / f"{name}.json").read_text()) | {"source": SOURCE}
        assert door.post(raw).status == 403


class TestFaults:
    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"id": ""}, "id is no text"), ({"source": None}, "source is no text"), ({"id": 7}, "id is no text"),
            ({"specversion": "0.3"}, "0.3"), ({"time": ""}, "time"), ({"time": "soon"}, "soon"), ({"time": 5}, "time"),
            ({"data": {}}, "missing required field"), ({"data": []}, "no JSON object"), ({"data": "x"}, "no JSON object"),
            ({"subject": "models/other@1"}, f"models/{MODEL_ID}@1.0.0"), ({"subject": 5}, "subject"), ({"id": "x" * 2000}, "1024"),
            ({"source": f"{SOURCE}/{'ż' * 400}"}, "source has more than 1024 bytes"),
            ({"traceparent": "0" * 1025}, "traceparent has more than 1024 bytes"),
            ({"time": "0001-01-01T00:00:00+14:00"}, "out of range"),
        ],
    )  # fmt: skip
    def test_each_is_told(self, door: Door, changes: dict[str, Any], said: str):
        answer = door.post(approval(**changes))
        assert (answer.status, door.bus.events) == (400, [])
        assert said in told(answer)

    @pytest.mark.parametrize(
        "type_", ["com.example.thing", "dev.kuznia.model-dreamt.v1", "dev.kuznia.model-approved.v2"]
    )
    def test_an_event_that_there_is_not(self, door: Door, type_: str):
        assert door.post(approval(type=type_)).status in (400, 403)

    def test_all_at_once_and_then_nothing_is_published(self, door: Door):
        batch = [approval(), approval(id="2", source="x"), {"id": "3"}, approval(id="4", data={})]
        answer = door.post(batch, BATCH)
        assert (answer.status, door.bus.events) == (403, [])
        assert "nothing was published" in answer.body["error"]
        assert [one["index"] for one in answer.body["events"]] == [1, 2, 3]
        assert len(answer.body["events"][1]["faults"]) == 3

    def test_a_subject_may_be_left_out(self, door: Door):
        raw = approval()
        del raw["subject"]
        assert door.post(raw).status == 202
        assert door.bus.events[0].subject == f"models/{MODEL_ID}@1.0.0"

    def test_what_the_bus_refuses_is_no_question_of_who_asks(
        self, door: Door, monkeypatch: pytest.MonkeyPatch
    ):
        def refuse(_events: Any) -> None:
            raise Reject("it has 950000 bytes, and the bus takes 900000")

        monkeypatch.setattr(door.bus, "publish", refuse)
        answer = door.post(approval())
        assert (answer.status, "the bus takes 900000" in told(answer)) == (400, True)

    def test_nesting_without_an_end_is_no_fault_of_ours(self, door: Door):
        assert door.post(b"[" * (LIMIT // 2), BATCH).status == 400

    def test_a_store_that_cannot_take_it_is_asked_again(self, door: Door, monkeypatch: pytest.MonkeyPatch):
        def full(_events: Any) -> None:
            raise Retry("the disk is full")

        monkeypatch.setattr(door.bus, "publish", full)
        answer = door.post(approval())
        assert (answer.status, answer.retry_after) == (503, 5)

    def test_an_outsiders_cause_is_its_own_affair(self, door: Door):
        door.post(approval(cause="e-1", traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01"))
        assert door.bus.events[0].cause == ""
        assert door.bus.events[0].traceparent.startswith("00-a")

    @pytest.mark.parametrize(
        "name", sorted(set(definitions()) - NEVER - {"model-rejected", "config-committed"})
    )
    def test_every_example_of_the_catalog_is_right(self, door: Door, name: str):
        event = from_structured_json((EXAMPLES / f"{name}.json").read_bytes())
        raw = json.loads(to_structured_json(msgspec.structs.replace(event, source=SOURCE)))
        answer = door.post(raw)
        assert answer.status == 202, answer.body
        assert door.bus.events[0].data == event.data
        assert subject_of(name, event.data) == event.subject
        assert door.post(raw).body["events"][0]["duplicate"] is True


class TestCommits:
    def raw(self, **changes: Any) -> dict[str, Any]:
        raw: dict[str, Any] = json.loads((EXAMPLES / "config-committed.json").read_text()) | {
            "source": SOURCE
        }
        raw["data"]["source"] |= changes
        return raw

    def connect(self, door: Door) -> None:
        source = self.raw()["data"]["source"]
        data = {"url": source["url"], "branches": ["main"], "folders": []}
        door.store.commit(Record(key=f"repositories/{source['repository']}", status="CONNECTED", data=data))

    def test_of_a_connected_repository(self, door: Door):
        self.connect(door)
        assert door.post(self.raw()).status == 202

    def test_where_data_may_lie_is_ours_to_say(self, door: Door, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("KUZNIA_DATA_ROOTS", "gs://ours")
        self.connect(door)
        raw = self.raw()
        raw["data"]["data_roots"] = ["file:///"]
        assert door.post(raw).status == 202
        assert door.bus.events[0].data["data_roots"] == ["gs://ours"]

    def test_of_an_unknown_repository(self, door: Door):
        answer = door.post(self.raw())
        assert (answer.status, "is not connected" in told(answer)) == (400, True)

    def test_from_another_url(self, door: Door):
        self.connect(door)
        answer = door.post(self.raw(url="ext::sh -c evil"))
        assert (answer.status, "another URL" in told(answer)) == (400, True)

    def test_under_a_run_that_is_not_its_own(self, door: Door):
        self.connect(door)
        answer = door.post(self.raw(tree="f" * 40))
        assert (answer.status, "run_id" in told(answer)) == (400, True)


class TestStorage:
    def manifest(self, door: Door, prefix: str, *, final: bool, step: int = 48, run: str = RUN) -> None:
        weights = b"weights"
        door.artifacts.write(f"{prefix}/adapter.safetensors", weights)
        files = (File(path="adapter.safetensors", size=len(weights), digest=content_digest(weights)),)
        manifest = Manifest(
            run_id=run, step=step, final=final, kind="adapter", base_model="base", files=files
        )
        door.artifacts.write(f"{prefix}/manifest.json", msgspec.json.encode(manifest))

    def raw(self, name: str, **changes: Any) -> dict[str, Any]:
        data = {"bucket": "forge", "name": name, "generation": "1", "contentType": "application/json"}
        return {
            "specversion": "1.0", "id": "9", "source": BUCKET, "type": "google.cloud.storage.object.v1.finalized",
            "subject": f"objects/{name}", "time": "2026-11-23T10:00:00.5Z", "data": data, **changes,
        }  # fmt: skip

    def test_a_checkpoint(self, door: Door):
        prefix = f"{FOLDER}/checkpoints/step-48"
        self.manifest(door, prefix, final=False)
        assert door.post(self.raw(f"{prefix}/manifest.json")).status == 202
        (event,) = door.bus.events
        assert (event.name, event.subject) == ("checkpoint-written", f"runs/{RUN}")
        digest = content_digest(door.artifacts.read(f"{prefix}/manifest.json"))
        assert event.data["artifact"]["manifest_digest"] == digest
        assert event.data["artifact"]["uri"] == door.artifacts.uri(prefix)
        assert (event.data["step"], event.data["final"], event.data["artifact"]["size"]) == (48, False, 7)

    def test_told_twice_it_is_one_event(self, door: Door):
        prefix = f"{FOLDER}/checkpoints/step-48"
        self.manifest(door, prefix, final=False)
        for _ in range(2):
            assert door.post(self.raw(f"{prefix}/manifest.json")).status == 202
        assert len(door.bus.events) == 1

    def test_the_final_one_says_whose_it_is_and_what_was_measured(self, door: Door):
        prefix = f"{FOLDER}/final"
        self.manifest(door, prefix, final=True)
        door.artifacts.write(
            f"{FOLDER}/result.json", b'{"metrics": {"loss": 0.4}, "runtime": {"torch": "2"}}'
        )
        data = {"started": encode(started())}
        door.store.commit(Record(key=f"runs/{RUN}", status="TRAINING", data=data))
        answer = door.post(self.raw(f"{prefix}/manifest.json"))
        assert answer.status == 202, answer.body
        told = door.bus.events[0].data
        assert told["model"]["model_id"] == MODEL_ID
        assert told["origin"]["manifest"]["tenant"] == "team-x"
        assert (told["metrics"], told["runtime"]) == ({"loss": 0.4}, {"torch": "2"})

    def test_weights_that_lie_with_another_tenant_are_nobodys(self, door: Door):
        """Who may write below its own folder only must not speak for a run of somebody else."""
        prefix = f"{FOLDER.replace('team-x', 'team-y')}/final"
        self.manifest(door, prefix, final=True)
        data = {"started": encode(started())}
        door.store.commit(Record(key=f"runs/{RUN}", status="TRAINING", data=data))
        answer = door.post(self.raw(f"{prefix}/manifest.json"))
        assert (answer.status, "lie with team-y" in told(answer)) == (400, True)
        assert door.bus.events == []

    def test_a_run_from_before_the_tenants_folders(self, door: Door):
        prefix = f"runs/{RUN}/checkpoints/step-48"
        self.manifest(door, prefix, final=False)
        assert door.post(self.raw(f"{prefix}/manifest.json")).status == 202
        assert door.bus.events[0].data["artifact"]["uri"] == door.artifacts.uri(prefix)

    def test_the_final_one_of_nobody(self, door: Door):
        self.manifest(door, f"{FOLDER}/final", final=True)
        answer = door.post(self.raw(f"{FOLDER}/final/manifest.json"))
        assert (answer.status, "belong to no model" in told(answer)) == (400, True)

    @pytest.mark.parametrize(
        "name", [f"{FOLDER}/checkpoints/step-48/adapter.safetensors", "readme.md", f"{FOLDER}/log"]
    )
    def test_other_objects_say_nothing_and_are_no_fault(self, door: Door, name: str):
        answer = door.post(self.raw(name))
        assert (answer.status, door.bus.events) == (200, [])
        assert "ignored" in answer.body["events"][0]

    def test_a_manifest_that_lies_elsewhere(self, door: Door):
        self.manifest(door, f"{FOLDER}/checkpoints/step-49", final=False, step=48)
        assert door.post(self.raw(f"{FOLDER}/checkpoints/step-49/manifest.json")).status == 400

    def test_a_manifest_whose_files_are_not_there(self, door: Door):
        prefix = f"{FOLDER}/checkpoints/step-48"
        self.manifest(door, prefix, final=False)
        door.artifacts.delete(f"{prefix}/adapter.safetensors")
        answer = door.post(self.raw(f"{prefix}/manifest.json"))
        assert (answer.status, "adapter.safetensors" in told(answer)) == (400, True)

    def test_a_manifest_that_cannot_be_read_yet(self, door: Door):
        assert door.post(self.raw(f"{FOLDER}/final/manifest.json")).status == 503

    def pushed(self, door: Door, name: str, kind: str = "OBJECT_FINALIZE", **changes: Any) -> Answer:
        """As Pub/Sub pushes a bucket's own notification, unwrapped and with metadata."""
        data = {"kind": "storage#object", "bucket": "forge", "name": name, "generation": "17", **changes}
        headers = {"eventtype": kind, "payloadformat": "JSON_API_V1", "x-goog-pubsub-message-id": "1"}
        body = {"updated": "2026-11-23T10:00:00.5Z", **data}
        return door.post(body, "application/octet-stream", **headers)

    def test_the_buckets_own_word_is_as_good_as_eventarcs(self, door: Door):
        prefix = f"{FOLDER}/checkpoints/step-48"
        self.manifest(door, prefix, final=False)
        first, again = (self.pushed(door, f"{prefix}/manifest.json") for _ in range(2))
        assert (first.status, again.body["events"][0]["duplicate"]) == (202, True)
        (event,) = door.bus.events
        assert (event.name, event.data["step"], event.source) == ("checkpoint-written", 48, BUCKET)
        replaced = self.pushed(door, f"{prefix}/manifest.json", generation="18")
        assert not replaced.body["events"][0]["duplicate"]

    def test_the_buckets_own_word_of_something_else(self, door: Door):
        name = f"{FOLDER}/checkpoints/step-48/manifest.json"
        assert self.pushed(door, name, "OBJECT_DELETE").status == 200
        assert self.pushed(door, f"{'ż' * 500}/x").status == 200
        assert door.bus.events == []
        assert self.pushed(door, name, bucket="other").status == 403
        self.manifest(door, name.removesuffix("/manifest.json"), final=False)
        assert "time is missing" in told(self.pushed(door, name, updated=""))

    def test_a_bucket_that_is_not_the_senders(self, door: Door):
        source = BUCKET.replace("forge", "other")
        assert door.post(self.raw("readme.md", source=source)).status == 403

    def test_a_bucket_that_is_not_our_store(self, door: Door, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(DirectoryArtifacts, "uri", lambda _self, path: f"gs://ours/{path}")
        answer = door.post(self.raw(f"{FOLDER}/final/manifest.json"))
        assert (answer.status, "not in our artifact store" in told(answer)) == (200, True)

    @pytest.mark.parametrize("data", [None, {}, {"bucket": 1, "name": "x"}, "x"])
    def test_a_notification_without_an_object(self, door: Door, data: Any):
        assert door.post(self.raw("x", data=data)).status == 400


class TestSenders:
    def test_a_right_one(self):
        assert faults("ci", ["model-approved"], ["//ci.example"]) == []

    def test_all_faults_at_once(self):
        found = faults("Ci_1", ["push-received", "model-dreamt"], ["/kuznia/people", "/"])
        assert len(found) == 3
        assert len(faults("ci", [], [])) == 2

    @pytest.mark.parametrize("source", ["/kuznia", "/kuznia/", "/kuznia/registration", "", "//"])
    def test_our_own_sources_are_nobody_elses(self, source: str):
        assert faults("ci", ["model-approved"], [source])


@pytest.fixture
def client(door: Door) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=[route(door.ingress, LIMIT)])) as client:
        yield client


def test_over_http(door: Door, client: TestClient):
    headers = {"Authorization": f"Bearer {door.token}", "Content-Type": STRUCTURED}
    assert client.post(PATH, json=approval(), headers=headers).status_code == 202
    assert client.post(PATH, content=b"x" * (LIMIT + 1), headers=headers).status_code == 413
    refused = client.post(PATH, json=approval())
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")


def test_binary_over_http_with_text_that_is_no_ascii(door: Door, client: TestClient):
    raw = approval()
    headers = {f"ce-{name}": value for name, value in raw.items() if name not in ("data", "datacontenttype")}
    headers |= {
        "ce-id": "%C5%BC%C3%B3%C5%82w",
        "Authorization": f"Bearer {door.token}",
        "Content-Type": "application/json",
    }
    answer = client.post(PATH, json=raw["data"], headers=headers)
    assert answer.json()["events"][0]["id"] == "żółw"


def test_data_in_base64_is_data(door: Door):
    raw = approval()
    raw["data_base64"] = base64.b64encode(json.dumps(raw.pop("data")).encode()).decode()
    assert door.post(raw).status == 202
    assert door.bus.events[0].data["who"] == "Ann"


def test_data_in_base64_that_is_no_json(door: Door):
    raw = approval(data_base64=base64.b64encode(b"\x00").decode())
    del raw["data"]
    assert door.post(raw).status == 400
