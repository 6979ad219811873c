"""A commit's status at its forge: the right words to each forge's API, and what becomes of every answer."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from events.catalog import encode, name_of
from events.deployment_failed import DeploymentFailed
from events.envelope import Event
from events.model_deployed import ModelDeployed
from events.retry_requested import RetryRequested
from events.training_finished import TrainingFinished
from events.training_queued import TrainingQueued
from services.status import SERVICE
from services.status.forges import POSTS
from services.webhook.forges import FORGES as CONNECTED
from shared.errors import Retry
from shared.hosts.driver import Driver
from shared.reaction import react
from shared.record import Record
from shared.service import Ports
from shared.settings import Settings
from tests.memory import ManualClock, MemoryBus, MemoryStore
from tests.services.other_side import OtherSide, Told, listening
from tests.services.words import MODEL_ID, RUN, SOURCE, rejected, started, validated

KEY = f"{MODEL_ID}@1.0.0"
DEPLOYED = ModelDeployed(
    model_id=MODEL_ID, version="1.0.0", release="serve-1", manifest_digest="sha256:1", card_digest="sha256:2"
)


class World:
    """The status service alone; the repository is connected with a token, the run and the version are known."""

    def __init__(self, home: Path, api: str, forge: str = "github") -> None:
        self.home, self.clock, self.store = home, ManualClock(), MemoryStore()
        (home / "token").write_text("tok-1\n")
        self.connect(api, forge)
        data = {"source": encode(SOURCE), "model": {"model_id": MODEL_ID, "version": "1.0.0"}}
        self.store.commit(Record(key=f"runs/{RUN}", status="TRAINING", data=data))
        self.store.commit(Record(key=f"models/{KEY}", status="TRAINED", data={"run_id": RUN}))
        settings = Settings(home=home, cache=home)
        ports = Ports(store=self.store, artifacts=None, cluster=None, clock=self.clock, settings=settings)  # type: ignore[arg-type]
        self.driver = Driver({"status": SERVICE}, ports, MemoryBus(self.clock))  # type: ignore[arg-type]
        self.heard = 0

    def connect(self, api: str, forge: str, **changes: Any) -> None:
        known = self.store.load(f"repositories/{SOURCE.repository}")
        data = {
            "forge": forge, "api": api, "token_file": str(self.home / "token"), "console": "https://kuznia.example/",
            "url": SOURCE.url, "branches": ["main"], "folders": [], **changes,
        }  # fmt: skip
        self.store.commit(msgspec.structs.replace(known, status="CONNECTED", data=data))

    def hear(self, payload: Any) -> None:
        self.heard += 1
        self.clock.move(1)
        event = Event(
            id=f"e-{self.heard}",
            name=name_of(payload),
            source="/test",
            subject="x",
            time=self.clock.now(),
            data=encode(payload),
        )
        self.driver.run(react(SERVICE, event))


@pytest.fixture
def forge() -> Iterator[OtherSide]:
    with listening(OtherSide()) as other:
        other.answer = lambda _asked: Told(201, {})
        yield other


@pytest.fixture
def world(tmp_path: Path, forge: OtherSide) -> World:
    return World(tmp_path, forge.url)


def finished(outcome: Any, cause: str = "") -> TrainingFinished:
    return TrainingFinished(run_id=RUN, attempt=1, outcome=outcome, cause=cause)


def queued(place: int) -> TrainingQueued:
    why = "team-x trains 1 of 1 at once"
    return TrainingQueued(run_id=RUN, job="train-1", place=place, waiting=3, why=why, patient=True)


@pytest.mark.parametrize(
    ("payload", "state", "words"),
    [
        (queued(2), "pending", "queued, place 2 of 3: team-x trains 1 of 1 at once"),
        (started(), "pending", "training"),
        (finished("succeeded"), "pending", "validation follows"),
        (finished("preempted"), "pending", "goes on"),
        (finished("failed", "out of memory"), "failure", "out of memory"),
        (RetryRequested(run_id=RUN, by="Ann"), "pending", "Ann"),
        (validated(), "pending", "passed"),
        (validated(passed=False), "failure", "contains 0.1 (demanded >= 0.7)"),
        (rejected(), "failure", "rejected by Ann (compliance): seen"),
        (DEPLOYED, "success", f"{KEY} answers"),
        (
            DeploymentFailed(model_id=MODEL_ID, version="1.0.0", release="r", cause="no room"),
            "failure",
            "no room",
        ),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_what_is_said_of_what(world: World, forge: OtherSide, payload: Any, state: str, words: str):
    world.hear(payload)
    (asked,) = forge.asked
    said = asked.json()
    assert asked.path == f"/repos/{SOURCE.repository}/statuses/{SOURCE.commit}"
    assert said["state"] == state
    assert words in said["description"]
    assert said["target_url"] == f"https://kuznia.example/runs/{RUN}"
    assert said["context"] == "kuznia-experiments-llm-qa"


def test_a_long_cause_is_one_short_line(world: World, forge: OtherSide):
    world.hear(finished("failed", "3 fault(s) in the config:\n" + "x" * 500))
    description = forge.asked[0].json()["description"]
    assert len(description) == 140
    assert "\n" not in description


@pytest.mark.parametrize(
    ("name", "path", "header", "states"),
    [
        ("github", "/repos/a/b/statuses/{}", ("authorization", "Bearer tok-1"), ("pending", "success", "failure")),
        ("gitea", "/repos/a/b/statuses/{}", ("authorization", "token tok-1"), ("pending", "success", "failure")),
        ("forgejo", "/repos/a/b/statuses/{}", ("authorization", "token tok-1"), ("pending", "success", "failure")),
        ("gitlab", "/projects/a%2Fb/statuses/{}", ("private-token", "tok-1"), ("pending", "success", "failed")),
        (
            "bitbucket", "/repositories/a/b/commit/{}/statuses/build", ("authorization", "Bearer tok-1"),
            ("INPROGRESS", "SUCCESSFUL", "FAILED"),
        ),
    ],
)  # fmt: skip
def test_each_forge_in_its_own_words(
    world: World, forge: OtherSide, name: str, path: str, header: tuple[str, str], states: tuple[str, ...]
):
    world.store.commit(
        msgspec.structs.replace(
            world.store.load(f"runs/{RUN}"), data={"source": {**encode(SOURCE), "repository": "a/b"}}
        )
    )
    data = {"forge": name, "api": forge.url, "token_file": str(world.home / "token"), "console": "http://c"}
    world.store.commit(Record(key="repositories/a/b", status="CONNECTED", data=data))
    for payload in (validated(), DEPLOYED, rejected()):
        world.hear(payload)
    assert [asked.path for asked in forge.asked] == [path.format(SOURCE.commit)] * 3
    assert tuple(asked.json()["state"] for asked in forge.asked) == states
    assert {asked.headers[header[0]] for asked in forge.asked} == {header[1]}
    assert all(f"http://c/runs/{RUN}" in json.dumps(asked.json()) for asked in forge.asked)


def test_bitbucket_server_has_an_api_of_its_own(world: World, forge: OtherSide):
    world.connect(f"{forge.url}/rest", "bitbucket")
    forge.answer = lambda _asked: Told(204)
    world.hear(started())
    assert forge.asked[0].path == f"/rest/build-status/1.0/commits/{SOURCE.commit}"
    assert len(forge.asked[0].json()["key"]) <= 40


def test_a_late_word_of_the_run_does_not_hide_what_came_after(world: World, forge: OtherSide):
    world.hear(validated())
    world.hear(DEPLOYED)
    world.hear(finished("succeeded"))
    assert [asked.json()["state"] for asked in forge.asked] == ["pending", "success"]


def test_without_a_token_nothing_is_said(world: World, forge: OtherSide):
    for changes in ({"token_file": ""}, {"token_file": str(world.home / "none")}):
        world.connect(forge.url, "github", **changes)
        world.hear(started())
    assert forge.asked == []


def test_a_token_may_change_under_us(world: World, forge: OtherSide):
    world.hear(started())
    (world.home / "token").write_text("tok-2")
    world.hear(finished("succeeded"))
    assert [asked.headers["authorization"] for asked in forge.asked] == ["Bearer tok-1", "Bearer tok-2"]


def test_what_is_known_of_no_run_is_left_alone(world: World, forge: OtherSide):
    world.hear(msgspec.structs.replace(DEPLOYED, version="9.9.9"))
    assert forge.asked == []


@pytest.mark.parametrize(
    "told", [Told(401), Told(403), Told(404), Told(422), Told(400), Told(302, headers={"location": "/x"})]
)
def test_a_refusal_is_told_in_the_log_and_is_the_end_of_it(
    world: World, forge: OtherSide, told: Told, caplog: pytest.LogCaptureFixture
):
    forge.answer = lambda _asked: told
    with caplog.at_level(logging.WARNING):
        world.hear(started())
    record = world.store.load(f"statuses/{RUN}")
    assert (record.dead, record.outbox, len(forge.asked)) == (None, (), 1)
    assert str(told.status) in caplog.text
    assert "tok-1" not in caplog.text


@pytest.mark.parametrize(
    ("told", "after"),
    [
        (Told(500), None), (Told(502), None), (Told(429, headers={"Retry-After": "7"}), 7.0),
        (Told(403, headers={"retry-after": "9"}), 9.0), (Told(403, headers={"x-ratelimit-remaining": "0"}), None),
        (Told(503, headers={"retry-after": "999999"}), 3600.0),
    ],
)  # fmt: skip
def test_what_passes_is_tried_again(world: World, forge: OtherSide, told: Told, after: float | None):
    forge.answer = lambda _asked: told
    with pytest.raises(Retry) as raised:
        world.hear(started())
    assert raised.value.after == after
    assert [intent.effect for intent in world.store.load(f"statuses/{RUN}").outbox] == ["write"]  # type: ignore[union-attr]


def test_a_forge_that_does_not_answer_is_tried_again(world: World):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        world.connect(f"http://127.0.0.1:{free.getsockname()[1]}", "github")
    with pytest.raises(Retry, match="no answer"):
        world.hear(started())


def test_gitlab_refuses_to_hear_the_same_twice_and_that_is_well(
    world: World, forge: OtherSide, caplog: pytest.LogCaptureFixture
):
    world.connect(forge.url, "gitlab")
    forge.answer = lambda _asked: Told(
        400, {"message": "Cannot transition status via :enqueue from :pending"}
    )
    with caplog.at_level(logging.WARNING):
        world.hear(started())
    assert caplog.text == ""


def test_every_forge_that_can_be_connected_can_be_told():
    assert set(POSTS) == set(CONNECTED)


def test_who_waits_is_told_of_once_a_place(world: World, forge: OtherSide):
    for place in (2, 2, 1, 1):
        world.hear(queued(place))
    assert [asked.json()["description"][:15] for asked in forge.asked] == [
        "queued, place 2",
        "queued, place 1",
    ]


def test_that_a_version_is_another_run_s_is_told_whatever_became_of_that(world: World, forge: OtherSide):
    world.hear(validated())
    data = {"source": encode(SOURCE), "model": {"model_id": MODEL_ID, "version": "1.0.0"}}
    world.store.commit(Record(key="runs/r-second", status="QUEUED", data=data))
    world.hear(
        TrainingFinished(run_id="r-second", attempt=0, outcome="failed", cause="already made by another")
    )
    assert [asked.json()["state"] for asked in forge.asked] == ["pending", "failure"]
    assert forge.asked[-1].json()["description"] == "already made by another"
