"""All faults of all files at once: texts, files, data, tokens, and what comes out where there are none."""

from __future__ import annotations

import json
import re

import pytest

from events.parts import Folder, FolderFile
from shared.experiment.check import check, render
from shared.experiment.folder import TEXT_LIMIT, as_text

MODEL = "model_name_or_path"


def spoken(folder: Folder, **options: object) -> str:
    return "\n".join(str(fault) for fault in check(folder, **options).faults)


def test_a_right_experiment_has_neither_faults_nor_warnings(make):
    checked = check(make())
    assert checked.faults == ()
    assert checked.warnings == ()
    assert checked.config["learning_rate"] == 0.002
    assert checked.config["dataset"] == "train"


def test_the_manifest_comes_with_its_defaults_as_json(make):
    manifest = check(make()).manifest
    assert json.loads(json.dumps(manifest)) == manifest
    assert manifest["evaluation"] == {
        "set": "eval.json",
        "metrics": ["contains"],
        "thresholds": {"contains": {"min": 0.7}},
        "baseline": None,
        "max_new_tokens": 64,
        "report_only": [],
    }
    assert manifest["resources"] == {
        "gpu": "none",
        "gpus": 0,
        "nodes": 1,
        "spot": False,
        "memory_gb": None,
        "disk_gb": None,
        "hours": None,
        "budget_hours": None,
        "priority": "normal",
    }
    assert manifest["deployment"] == {
        "engine": "llamafactory",
        "replicas": 1,
        "autoscaling": None,
        "approval": "auto",
        "strategy": "replace",
        "keep_minutes": 0.0,
        "canary": None,
        "scale_to_zero_minutes": 0.0,
        "cold_start_seconds": 60.0,
    }
    assert manifest["limitations"] == []


BAD_TEXTS = [
    ("config.yaml", "a: [1", r"config.yaml:\d+: is not valid YAML: expected"),
    ("config.yaml", "- a", "config.yaml: is no mapping of keys to values"),
    ("config.yaml", "", "config.yaml: is no mapping"),
    (
        "config.yaml",
        "stage: sft\nstage: pt",
        r"config.yaml:2 stage: stands twice \(first on line 1\); keep one of the two",
    ),
    (
        "config.yaml",
        "stage: !!python/object:os.system x",
        "config.yaml:1 stage: is tagged python/object:os.system, which is not read here",
    ),
    ("config.yaml", "learning_rate: .nan", "config.yaml:1 learning_rate: is not a finite number"),
    ("config.yaml", "learning_rate: 1e999", "learning_rate: is not a finite number"),
    ("config.yaml", "max_steps: " + "9" * 20, "max_steps: is too large a number"),
    ("config.yaml", "max_steps: " + "9" * 5000, "max_steps: is a number that cannot be read"),
    ("config.yaml", "learning_rate:", "config.yaml:1 learning_rate: has no value"),
    ("config.yaml", "? [a]\n: b", "config.yaml:1: has a key that is no text"),
    (
        "config.yaml",
        "a: &x {b: 1}\nc: {<<: *x}",
        r"config.yaml:2 c.<<: merges another mapping; write the keys out",
    ),
    ("config.yaml", 'a: "\\ud800"', "config.yaml:1 a: holds characters that are no text"),
    ("config.yaml", "a: " + "[" * 50 + "]" * 50, "is nested too deeply or too large"),
    ("config.yaml", "[" * 1500, "config.yaml: is not valid YAML: it is nested too deeply"),
    ("config.yaml", "a: \x07", "config.yaml: is not valid YAML: special characters are not allowed"),
    ("model.yaml", "a: b: c", "model.yaml:1: is not valid YAML: mapping values are not allowed here"),
    ("dataset_info.json", "{", r"dataset_info.json:1: is not valid JSON"),
    ("dataset_info.json", "[" * 100_000, "dataset_info.json: is not valid JSON: it is nested too deeply"),
    ("dataset_info.json", "[]", "dataset_info.json: is no object of data sets"),
    ("dataset_info.json", '{"train": 3}', "dataset_info.json:1 train: is no object"),
    ("dataset_info.json", '{"train": {}}', "dataset_info.json:1 train: has no file_name"),
    (
        "dataset_info.json",
        '{"train":\n {"script_url": "x.py"}}',
        r"dataset_info.json:1 train: runs a script \(script_url\)",
    ),
    ("dataset_info.json", '{"train": {"hf_hub_url": "o/d"}}', r"train: fetches from a hub \(hf_hub_url\)"),
    (
        "dataset_info.json",
        '{"train": {"cloud_file_name": "b/d"}}',
        r"train: fetches from a bucket \(cloud_file_name\)",
    ),
    (
        "dataset_info.json",
        '{"train": {"file_name": "/etc/passwd"}}',
        "train: has the file_name `/etc/passwd`, which leads out",
    ),
    (
        "dataset_info.json",
        '{"a": {},\n "train": {"file_name": "../x.json"}}',
        r"dataset_info.json:2 train: has the file_name `\.\./x\.json`",
    ),
    ("dataset_info.json", '{"train": {"file_name": 3}}', "train: has the file_name `3`"),
    (
        "dataset_info.json",
        '{"train": {"file_name": "trian.json"}}',
        r"train: names `trian.json`, a file that is not in this folder; did you mean `train.json`",
    ),
    (
        "dataset_info.json",
        '{"train": {"file_name": "rows.xls"}}',
        "train: names `rows.xls`, a file that is not",
    ),
]


@pytest.mark.parametrize(("file", "text", "said"), BAD_TEXTS, ids=[text[:40] for _, text, _ in BAD_TEXTS])
def test_bad_texts(make, file, text, said):
    right = make()
    folder = Folder(files=right.files, texts=right.texts | {file: text})
    assert re.search(said, spoken(folder))


BAD_FILES = [
    (FolderFile(path="link.json", size=3, kind="symlink"), "link.json: is a symbolic link"),
    (FolderFile(path="deep/link", size=3, kind="symlink"), "deep/link: is a symbolic link"),
    (FolderFile(path="vendor", size=0, kind="submodule"), "vendor: is a submodule"),
    (FolderFile(path="../x", size=0), r"\.\./x: is a path outside the experiment"),
    (
        FolderFile(path="HuggingFaceTB/SmolLM2-135M-Instruct/config.json", size=1),
        "which is also a folder here",
    ),
    (
        FolderFile(path="sub/dataset_info.json", size=300 * 1024),
        "sub/dataset_info.json: is larger than 256 KiB",
    ),
    (FolderFile(path="sub/dataset_info.json", size=3), "sub/dataset_info.json: is no text in UTF-8"),
]


@pytest.mark.parametrize(("entry", "said"), BAD_FILES, ids=[entry.path for entry, _ in BAD_FILES])
def test_bad_files(make, entry, said):
    assert re.search(said, spoken(make(extra=(entry,))))


def test_files_that_are_not_there_are_named(make):
    right = make()
    empty = spoken(Folder(files=(), texts={}))
    assert "config.yaml: is not in the folder; `kuznia new` writes one" in empty
    assert "model.yaml: is not in the folder" in empty
    renamed = tuple(FolderFile(path=f.path.replace("config.yaml", "config.yml"), size=1) for f in right.files)
    texts = {path: text for path, text in right.texts.items() if path != "config.yaml"}
    assert "config.yaml: is not in the folder; rename `config.yml`" in spoken(
        Folder(files=renamed, texts=texts)
    )


def test_a_symlinked_data_set_is_no_file(make):
    right = make()
    files = tuple(f for f in right.files if f.path != "train.json")
    link = FolderFile(path="train.json", size=3, kind="symlink")
    said = spoken(Folder(files=(*files, link), texts=right.texts))
    assert "train.json: is a symbolic link" in said
    assert "names `train.json`, a file that is not in this folder" in said


@pytest.mark.parametrize("name", ["rows.xls", "rows"])
def test_a_data_file_of_an_unread_type(make, name):
    said = spoken(make(info=json.dumps({"train": {"file_name": name}}), files={name: "x"}))
    assert f"names `{name}`, a type of file that LLaMA-Factory does not read" in said


def test_an_empty_data_file(make):
    assert "train.json: is empty" in spoken(make(files={"train.json": ""}))


def test_data_may_lie_in_a_folder_with_its_own_dataset_info(make):
    info = json.dumps({"train": {"file_name": "rows"}})
    files = {"data/dataset_info.json": info, "data/rows/a.jsonl": "{}", "data/rows/b.jsonl": "{ }"}
    assert spoken(make(config={"dataset_dir": "./data/"}, files=files)) == ""


EVALUATION = [
    ("../eval.json", r"model.yaml:\d+ evaluation.set: is `../eval.json`, which leads out"),
    (
        "evil.json",
        "evaluation.set: names `evil.json`, a file that is not in this folder; did you mean `eval.json`",
    ),
    ("train.json", "evaluation.set: is `train.json`, whose content is also trained on"),
    ("./train.json", "whose content is also trained on"),
    ("copy.json", "evaluation.set: is `copy.json`, whose content is also trained on"),
    ("rows.csv", "evaluation.set: is `rows.csv`, which is neither .json nor .jsonl"),
]


@pytest.mark.parametrize(("name", "said"), EVALUATION)
def test_the_evaluation_set_must_be_there_and_unseen(make, name, said):
    folder = make(manifest={"evaluation.set": name}, files={"copy.json": "[1]", "rows.csv": "x"})
    assert re.search(said, spoken(folder))


def test_all_faults_of_all_files_come_at_once_and_in_order(make):
    config = "learning_rat: 1\nstage: dpo\n" + "trust_remote_code: true\ndataset_dir: .\n"
    manifest = "name: X Y\ntenat: a\n"
    faults = check(make(config=config, manifest=manifest, info="{")).faults
    files = [fault.where.split(":")[0].split(" ")[0] for fault in faults]
    assert [name for at, name in enumerate(files) if at == 0 or files[at - 1] != name] == [
        "config.yaml",
        "model.yaml",
        "dataset_info.json",
    ]
    lines = [int(m[1]) for f in faults if (m := re.match(r"config\.yaml:(\d+)", f.where))]
    assert lines == sorted(lines) == [1, 2, 3]
    assert len(faults) >= 12


def test_a_broken_model_yaml_does_not_hide_the_faults_of_config_yaml(make):
    said = spoken(make(config={"stage": "dpo"}, manifest="{"))
    assert "stage: is `dpo`" in said
    assert "model.yaml:" in said


def test_what_the_platform_sets_is_a_warning_where_it_is_harmless(make):
    checked = check(make(config={"output_dir": "out", "overwrite_output_dir": False, "template": None}))
    assert checked.faults == ()
    said = [str(fault) for fault in checked.warnings]
    assert any("output_dir: is ignored: the platform sets it" in line for line in said)
    assert any("template: is missing: LLaMA-Factory guesses it" in line for line in said)
    assert len(said) == 2


def test_free_texts_may_look_like_paths(make):
    assert spoken(make(config={"default_system": "/no_think ../", "add_special_tokens": "/think,~x"})) == ""


def test_base_models_that_the_platform_does_not_have(make):
    known = ["HuggingFaceTB/SmolLM2-135M-Instruct"]
    assert spoken(make(), known_models=known) == ""
    said = spoken(make(config={MODEL: "huggingfacetb/smollm2-135M"}), known_models=known)
    assert f"which this platform does not have; did you mean `{known[0]}`?" in said
    assert "take one of those it has: none" in spoken(make(), known_models=[])


TOKENS = [
    "hf_abcdefghijklmnop",
    "sk-abcdefghijklmnop1234",
    "ghp_abcdefghij1234567890",
    "github_pat_abcdefgh1234",
]


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("place", ["value", "key", "comment", "known key", "manifest", "info"])
def test_a_token_in_clear_is_found_everywhere_and_never_repeated(make, token, place):
    folder = {
        "value": lambda: make(config={"learning_rate": token}),
        "key": lambda: make(config={token: 1}),
        "comment": lambda: make(config=f"stage: sft # {token}\n"),
        "known key": lambda: make(config={"hf_hub_token": token}),
        "manifest": lambda: make(manifest={"owner": token}),
        "info": lambda: make(info=json.dumps({"train": {"file_name": token}})),
    }[place]()
    checked = check(folder)
    assert any("holds what looks like a token or key in clear" in fault.what for fault in checked.faults)
    assert token not in render((*checked.faults, *checked.warnings))


def test_ordinary_words_are_no_tokens(make):
    assert spoken(make(manifest={"owner": "the task-force risk-assessment-and-more sk-8"})) == ""


def test_values_are_shown_on_one_line(make):
    said = spoken(make(config={"stage": "a\nb\x1b[31m" + "c" * 500}))
    assert "\x1b" not in said
    assert all(len(line) < 600 for line in said.splitlines())
    assert r"a\nb" in said


def test_odd_names_of_folders_stay_on_one_line(make):
    said = spoken(make(config={"dataset_dir": "a\nb"}))
    assert r"a\nb/dataset_info.json: is not there" in said


def test_a_text_over_the_limit_is_not_taken():
    assert as_text(b"x" * (TEXT_LIMIT + 1)) is None
