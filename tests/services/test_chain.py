"""All services together, in memory: from a commit to a model that answers, and all the ways it can stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events.envelope import Event
from events.model_deprecated import ModelDeprecated
from events.retry_requested import RetryRequested
from events.rollback_requested import RollbackRequested
from tests.services.chain import MODEL_ID, Pods, World, committed, experiment, faulty

CHAIN = [
    "config-committed", "training-started", "checkpoint-written", "training-finished", "model-registered",
    "model-validated", "card-rendered", "model-deployed",
]  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def forge(world: World, tmp_path: Path, **edits: str) -> str:
    run = world.commit(committed(experiment(tmp_path, **edits)))
    world.pump()
    return run


def model(world: World, version: str = "1.0.0") -> str:
    return world.status(f"models/{MODEL_ID}@{version}")


def release(world: World) -> dict[str, Any]:
    return world.store.load(f"releases/{MODEL_ID}").data


def roll_back(world: World, version: str = "") -> None:
    world.say(RollbackRequested(model_id=MODEL_ID, version=version, by="ben"), f"releases/{MODEL_ID}")
    world.pump()


def unharmed(world: World) -> None:
    """Nothing lies among the dead letters, and nothing is owed."""
    assert world.bus.dead == []
    assert [record.key for record in world.store.snapshot().values() if record.outbox or record.dead] == []


class TestMainLine:
    def test_a_commit_becomes_a_model_that_answers(self, world: World, tmp_path: Path):
        run = forge(world, tmp_path)
        assert (world.status(f"runs/{run}"), model(world)) == ("SUCCEEDED", "DEPLOYED")
        assert world.status(f"evaluations/{MODEL_ID}@1.0.0") == "PASSED"
        assert world.status(f"cards/{MODEL_ID}@1.0.0") == "RENDERED"
        assert release(world)["live"] == "1.0.0"
        names = [event.name for event in world.bus.events]
        firsts = [names.index(name) for name in CHAIN]
        assert all(name in names for name in CHAIN)
        assert firsts[4:] == sorted(firsts[4:])
        unharmed(world)

    def test_every_event_leads_back_to_the_commit(self, world: World, tmp_path: Path):
        forge(world, tmp_path)
        (deployed,) = world.said("model-deployed")
        causes, event = [deployed.name], deployed
        while event.cause:
            found = world.bus.event(event.cause)
            assert found is not None, f"{event.name} names a cause that was never said"
            causes.append(found.name)
            event = found
        assert causes[-1] in (
            "config-committed",
            "workload-changed",
            "evaluation-finished",
            "checkpoint-written",
        )

    def test_the_digests_agree_from_the_weights_to_the_release(self, world: World, tmp_path: Path):
        forge(world, tmp_path)
        record = world.store.load(f"models/{MODEL_ID}@1.0.0").data
        (deployed,) = world.said("model-deployed")
        (card,) = world.said("card-rendered")
        assert deployed.data["manifest_digest"] == record["manifest_digest"] == card.data["manifest_digest"]
        assert deployed.data["card_digest"] == record["card_digest"] == card.data["digest"]
        content = world.ports.artifacts.read(record["card_path"])
        assert record["metrics"]["contains"] == 0.93
        assert record["model_id"].encode() in content

    def test_there_is_one_of_each(self, world: World, tmp_path: Path):
        forge(world, tmp_path)
        forge(world, tmp_path)
        kinds = [record.kind for record in world.store.snapshot().values()]
        assert sorted(kinds) == ["cards", "claims", "evaluations", "models", "releases", "runs", "slots"]
        assert len(world.cluster.applied) == 4
        unharmed(world)

    def test_a_second_version_replaces_the_first(self, world: World, tmp_path: Path):
        forge(world, tmp_path)
        first = release(world)["versions"]["1.0.0"]["release"]
        forge(world, tmp_path, version="1.1.0")
        assert (model(world), model(world, "1.1.0")) == ("DEPRECATED", "DEPLOYED")
        assert (release(world)["live"], world.cluster.stopped) == ("1.1.0", [first])
        unharmed(world)

    def test_two_commits_in_quick_succession(self, world: World, tmp_path: Path):
        for version in ("1.0.0", "1.1.0"):
            world.commit(committed(experiment(tmp_path, version=version)))
        world.pump()
        assert (release(world)["live"], model(world, "1.1.0")) == ("1.1.0", "DEPLOYED")
        assert model(world) == "DEPRECATED"
        running = set(world.cluster.applied) - set(world.cluster.stopped)
        assert [name for name in running if name.startswith("serve-")] == [
            release(world)["versions"]["1.1.0"]["release"]
        ]
        unharmed(world)

    def test_back_and_forth(self, world: World, tmp_path: Path):
        forge(world, tmp_path)
        forge(world, tmp_path, version="1.1.0")
        roll_back(world)
        assert (model(world), model(world, "1.1.0"), release(world)["live"]) == (
            "DEPLOYED",
            "DEPRECATED",
            "1.0.0",
        )
        roll_back(world)
        assert (model(world), model(world, "1.1.0"), release(world)["live"]) == (
            "DEPRECATED",
            "DEPLOYED",
            "1.1.0",
        )
        unharmed(world)

    def test_withdrawn_nothing_answers(self, world: World, tmp_path: Path):
        forge(world, tmp_path)
        word = ModelDeprecated(model_id=MODEL_ID, version="1.0.0", by="ben", reason="it insults people")
        world.say(word, f"models/{MODEL_ID}@1.0.0")
        world.pump()
        assert (model(world), release(world)["live"]) == ("DEPRECATED", "")
        assert world.store.load(f"models/{MODEL_ID}@1.0.0").data["deprecation"]["by"] == "ben"
        unharmed(world)


class TestApproval:
    def test_a_high_risk_waits_for_a_person(self, world: World, tmp_path: Path):
        forge(world, tmp_path, risk_class="HIGH_RISK\nrisk_analysis: https://risk.example/1")
        assert (model(world), world.said("model-deployed")) == ("VALIDATED", [])
        assert not [name for name in world.cluster.applied if name.startswith("serve-")]
        world.approve("1.0.0")
        world.pump()
        assert model(world) == "DEPLOYED"
        unharmed(world)

    @pytest.mark.parametrize("field", ["manifest_digest", "card_digest"])
    def test_approved_as_something_else_it_waits_on(self, world: World, tmp_path: Path, field: str):
        forge(world, tmp_path, approval="required")
        world.approve("1.0.0", **{field: "sha256:other"})
        world.pump()
        assert (model(world), release(world)["live"]) == ("VALIDATED", "")
        (letter,) = world.bus.dead
        assert "other weights or another card than are registered" in letter.cause
        world.approve("1.0.0")
        world.pump()
        assert model(world) == "DEPLOYED"


class TestStops:
    def test_a_faulty_config_is_refused(self, world: World):
        run = world.commit(faulty())
        world.pump()
        assert world.status(f"runs/{run}") == "REJECTED"
        assert [event.name for event in world.bus.events] == ["config-committed", "training-finished"]
        assert world.cluster.applied == {}
        unharmed(world)

    def test_a_failed_training(self, world: World, tmp_path: Path):
        world.pods.training = "failed"
        run = forge(world, tmp_path)
        record = world.store.load(f"runs/{run}")
        assert record.status == "FAILED"
        assert "out of memory" in record.data["cause"]
        assert world.store.list("models") == []
        unharmed(world)

    def test_tried_again_it_succeeds(self, world: World, tmp_path: Path):
        world.pods.training = "failed"
        run = forge(world, tmp_path)
        world.pods.training = "succeeded"
        world.say(RetryRequested(run_id=run, by="ben"), f"runs/{run}")
        world.pump()
        assert (world.status(f"runs/{run}"), model(world)) == ("SUCCEEDED", "DEPLOYED")
        unharmed(world)

    def test_a_training_job_that_vanishes(self, world: World, tmp_path: Path):
        world.pods.training = "silent"
        run = forge(world, tmp_path)
        assert world.status(f"runs/{run}") == "TRAINING"
        job = world.cluster.applied[f"train-{run}"]
        world.cluster.change(job, "failed", reason="Vanished", message="the machine was restarted too often")
        world.pump()
        assert world.status(f"runs/{run}") == "FAILED"
        unharmed(world)

    def test_other_content_under_a_taken_version(self, world: World, tmp_path: Path):
        forge(world, tmp_path)
        second = forge(world, tmp_path, seed="7")
        record = world.store.load(f"runs/{second}")
        assert record.status == "FAILED"
        assert "raise `version` in experiments/llm-qa/model.yaml" in record.data["cause"]
        assert release(world)["live"] == "1.0.0"
        unharmed(world)

    @pytest.mark.parametrize(
        "pods",
        [
            Pods(tuned={"contains": 0.69, "rouge_l": 0.5}),
            Pods(base={"contains": 0.6, "rouge_l": 0.5}),
            Pods(tuned={"rouge_l": 0.9}),
            Pods(measuring="failed"),
        ],
        ids=["below the threshold", "no gain", "not measured", "measuring failed"],
    )
    def test_what_does_not_pass_does_not_answer(self, tmp_path: Path, pods: Pods):
        world = World(tmp_path, pods)
        forge(world, tmp_path)
        assert (model(world), world.said("model-deployed"), world.said("card-rendered")) == (
            "TRAINED",
            [],
            [],
        )
        (verdict,) = world.said("model-validated")
        assert verdict.data["passed"] is False
        assert "FAILED" in world.ports.artifacts.read(verdict.data["report"]).decode()
        served = [name for name in world.cluster.applied if name.startswith("serve-")]
        assert served == world.cluster.stopped
        unharmed(world)

    def test_an_engine_that_will_not(self, world: World, tmp_path: Path):
        world.pods.engine = "failed"
        forge(world, tmp_path)
        record = world.store.load(f"models/{MODEL_ID}@1.0.0")
        assert record.status == "VALIDATED"
        assert record.data["deployment_failure"]["cause"] == "NotReady: it did not answer within 600 s"
        unharmed(world)

    def test_a_second_engine_that_will_not_leaves_the_first(self, world: World, tmp_path: Path):
        forge(world, tmp_path)
        world.pods.engine = "failed"
        forge(world, tmp_path, version="1.1.0")
        assert (release(world)["live"], model(world), model(world, "1.1.0")) == (
            "1.0.0",
            "DEPLOYED",
            "VALIDATED",
        )
        unharmed(world)

    def test_an_engine_that_restarts_is_found_at_its_new_address(self, world: World, tmp_path: Path):
        forge(world, tmp_path)
        version = release(world)["versions"]["1.0.0"]
        world.cluster.ready(world.cluster.applied[version["release"]])
        world.pump()
        again = release(world)["versions"]["1.0.0"]
        assert again["address"] != version["address"]
        assert (release(world)["live"], model(world)) == ("1.0.0", "DEPLOYED")
        assert len(world.said("model-deployed")) == 1
        unharmed(world)


class TestReplay:
    """Whatever is delivered again, by whomever, in whatever order, the registry stays as it was."""

    def everything(self, world: World, tmp_path: Path) -> None:
        forge(world, tmp_path)
        forge(world, tmp_path, version="1.1.0")
        roll_back(world)

    def test_every_event_once_more(self, world: World, tmp_path: Path):
        self.everything(world, tmp_path)
        before, events = world.store.snapshot(), list(world.bus.events)
        for event in events:
            world.replay(event)
        world.pump()
        assert world.store.snapshot() == before
        assert world.bus.events == events
        unharmed(world)

    def test_every_event_once_more_backwards(self, world: World, tmp_path: Path):
        self.everything(world, tmp_path)
        before, events = world.store.snapshot(), list(world.bus.events)
        for event in reversed(events):
            world.replay(event)
        world.pump()
        assert world.store.snapshot() == before
        assert world.bus.events == events

    def test_a_commit_said_anew_by_another_push_makes_nothing(self, world: World, tmp_path: Path):
        forge(world, tmp_path)
        before = world.store.snapshot()
        for _ in range(4):
            forge(world, tmp_path)
        assert world.store.snapshot() == before

    @settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_duplicates_in_the_middle_change_nothing_at_the_end(
        self, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
    ):
        folder = tmp_path_factory.mktemp("replay")
        calm, shaken = World(folder / "calm"), World(folder / "shaken")
        forge(calm, folder)
        shaken.commit(committed(experiment(folder)))
        for _ in range(data.draw(st.integers(1, 60))):
            if not shaken._step():
                break
            if shaken.bus.events and data.draw(st.booleans()):
                self.again(shaken, data.draw(st.sampled_from(shaken.bus.events)))
        shaken.pump()
        assert statuses(shaken) == statuses(calm)
        assert {event.name for event in shaken.bus.events} == {event.name for event in calm.bus.events}
        unharmed(shaken)

    def again(self, world: World, event: Event) -> None:
        """Only what was delivered before may come once more: the bus keeps the order of a subject."""
        waiting = {(item.service, item.event.subject) for item in world.bus.pending}
        for service in world.services.values():
            if event.name in service.hears and (service.name, event.subject) not in waiting:
                world.deliver(service.name, event)


def statuses(world: World) -> dict[str, str]:
    return {key: record.status for key, record in world.store.snapshot().items()}


def test_the_snapshot_sees_a_change(world: World, tmp_path: Path):
    """The replay tests would not, if this were not so."""
    forge(world, tmp_path)
    before = world.store.snapshot()
    record = world.store.load(f"releases/{MODEL_ID}")
    world.store.commit(msgspec.structs.replace(record, data={**record.data, "previous": "0.9.0"}))
    assert world.store.snapshot() != before
