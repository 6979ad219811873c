# ruff: noqa: F401, F811 - fixtures come by import
"""`kuznia runs`, `models`, `show`, `card`, `logs` and `watch`: for people, and as JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from services.cli.look import BRIEF_FIELDS
from shared.local.cluster.layout import Layout
from tests.services.chain import MODEL_ID, faulty
from tests.services.cli.operators import forge, forged, home
from tests.services.cli.prepared import kuznia, read, refused, told
from tests.shared.operations.home import Home, set_home


@pytest.fixture(autouse=True)
def prepared(forge: Home) -> Home:
    forge._said = 10_000  # words of its own: the home was copied, and ids follow from this count
    return forge


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Home(tmp_path / "empty").close()
    set_home(tmp_path / "empty", monkeypatch)


class TestRuns:
    def test_newest_first(self, forge: Home):
        found = read("runs")
        assert [run["status"] for run in found] == ["SUCCEEDED", "SUCCEEDED"]
        assert [run["model"]["version"] for run in found] == ["1.1.0", "1.0.0"]

    def test_a_refused_one_tells_its_first_line(self, forge: Home):
        forge.say(faulty(), f"runs/{faulty().run_id}", "/kuznia/webhook")
        forge.pump()
        assert "REJECTED" in told("runs")
        assert read("runs")[0]["faults"]

    def test_the_table(self):
        text = told("runs")
        assert all(word in text for word in ("run", "status", "model", "SUCCEEDED", "24/48", "0.8123"))

    def test_of_none(self, empty: None):
        assert told("runs").strip() == "no runs"
        assert read("runs") == []


class TestModels:
    def test_with_all_fields_of_the_brief(self):
        found = read("models")
        assert [(model["version"], model["status"]) for model in found] == [
            ("1.0.0", "DEPRECATED"),
            ("1.1.0", "DEPLOYED"),
        ]
        assert all(set(BRIEF_FIELDS) <= set(model) for model in found)

    def test_filtered(self):
        assert [model["version"] for model in read("models", "--status", "DEPLOYED")] == ["1.1.0"]
        assert read("models", "--tenant", "team-y") == []
        assert len(read("models", "--tenant", "team-x")) == 2

    def test_the_table(self):
        text = re.sub(r"\s+", " ", told("models"))
        assert "DEPLOYED" in text
        assert "LIMITED_RISK" in text


class TestShow:
    def test_a_version(self):
        found = read("show", f"{MODEL_ID}@1.0.0")
        assert (found["version"], found["status"]) == ("1.0.0", "DEPRECATED")
        text = told("show", f"{MODEL_ID}@1.0.0")
        assert text.startswith("model_id: ")
        assert "contains: 0.93" in text

    def test_a_model_is_its_live_version(self):
        assert read("show", MODEL_ID)["version"] == "1.1.0"

    def test_a_run_by_the_beginning_of_its_id(self):
        run = read("runs")[0]["run_id"]
        assert read("show", run[:8])["run_id"] == run

    @pytest.mark.parametrize("name", [f"{MODEL_ID}@9.9.9", "team-x.other.v1", "nonsense"])
    def test_what_is_not_there_is_told_with_what_is(self, name: str):
        said = refused("show", name)
        assert said.startswith(f"kuznia: no model version is called {name!r}; there are: ")
        assert f"{MODEL_ID}@1.1.0" in said
        assert said.count("\n") == 1

    def test_a_run_that_is_not_there(self):
        said = refused("show", "r-zzz")
        assert "no run begins with 'r-zzz'; there are: r-" in said

    def test_a_beginning_of_several(self):
        assert "several runs begin with 'r-'" in refused("show", "r-")

    def test_of_none(self, empty: None):
        assert "there are: none yet" in refused("show", MODEL_ID)


class TestCard:
    def test_as_markdown(self):
        text = told("card", MODEL_ID)
        assert text.startswith("---\n")
        assert MODEL_ID in text

    def test_as_its_document(self):
        assert isinstance(json.loads(told("card", f"{MODEL_ID}@1.0.0", "--json")), dict)

    def test_of_a_version_that_has_none(self, forge: Home, tmp_path: Path):
        forge.pods.tuned = {"contains": 0.1}
        forge.train(tmp_path, version="1.2.0")
        said = refused("card", f"{MODEL_ID}@1.2.0")
        assert f"{MODEL_ID}@1.2.0 has no card: it is TRAINED, and a card follows a passed validation" in said


class TestLogs:
    @pytest.fixture
    def written(self, forge: Home) -> str:
        """A training job with a log; its name."""
        job = str(read("runs")[-1]["job"])
        path = Layout(forge.settings.cluster / job).log
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"line {number}\n" for number in range(300)))
        return job

    def test_of_a_run_and_of_its_job(self, written: str):
        run = read("runs")[-1]["run_id"]
        assert told("logs", run, "--tail", "2").splitlines()[-2:] == ["line 298", "line 299"]
        assert told("logs", written, "--tail", "2") == told("logs", run, "--tail", "2")
        assert read("logs", run, "--tail", "1") == {"workload": written, "lines": ["line 299"]}

    def test_of_a_workload_that_never_was(self):
        said = refused("logs", "train-nothing")
        assert "train-nothing" in said
        assert said.count("\n") == 1

    def test_of_a_version_that_was_never_deployed(self, forge: Home, tmp_path: Path):
        forge.pods.tuned = {"contains": 0.1}
        forge.train(tmp_path, version="1.2.0")
        assert "was never deployed, so no engine has a log" in refused("logs", f"{MODEL_ID}@1.2.0")


class TestWatch:
    def test_of_a_run_that_went_the_whole_way(self):
        run = read("runs")[0]["run_id"]
        text = told("watch", run)
        assert f"{MODEL_ID}@1.1.0 is DEPLOYED" in text
        for name in (
            "config-committed",
            "training-started",
            "model-registered",
            "model-validated",
            "card-rendered",
        ):
            assert name in text
        assert read("watch", run) == {"run": run, "good": True, "end": f"{MODEL_ID}@1.1.0 is DEPLOYED"}

    def test_the_newest_if_none_is_named(self):
        assert read("watch")["end"] == f"{MODEL_ID}@1.1.0 is DEPLOYED"

    def test_of_a_refused_run(self, forge: Home):
        forge.say(faulty(), f"runs/{faulty().run_id}", "/kuznia/webhook")
        forge.pump()
        result = kuznia("watch", faulty().run_id)
        assert result.exit_code == 1
        assert "training failed" in result.stdout
        assert "learning_rat" in result.stdout

    def test_of_a_failed_validation(self, forge: Home, tmp_path: Path):
        forge.pods.tuned = {"contains": 0.1}
        run = forge.train(tmp_path, version="1.2.0")
        result = kuznia("watch", run, "--json")
        assert result.exit_code == 1
        assert json.loads(result.stdout)["end"].startswith(
            "validation failed; the report: tenants/team-x/evaluations/"
        )

    def test_of_an_engine_that_would_not(self, forge: Home, tmp_path: Path):
        forge.pods.engine = "failed"
        run = forge.train(tmp_path, version="1.2.0")
        result = kuznia("watch", run)
        assert result.exit_code == 1
        assert "deployment failed: NotReady" in result.stdout

    def test_of_one_that_waits_for_a_person(self, forge: Home, tmp_path: Path):
        run = forge.train(tmp_path, version="1.2.0", approval="required")
        assert read("watch", run)["end"] == (
            f"{MODEL_ID}@1.2.0 waits for a person: `kuznia approve {MODEL_ID}@1.2.0 --role …`"
        )

    def test_of_a_run_that_was_tried_again_it_tells_how_that_ended(self, forge: Home, tmp_path: Path):
        forge.pods.training = "failed"
        run = forge.train(tmp_path, version="1.2.0")
        assert kuznia("watch", run).exit_code == 1
        forge.pods.training = "succeeded"
        told("retry", run, "--reason", "the machine was at fault")
        forge.pump()
        assert read("watch", run)["end"] == f"{MODEL_ID}@1.2.0 is DEPLOYED"

    def test_without_any_run(self, empty: None):
        assert "there is no run yet: push a commit" in refused("watch")


class TestEndings:
    def test_of_a_version_that_was_not_needed_any_more(self, forge: Home, tmp_path: Path):
        forge.pods.engine = "slow"
        first = forge.train(tmp_path, version="1.2.0")
        forge.pods.engine = "ready"
        second = forge.train(tmp_path, version="1.3.0")
        assert read("watch", second)["end"] == f"{MODEL_ID}@1.3.0 is DEPLOYED"
        result = kuznia("watch", first, "--json")
        assert result.exit_code == 1
        assert json.loads(result.stdout)["end"].startswith(f"{MODEL_ID}@1.2.0 was withdrawn: 1.3.0 went live")

    def test_of_a_version_that_a_person_rejected(self, forge: Home, tmp_path: Path):
        forge.pods.engine = "slow"
        run = forge.train(tmp_path, version="1.2.0")
        told("reject", f"{MODEL_ID}@1.2.0", "--role", "owner", "--reason", "it insults people")
        forge.pump()
        result = kuznia("watch", run, "--json")
        assert result.exit_code == 1
        assert "was rejected by" in json.loads(result.stdout)["end"]
