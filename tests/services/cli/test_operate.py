# ruff: noqa: F401, F811 - fixtures come by import
"""`kuznia approve`, `reject`, `rollback`, `deprecate`, `retry`: each an event with who and why, or one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.ports.bus import Query
from tests.services.chain import MODEL_ID
from tests.services.cli.operators import forge, forged, home
from tests.services.cli.prepared import kuznia, read, refused, told
from tests.shared.operations.home import Home

NEXT = f"{MODEL_ID}@1.2.0"


@pytest.fixture(autouse=True)
def ann(forge: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUZNIA_USER", "ann")
    forge._said = 10_000  # words of its own: the home was copied, and ids follow from this count


def last(forge: Home, name: str) -> dict[str, Any]:
    (logged,) = forge.bus.log(Query(name=name, limit=1, newest=True))
    return {**logged.event.data, "subject": logged.event.subject, "source": logged.event.source}


def status(version: str) -> str:
    return str(read("show", f"{MODEL_ID}@{version}")["status"])


def one_line(said: str) -> str:
    assert said.startswith("kuznia: ")
    assert said.count("\n") == 1, said
    return said


class TestApprove:
    @pytest.fixture
    def waiting(self, forge: Home, tmp_path: Path) -> None:
        forge.train(tmp_path, version="1.2.0", approval="required")

    def test_it_lets_the_version_out(self, forge: Home, waiting: None):
        assert status("1.2.0") == "VALIDATED"
        text = told("approve", NEXT, "--role", "compliance", "--reason", "seen")
        assert text.startswith(f"approved {NEXT} (the platform is not up")
        word = last(forge, "model-approved")
        record = forge.store.load(f"models/{NEXT}").data
        assert (word["who"], word["role"], word["reason"], word["source"]) == (
            "ann",
            "compliance",
            "seen",
            "/kuznia/cli",
        )
        assert (word["manifest_digest"], word["card_digest"]) == (
            record["manifest_digest"],
            record["card_digest"],
        )
        forge.pump()
        assert (status("1.2.0"), status("1.1.0")) == ("DEPLOYED", "DEPRECATED")

    def test_a_rejected_one_stays_in(self, forge: Home, waiting: None):
        told("reject", NEXT, "--role", "compliance", "--reason", "no overseer at night")
        forge.pump()
        assert read("show", NEXT)["rejection"]["who"] == "ann"
        told("approve", NEXT, "--role", "owner")
        forge.pump()
        assert status("1.2.0") == "VALIDATED"

    def test_a_hat_has_to_be_named(self, waiting: None):
        result = kuznia("approve", NEXT)
        assert result.exit_code == 2
        assert "--role" in result.stderr

    def test_what_has_no_card_cannot_be_judged(self, forge: Home, tmp_path: Path):
        forge.pods.tuned = {"contains": 0.1}
        forge.train(tmp_path, version="1.2.0")
        for command in (["approve", NEXT, "--role", "x"], ["reject", NEXT, "--role", "x", "--reason", "y"]):
            assert "has no card yet, so there is nothing to judge: it is TRAINED" in one_line(
                refused(*command)
            )

    def test_an_unknown_version(self):
        assert "there are: " in one_line(refused("approve", f"{MODEL_ID}@9.9.9", "--role", "x"))


class TestRollback:
    def test_to_the_one_before(self, forge: Home):
        assert told("rollback", MODEL_ID, "--reason", "slow").startswith(f"rolling {MODEL_ID} back to 1.0.0")
        assert last(forge, "rollback-requested")["by"] == "ann"
        forge.pump()
        assert (status("1.0.0"), status("1.1.0")) == ("DEPLOYED", "DEPRECATED")

    def test_to_a_named_one(self, forge: Home, tmp_path: Path):
        forge.train(tmp_path, version="1.2.0")
        told("rollback", MODEL_ID, "--to", "1.0.0")
        forge.pump()
        assert status("1.0.0") == "DEPLOYED"

    @pytest.mark.parametrize(
        ("words", "told_"),
        [
            (
                ["team-x.other.v1"],
                "no model 'team-x.other.v1' has been released; there are: team-x.llm-qa.v1",
            ),
            ([MODEL_ID, "--to", "9.9.9"], f"{MODEL_ID} has no version 9.9.9; there are: 1.0.0, 1.1.0"),
            ([MODEL_ID, "--to", "1.1.0"], f"{MODEL_ID}@1.1.0 already answers"),
        ],
    )
    def test_a_mistake_is_told_at_once(self, forge: Home, words: list[str], told_: str):
        assert told_ in one_line(refused("rollback", *words))
        assert forge.bus.log(Query(name="rollback-requested")) == []

    def test_not_to_what_may_not_answer(self, forge: Home, tmp_path: Path):
        forge.pods.tuned = {"contains": 0.1}
        forge.train(tmp_path, version="1.2.0")
        assert "may not answer" in one_line(refused("rollback", MODEL_ID, "--to", "1.2.0"))


class TestDeprecate:
    def test_it_answers_no_more(self, forge: Home):
        told("deprecate", f"{MODEL_ID}@1.1.0", "--reason", "it insults people")
        forge.pump()
        found = read("show", f"{MODEL_ID}@1.1.0")
        assert found["status"] == "DEPRECATED"
        assert (found["deprecation"]["by"], found["deprecation"]["reason"]) == ("ann", "it insults people")
        assert forge.store.load(f"releases/{MODEL_ID}").data["live"] == ""

    def test_why_has_to_be_said(self):
        assert kuznia("deprecate", f"{MODEL_ID}@1.1.0").exit_code == 2


class TestRetry:
    def test_only_what_failed(self, forge: Home):
        run = read("runs")[0]["run_id"]
        assert "is SUCCEEDED; only a FAILED run can be tried again" in one_line(refused("retry", run))

    def test_a_failed_run(self, forge: Home, tmp_path: Path):
        forge.pods.training = "failed"
        run = forge.train(tmp_path, version="1.2.0")
        forge.pods.training = "succeeded"
        told("retry", run[:10])
        forge.pump()
        assert read("show", run)["status"] == "SUCCEEDED"
