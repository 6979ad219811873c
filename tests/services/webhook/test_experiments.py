"""Which folders are experiments, and which of them are new."""

from __future__ import annotations

from services.webhook.experiments import Found, changed, experiments
from shared.git import Entry

ROOT = "tree-of-the-root"


def entries(*paths: str) -> list[Entry]:
    """Files, and the trees above them."""
    folders = {path.rsplit("/", depth)[0] for path in paths for depth in range(1, path.count("/") + 1)}
    trees = [Entry(path=folder, kind="tree", object=f"tree-{folder}") for folder in sorted(folders)]
    return [*trees, *(Entry(path=path, kind="file", object="b", size=1) for path in paths)]


def found(*paths: str, folders: tuple[str, ...] = ()) -> list[str]:
    return sorted(f.path for f in experiments(entries(*paths), ROOT, folders).values())


def test_a_model_yaml_makes_an_experiment_wherever_it_lies():
    assert found("a/model.yaml", "a/config.yaml", "x/y/z/model.yaml", "docs/config.yaml") == ["a", "x/y/z"]


def test_at_the_root_it_is_called_dot():
    assert found("model.yaml", "a/model.yaml") == [".", "a"]
    assert experiments(entries("model.yaml"), ROOT, ())[""].tree == ROOT


def test_in_watched_folders_a_config_alone_is_one_too_so_that_somebody_hears_of_the_fault():
    assert found("e/a/config.yaml", "docs/config.yaml", folders=("e",)) == ["e/a"]


def test_outside_the_watched_folders_nothing_is():
    assert found("e/a/model.yaml", "f/model.yaml", "model.yaml", folders=("e",)) == ["e/a"]


def test_a_watched_folder_is_a_folder_not_the_beginning_of_a_name():
    assert found("e/model.yaml", "experiments/model.yaml", folders=("e",)) == ["e"]
    assert found("experiments/a/model.yaml", folders=("experiments/a",)) == ["experiments/a"]


def test_its_identity_is_its_tree():
    assert experiments(entries("a/model.yaml"), ROOT, ()) == {"a": Found(path="a", tree="tree-a")}


def test_other_names_are_no_markers():
    assert found("a/model.yml", "a/xmodel.yaml", "a/MODEL.yaml", folders=("a",)) == []


def test_a_folder_whose_tree_is_not_listed_is_left_out():
    assert experiments([Entry(path="a/model.yaml", kind="file", object="b")], ROOT, ()) == {}


def test_new_and_different_ones_are_changed_and_gone_ones_are_not():
    before = {name: Found(path=name, tree="1") for name in ("same", "other", "gone")}
    after = {name: Found(path=name, tree="1") for name in ("same", "new")} | {
        "other": Found(path="other", tree="2")
    }
    assert changed(after, before) == [Found(path="new", tree="1"), Found(path="other", tree="2")]
    assert changed(after, {}) == [after["new"], after["other"], after["same"]]
    assert changed({}, before) == []
