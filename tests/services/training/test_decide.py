"""The life of a run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from events.catalog import encode
from events.checkpoint_written import CheckpointWritten
from events.retry_requested import RetryRequested
from events.training_finished import TrainingFinished
from events.training_progressed import TrainingProgressed
from events.training_started import TrainingStarted
from services.training import SERVICE
from services.training.decide import model_version
from shared.errors import Retry
from shared.experiment.check import check
from shared.record import Dead
from tests.memory import START
from tests.services.chain import committed, experiment, faulty
from tests.services.words import Hearing, artifact, changed, model, said, wished


@pytest.fixture
def run(tmp_path: Path) -> Hearing:
    """A run that trains."""
    config = committed(experiment(tmp_path))
    hearing = Hearing(SERVICE, f"runs/{config.run_id}")
    hearing.hear(config)
    begin(hearing)
    return hearing


def begin(run: Hearing) -> None:
    """It has a slot, and its job was asked for."""
    run.hear(msgspec.convert(run.data["started"], TrainingStarted))


def name(run: Hearing) -> str:
    return run.record.name


def progress(run: Hearing, step: int, attempt: int = 1, **facts: Any) -> TrainingProgressed:
    return TrainingProgressed(
        run_id=name(run), attempt=attempt, phase="training", step=step, total_steps=48, **facts
    )


def finished(run: Hearing, outcome: str, **facts: Any) -> TrainingFinished:
    return TrainingFinished(run_id=name(run), attempt=1, outcome=outcome, **facts)  # type: ignore[arg-type]


def checkpoint(run: Hearing, step: int, weights: str = "") -> CheckpointWritten:
    return CheckpointWritten(
        run_id=name(run), step=step, final=False, artifact=artifact(f"step-{step}", weights)
    )


def job(run: Hearing, phase: str, **facts: Any) -> Any:
    return changed(phase, facts.pop("name", run.data["job"]), "training", run.record.key, **facts)


class TestCommitted:
    def test_a_right_config_becomes_a_run_that_trains(self, tmp_path: Path):
        config = committed(experiment(tmp_path))
        run = Hearing(SERVICE, f"runs/{config.run_id}")
        decision = run.hear(config)
        assert run.status == "QUEUED"
        (launch,) = wished(decision)
        assert launch[0] == "launch"
        assert launch[1]["job"] == run.data["job"] == f"train-{config.run_id}"
        assert launch[1]["model"]["model_id"] == "team-x.llm-qa.v1"
        assert launch[1]["origin"]["manifest"]["owner"] == "Support Engineering"
        assert launch[1]["origin"]["source"] == encode(config.source)
        assert (run.data["checkpoints"], run.data["warnings"]) == ([], [])

    def test_a_faulty_one_is_refused_with_all_its_faults(self):
        config = faulty()
        run = Hearing(SERVICE, f"runs/{config.run_id}")
        decision = run.hear(config)
        assert (run.status, wished(decision)) == ("REJECTED", [])
        (word,) = said(decision)
        assert (word.outcome, word.attempt) == ("failed", 0)
        assert word.cause.startswith(f"{len(run.data['faults'])} fault(s) in the config:\n")
        assert len(run.data["faults"]) > 5
        assert any("learning_rat" in fault and "learning_rate" in fault for fault in run.data["faults"])

    @pytest.mark.parametrize(
        ("roots", "status"), [(("gs://ours",), "REJECTED"), (("gs://theirs",), "QUEUED"), (None, "QUEUED")]
    )
    def test_data_outside_the_allowed_roots_is_refused_before_a_job_is_asked_for(
        self, tmp_path: Path, roots: tuple[str, ...] | None, status: str
    ):
        """In the words of `kuznia check`, which knows the same roots; the event says them, so nothing is asked."""
        folder = experiment(tmp_path)
        entry = json.dumps({"train": {"file_name": "gs://theirs/train.jsonl", "formatting": "alpaca"}})
        texts = {**folder.texts, "dataset_info.json": entry}
        texts["config.yaml"] = re.sub(r"(?m)^dataset: .*$", "dataset: train", texts["config.yaml"])
        folder = msgspec.structs.replace(folder, texts=texts)
        config = msgspec.structs.replace(committed(folder), data_roots=roots)
        run = Hearing(SERVICE, f"runs/{config.run_id}")
        run.hear(config)
        checked = [str(fault) for fault in check(folder, data_roots=roots).faults]
        assert run.data.get("faults", []) == checked
        assert run.status == status, checked

    def test_the_same_content_again_is_the_same_run(self, run: Hearing, tmp_path: Path):
        config = committed(experiment(tmp_path), commit="f" * 40, branch="other")
        assert config.run_id == name(run)
        assert run.hear(config) is None

    def test_the_version_may_be_the_commit(self, tmp_path: Path):
        config = committed(experiment(tmp_path, version="commit"), commit="0123456789abcdef" * 2 + "01234567")
        made = model_version(config, {"tenant": "team-x", "name": "llm-qa", "version": "commit"})
        assert (made.model_id, made.version) == ("team-x.llm-qa.v0", "0123456789ab")


class TestProgress:
    def test_the_latest_is_kept(self, run: Hearing):
        run.hear(progress(run, 1, loss=3.1))
        run.hear(progress(run, 2, loss=2.9))
        assert (run.data["progress"]["step"], run.data["progress"]["loss"]) == (2, 2.9)
        assert run.data["progress"]["at"] > START.isoformat()

    def test_what_is_older_is_not(self, run: Hearing):
        run.hear(progress(run, 5))
        assert run.hear(progress(run, 5)) is None
        assert run.hear(progress(run, 4)) is None
        assert run.hear(progress(run, 0, attempt=2)) is not None

    def test_once_it_ended_there_is_no_more(self, run: Hearing):
        run.hear(finished(run, "succeeded"))
        assert run.hear(progress(run, 5)) is None

    def test_of_an_unknown_run_nothing_is_kept(self):
        stranger = Hearing(SERVICE, "runs/r-stranger")
        assert stranger.hear(progress(stranger, 1)) is None


class TestCheckpoints:
    def test_they_are_kept_in_order_of_step(self, run: Hearing):
        for step in (32, 16, 8):
            run.hear(checkpoint(run, step))
        assert [entry["step"] for entry in run.data["checkpoints"]] == [8, 16, 32]

    def test_a_step_written_anew_replaces_the_old_one(self, run: Hearing):
        run.hear(checkpoint(run, 16))
        run.hear(checkpoint(run, 16, weights="again"))
        assert [entry["digest"] for entry in run.data["checkpoints"]] == ["sha256:again"]

    def test_the_final_one_is_the_registry_s(self, run: Hearing):
        last = msgspec.structs.replace(checkpoint(run, 48), final=True, model=model())
        run.hear(last)
        assert run.data["checkpoints"] == []

    def test_of_an_unknown_run_nothing_is_kept(self):
        stranger = Hearing(SERVICE, "runs/r-stranger")
        assert stranger.hear(checkpoint(stranger, 16)) is None

    def test_a_late_one_changes_no_status(self, run: Hearing):
        run.hear(finished(run, "failed", cause="out of memory"))
        run.hear(checkpoint(run, 16))
        assert run.status == "FAILED"


class TestEnd:
    def test_it_succeeds(self, run: Hearing):
        run.hear(finished(run, "succeeded", metrics={"train_loss": 0.43}, runtime={"torch": "2.13.0"}))
        assert run.status == "SUCCEEDED"
        assert (run.data["metrics"], run.data["runtime"], run.data["cause"]) == (
            {"train_loss": 0.43},
            {"torch": "2.13.0"},
            "",
        )

    def test_it_fails_with_a_cause(self, run: Hearing):
        decision = run.hear(finished(run, "failed", cause="out of memory"))
        assert (run.status, run.data["cause"], said(decision)) == ("FAILED", "out of memory", [])

    def test_preempted_it_goes_on(self, run: Hearing):
        run.hear(finished(run, "preempted"))
        run.hear(finished(run, "preempted"))
        assert run.status == "TRAINING"
        assert len(run.data["preemptions"]) == 2

    @pytest.mark.parametrize("again", ["failed", "preempted"])
    def test_what_ended_stays_ended(self, run: Hearing, again: str):
        run.hear(finished(run, "succeeded"))
        assert run.hear(finished(run, again)) is None

    def test_a_job_that_dies_without_a_word_is_spoken_for(self, run: Hearing):
        decision = run.hear(
            job(run, "failed", reason="OutOfMemory", message="4 GB were not enough", attempt=2)
        )
        assert (run.status, run.data["cause"]) == ("FAILED", "OutOfMemory: 4 GB were not enough")
        (word,) = said(decision)
        assert (word.outcome, word.attempt, word.cause) == ("failed", 2, run.data["cause"])

    def test_a_job_that_ends_without_a_word_failed_too(self, run: Hearing):
        (word,) = said(run.hear(job(run, "succeeded")))
        assert (run.status, word.cause) == ("FAILED", "the job ended without a word")

    def test_the_pod_s_own_word_holds_even_if_it_comes_late(self, run: Hearing):
        run.hear(job(run, "failed", reason="Killed", message="by somebody"))
        run.hear(finished(run, "succeeded", metrics={"train_loss": 0.43}))
        assert (run.status, run.data["metrics"], run.data["cause"]) == ("SUCCEEDED", {"train_loss": 0.43}, "")

    @pytest.mark.parametrize("first", ["weights", "failure"])
    def test_whose_weights_are_there_has_succeeded_in_whatever_order_it_is_heard(
        self, run: Hearing, first: str
    ):
        weights = msgspec.structs.replace(
            checkpoint(run, 48), final=True, model=model(), metrics={"train_loss": 0.43}
        )
        failure = job(run, "failed", reason="Killed", message="by somebody", attempt=2)
        heard = [weights, failure] if first == "weights" else [failure, weights]
        run.hear(heard[0])
        (word,) = said(run.hear(heard[1]))
        assert (run.status, run.data["metrics"], run.data["cause"]) == ("SUCCEEDED", {"train_loss": 0.43}, "")
        assert (word.outcome, word.metrics, word.job) == ("succeeded", {"train_loss": 0.43}, run.data["job"])

    def test_while_it_runs_there_is_nothing_to_say(self, run: Hearing):
        decision = run.hear(job(run, "running"))
        assert (run.status, said(decision), wished(decision)) == ("TRAINING", [], [])

    def test_after_its_end_there_is_nothing_to_say(self, run: Hearing):
        run.hear(finished(run, "succeeded"))
        assert run.hear(job(run, "succeeded")) is None

    def test_while_the_pod_s_word_may_lie_among_the_dead_letters_there_is_no_verdict(self, run: Hearing):
        run.record = msgspec.structs.replace(run.record, dead=Dead(event="e-lost", cause="no room", at=START))
        with pytest.raises(Retry, match="is dead: what its pod said may lie among the dead letters"):
            run.hear(job(run, "succeeded"))


class TestRetry:
    def retry(self, run: Hearing) -> RetryRequested:
        return RetryRequested(run_id=name(run), by="ben", reason="the machine was at fault")

    def test_a_failed_run_is_tried_again_under_a_new_job(self, run: Hearing):
        first = run.data["job"]
        run.hear(progress(run, 30))
        run.hear(finished(run, "failed", cause="disk full"))
        (launch,) = wished(run.hear(self.retry(run)))
        assert run.status == "QUEUED"
        assert launch[1]["job"] == run.data["job"] != first
        assert (run.data["cause"], run.data["progress"]) == ("", {})
        assert [(entry["by"], entry["reason"]) for entry in run.data["retries"]] == [
            ("ben", "the machine was at fault")
        ]
        assert run.hear(progress(run, 3)) is not None

    def test_where_a_run_lies_is_settled_once_a_job(self, run: Hearing):
        """What is under the job's name is asked for in the same words, whatever was written meanwhile."""
        run.hear(checkpoint(run, 16))  # it lies where runs lay before 0.1
        assert not run.data["asked"].get("prefix")
        run.hear(finished(run, "failed", cause="disk full"))
        (launch,) = wished(run.hear(self.retry(run)))
        assert launch[1]["asked"]["prefix"] == f"runs/{name(run)}"

    def test_the_old_job_s_end_means_nothing_then(self, run: Hearing):
        first = run.data["job"]
        run.hear(finished(run, "failed", cause="disk full"))
        run.hear(self.retry(run))
        assert run.hear(job(run, "failed", name=first)) is None
        assert run.hear(finished(run, "failed", job=first)) is None
        assert run.status == "QUEUED"

    def test_each_retry_is_another_job(self, run: Hearing):
        jobs = {run.data["job"]}
        for _ in range(3):
            run.hear(finished(run, "failed", cause="disk full"))
            run.hear(self.retry(run))
            begin(run)
            jobs.add(run.data["job"])
        assert len(jobs) == 4

    def test_only_what_failed_is_tried_again(self, run: Hearing):
        assert run.hear(self.retry(run)) is None
        run.hear(finished(run, "succeeded"))
        assert run.hear(self.retry(run)) is None
        stranger = Hearing(SERVICE, "runs/r-stranger")
        assert stranger.hear(self.retry(stranger)) is None


def test_of_the_cluster_s_changes_only_our_own_jobs_are_heard(run: Hearing):
    event = run.event(changed("failed", "eval-1", "validation", "evaluations/x"))
    assert SERVICE.key(event) is None
