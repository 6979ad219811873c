"""What a push asks for: the experiments that it changed, out of real repositories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from events.catalog import encode
from events.config_committed import ConfigCommitted
from events.push_received import PushReceived
from services.webhook.decide import NO_COMMIT
from services.webhook.effects import effects
from services.webhook.missed import look
from shared.errors import Reject
from shared.experiment.check import check
from shared.experiment.experiment import TEXT_LIMIT
from shared.experiment.folder import read_directory
from shared.experiment.scaffold import scaffold
from shared.identity import run_id
from shared.record import Do, Record
from shared.service import Ports
from shared.settings import Settings
from tests.memory import START, ManualClock, MemoryBus, MemoryStore
from tests.repository import Repository

pytestmark = pytest.mark.usefixtures("git")
NAME = "org/config"
MANIFEST, CONFIG = "name: a\n", "stage: sft\n"


class Desk:
    """A connected repository and the effect that looks into it."""

    def __init__(self, folder: Path) -> None:
        self.repository = Repository(folder / "config")
        self.clock = ManualClock()
        self.store, self.bus = MemoryStore(), MemoryBus(self.clock)
        self.ports = Ports(
            store=self.store,
            artifacts=None,  # type: ignore[arg-type]
            cluster=None,  # type: ignore[arg-type]
            clock=self.clock,
            settings=Settings(home=folder / "home", cache=folder / "cache"),
        )
        self.connect()

    def connect(self, *folders: str, branches: tuple[str, ...] = ("main",)) -> None:
        record = self.store.load(f"repositories/{NAME}")
        data = {"url": self.repository.url, "branches": list(branches), "folders": list(folders)}
        self.store.commit(
            Record(
                key=record.key,
                revision=record.revision,
                status="CONNECTED",
                data=data,
                created_at=START,
                updated_at=START,
            )
        )

    def inspect(self, before: str, after: str, branch: str = "main") -> list[ConfigCommitted]:
        push = PushReceived(
            repository=NAME,
            url=self.repository.url,
            branch=branch,
            before=before,
            after=after,
            delivery="d-1",
        )
        do = Do(id="do-1", effect="inspect", arguments=encode(push), cause="e-1")
        speeches = effects(self.ports)["inspect"](do, Record(key="branches/x"))
        assert [speech.subject for speech in speeches] == [
            f"runs/{speech.payload.run_id}" for speech in speeches
        ]
        return [speech.payload for speech in speeches]

    def paths(self, before: str, after: str, branch: str = "main") -> list[str]:
        return [committed.source.experiment for committed in self.inspect(before, after, branch)]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


class TestInspect:
    def test_an_experiment_is_told_with_all_that_is_needed_to_decide(self, desk: Desk):
        files = {
            "e/a/model.yaml": MANIFEST, "e/a/config.yaml": CONFIG, "e/a/data/dataset_info.json": "{}",
            "e/a/train.json": "[]", "README.md": "hello",
        }  # fmt: skip
        commit = desk.repository.commit(files)
        (found,) = desk.inspect(NO_COMMIT, commit)
        tree = desk.repository.git("rev-parse", "HEAD:e/a")
        assert found.run_id == run_id(NAME, "e/a", tree)
        source = found.source
        assert (source.repository, source.url, source.experiment) == (NAME, desk.repository.url, "e/a")
        assert (source.commit, source.tree, source.branch) == (commit, tree, "main")
        assert source.author == "Ann <ann@orlik.example>"
        assert found.folder.texts == {
            "model.yaml": MANIFEST,
            "config.yaml": CONFIG,
            "data/dataset_info.json": "{}",
        }
        assert {file.path: file.size for file in found.folder.files} == {
            "config.yaml": 11, "data/dataset_info.json": 2, "model.yaml": 8, "train.json": 2,
        }  # fmt: skip

    def test_it_says_where_data_may_lie_as_it_is_now(self, desk: Desk, monkeypatch: pytest.MonkeyPatch):
        commit = desk.repository.commit({"e/model.yaml": MANIFEST})
        assert desk.inspect(NO_COMMIT, commit)[0].data_roots == ()
        monkeypatch.setenv("KUZNIA_DATA_ROOTS", "gs://team, file:///srv/data")
        assert desk.inspect(NO_COMMIT, commit)[0].data_roots == ("gs://team", "file:///srv/data")

    def test_it_is_the_same_folder_that_the_check_reads_from_disk(self, desk: Desk):
        scaffold(desk.repository.path / "e" / "llm-qa", tenant="team-x", name="llm-qa", owner="Ann")
        (found,) = desk.inspect(NO_COMMIT, desk.repository.commit({}))
        assert found.folder == read_directory(desk.repository.path / "e" / "llm-qa")
        assert check(found.folder).faults == ()

    def test_several_in_one_push(self, desk: Desk):
        commit = desk.repository.commit({f"e/{name}/model.yaml": f"name: {name}\n" for name in "cab"})
        found = desk.inspect(NO_COMMIT, commit)
        assert [one.source.experiment for one in found] == ["e/a", "e/b", "e/c"]
        assert len({one.run_id for one in found}) == 3

    def test_only_what_changed(self, desk: Desk):
        first = desk.repository.commit({"e/a/model.yaml": MANIFEST, "e/b/model.yaml": MANIFEST})
        second = desk.repository.commit({"e/b/config.yaml": CONFIG, "README.md": "changed"})
        assert desk.paths(first, second) == ["e/b"]

    def test_several_commits_in_one_push(self, desk: Desk):
        first = desk.repository.commit({"e/a/model.yaml": MANIFEST})
        desk.repository.commit({"e/b/model.yaml": MANIFEST})
        desk.repository.commit({"e/c/model.yaml": MANIFEST, "e/a/config.yaml": CONFIG})
        last = desk.repository.commit({"e/a/config.yaml": None})
        assert desk.paths(first, last) == ["e/b", "e/c"]

    def test_a_deleted_folder_asks_for_nothing(self, desk: Desk):
        first = desk.repository.commit({"e/a/model.yaml": MANIFEST, "e/b/model.yaml": MANIFEST})
        second = desk.repository.commit({"e/a/model.yaml": None})
        assert desk.paths(first, second) == []

    def test_a_moved_folder_is_another_experiment(self, desk: Desk):
        first = desk.repository.commit({"e/a/model.yaml": MANIFEST})
        desk.repository.git("mv", "e/a", "e/z")
        assert desk.paths(first, desk.repository.commit({})) == ["e/z"]

    def test_the_same_content_again_is_the_same_run(self, desk: Desk):
        first = desk.repository.commit({"e/a/model.yaml": MANIFEST})
        (before,) = desk.inspect(NO_COMMIT, first)
        changed = desk.repository.commit({"e/a/model.yaml": "name: other\n"})
        back = desk.repository.commit({"e/a/model.yaml": MANIFEST})
        (after,) = desk.inspect(changed, back)
        assert after.run_id == before.run_id
        assert after.source.commit != before.source.commit

    def test_asked_twice_it_answers_alike(self, desk: Desk):
        commit = desk.repository.commit({"e/a/model.yaml": MANIFEST})
        assert desk.inspect(NO_COMMIT, commit) == desk.inspect(NO_COMMIT, commit)

    def test_of_a_new_branch_all_is_told(self, desk: Desk):
        desk.repository.commit({"e/a/model.yaml": MANIFEST})
        desk.repository.git("checkout", "--quiet", "-b", "next")
        commit = desk.repository.commit({"e/b/model.yaml": MANIFEST})
        assert desk.paths(NO_COMMIT, commit, "next") == ["e/a", "e/b"]

    def test_a_force_push_is_compared_with_what_was_there(self, desk: Desk):
        desk.repository.commit({"README.md": "root"})
        old = desk.repository.commit({"e/a/model.yaml": MANIFEST})
        desk.inspect(NO_COMMIT, old)
        desk.repository.git("reset", "--quiet", "--hard", "HEAD~1")
        new = desk.repository.commit({"e/a/model.yaml": MANIFEST, "e/b/model.yaml": MANIFEST})
        assert desk.paths(old, new) == ["e/b"]

    def test_where_what_was_there_is_gone_all_is_told(self, desk: Desk):
        commit = desk.repository.commit({"e/a/model.yaml": MANIFEST})
        assert desk.paths("f" * 40, commit) == ["e/a"]

    def test_what_was_pushed_over_meanwhile_is_left_to_the_later_push(self, desk: Desk):
        desk.repository.commit({"e/a/model.yaml": MANIFEST})
        assert desk.inspect(NO_COMMIT, "f" * 40) == []

    def test_an_older_push_is_told_as_it_was(self, desk: Desk):
        first = desk.repository.commit({"e/a/model.yaml": MANIFEST})
        desk.repository.commit({"e/a/model.yaml": "name: later\n"})
        (found,) = desk.inspect(NO_COMMIT, first)
        assert found.folder.texts["model.yaml"] == MANIFEST

    def test_links_and_submodules_are_told_as_what_they_are_and_never_followed(
        self, desk: Desk, tmp_path: Path
    ):
        (tmp_path / "secret").write_text("the secret")
        desk.repository.commit({"e/a/model.yaml": MANIFEST})
        (desk.repository.path / "e" / "a" / "config.yaml").symlink_to(tmp_path / "secret")
        (desk.repository.path / "e" / "link").symlink_to("a")
        (found,) = desk.inspect(NO_COMMIT, desk.repository.commit({}))
        assert {file.path: file.kind for file in found.folder.files} == {
            "config.yaml": "symlink",
            "model.yaml": "file",
        }
        assert found.folder.texts == {"model.yaml": MANIFEST}
        assert check(found.folder).faults

    def test_an_experiment_at_the_root(self, desk: Desk):
        commit = desk.repository.commit(
            {"model.yaml": MANIFEST, "config.yaml": CONFIG, "data/train.json": "[]"}
        )
        (found,) = desk.inspect(NO_COMMIT, commit)
        assert found.source.experiment == "."
        assert found.source.tree == desk.repository.git("rev-parse", "HEAD^{tree}")
        assert [file.path for file in found.folder.files] == ["config.yaml", "data/train.json", "model.yaml"]
        assert sorted(found.folder.texts) == ["config.yaml", "model.yaml"]

    def test_a_text_that_is_too_large_is_listed_but_not_read(self, desk: Desk):
        commit = desk.repository.commit({"e/model.yaml": MANIFEST, "e/config.yaml": "#" * (TEXT_LIMIT + 1)})
        (found,) = desk.inspect(NO_COMMIT, commit)
        assert sorted(found.folder.texts) == ["model.yaml"]
        assert {file.path for file in found.folder.files} == {"config.yaml", "model.yaml"}

    def test_only_in_watched_folders(self, desk: Desk):
        commit = desk.repository.commit(
            {"e/a/model.yaml": MANIFEST, "x/b/model.yaml": MANIFEST, "e/c/config.yaml": "a"}
        )
        assert desk.paths(NO_COMMIT, commit) == ["e/a", "x/b"]
        desk.connect("e")
        assert desk.paths(NO_COMMIT, commit) == ["e/a", "e/c"]

    def test_a_repository_that_cannot_be_fetched_is_told(self, desk: Desk):
        commit = desk.repository.commit({"e/a/model.yaml": MANIFEST})
        with pytest.raises(Reject, match="missing"):
            desk.inspect(NO_COMMIT, commit, "missing")

    def test_names_of_folders_in_all_letters(self, desk: Desk):
        names = ["e/żółw i spółka", "e/*", "e/--help", "e/a:b"]
        commit = desk.repository.commit({f"{name}/model.yaml": f"name: {name}\n" for name in names})
        found = desk.inspect(NO_COMMIT, commit)
        assert sorted(one.source.experiment for one in found) == sorted(names)
        for one in found:
            assert one.folder.texts == {"model.yaml": f"name: {one.source.experiment}\n"}


class TestMissed:
    def look(self, desk: Desk) -> list[tuple[str, str, str]]:
        """Look, let the webhook hear of it, and return what was said anew."""
        known = len(desk.bus.events)
        count = look(desk.store, desk.bus, desk.clock)
        said = desk.bus.events[known:]
        assert len(said) == count
        for event in said:
            self.heard(desk, event.data["branch"], event.data["after"])
        return [(event.data["branch"], event.data["before"], event.data["after"]) for event in said]

    def heard(self, desk: Desk, branch: str, head: str) -> None:
        record = desk.store.load(f"branches/{NAME}/{branch}")
        data: dict[str, Any] = {**record.data, "head": head}
        desk.store.commit(Record(key=record.key, revision=record.revision, status="WATCHED", data=data))

    def test_a_head_that_nobody_told_of_is_found_once(self, desk: Desk):
        commit = desk.repository.commit({"a": "1"})
        assert self.look(desk) == [("main", NO_COMMIT, commit)]
        assert self.look(desk) == []
        later = desk.repository.commit({"a": "2"})
        assert self.look(desk) == [("main", commit, later)]

    def test_until_it_was_heard_it_is_the_same_event(self, desk: Desk):
        desk.repository.commit({"a": "1"})
        look(desk.store, desk.bus, desk.clock)
        look(desk.store, desk.bus, desk.clock)
        assert len(desk.bus.events) == 1

    def test_a_branch_that_goes_the_same_way_twice_is_found_twice(self, desk: Desk):
        first = desk.repository.commit({"a": "1"})
        second = desk.repository.commit({"a": "2"})
        for _ in range(2):
            desk.repository.git("reset", "--quiet", "--hard", first)
            assert self.look(desk)[0][2] == first
            desk.repository.git("reset", "--quiet", "--hard", second)
            assert self.look(desk) == [("main", first, second)]

    def test_what_was_heard_of_is_not_missed(self, desk: Desk):
        self.heard(desk, "main", desk.repository.commit({"a": "1"}))
        assert self.look(desk) == []

    def test_only_watched_branches_of_connected_repositories(self, desk: Desk):
        commit = desk.repository.commit({"a": "1"})
        desk.repository.git("branch", "feature")
        desk.repository.git("branch", "next")
        desk.connect(branches=("main", "next", "not-there"))
        assert self.look(desk) == [("main", NO_COMMIT, commit), ("next", NO_COMMIT, commit)]
        record = desk.store.load(f"repositories/{NAME}")
        desk.store.commit(
            Record(key=record.key, revision=record.revision, status="REMOVED", data=record.data)
        )
        desk.repository.commit({"a": "2"})
        assert self.look(desk) == []

    def test_one_that_cannot_be_reached_holds_back_no_other(
        self, desk: Desk, caplog: pytest.LogCaptureFixture
    ):
        data = {"url": "/nowhere/at/all", "branches": ["main"], "folders": []}
        desk.store.commit(Record(key="repositories/a-first", status="CONNECTED", data=data))
        commit = desk.repository.commit({"a": "1"})
        assert self.look(desk) == [("main", NO_COMMIT, commit)]
        assert "a-first" in caplog.text
