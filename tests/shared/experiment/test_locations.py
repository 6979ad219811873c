"""URLs of data: which are taken, and all that is wrong with the others."""

from __future__ import annotations

import json
import re

import pytest

from shared.experiment.check import check, render
from shared.experiment.locations import located, roots_of, sha256_of, wrong_with
from shared.settings import SettingsError
from tests.shared.experiment.conftest import Make

ROOTS = ("file:///srv/data", "artifactory://repo.example/artifactory/data", "gs://team")
GOOD = [
    "gs://team/pumps/train.jsonl",
    "s3://any-bucket/a%20b.json",
    "file:///srv/data/train.csv",
    "file:///srv/d%61ta/train.csv",
    "artifactory://repo.example/artifactory/data/x/train.parquet",
    "hf://datasets/acme/pumps@main/data/train.jsonl",
    "hf://datasets/acme/pumps@refs%2Fconvert%2Fparquet/train.parquet",
]
BAD = [
    ("ftp://host/a.json", "of the scheme `ftp`, which is not read"),
    ("https://host/a.json", "of the scheme `https`, which is not read"),
    ("gs://team/../other/a.json", r"segment that is empty, `\.` or"),
    ("gs://team/%2e%2e/other/a.json", r"segment that is empty, `\.` or"),
    ("gs://team//a.json", "segment that is empty"),
    ("gs://team/x%2Fa.json", "hides a slash"),
    ("gs://team/a%zz.json", "an escape that is none"),
    ("gs://team/a.json?X-Goog-Signature=1", "a query or a fragment"),
    ("gs://team/a b.json", "spaces"),
    ("gs://team/*.json", "is a pattern"),
    ("gs://team/${HOME}.json", "is a pattern"),
    ("gs://team/folder/", "names no file"),
    ("gs:///a.json", "does not begin as gs://"),
    ("gs://team/model.pkl", "a type that LLaMA-Factory does not read"),
    ("gs://elsewhere/a.json", "does not lie below an allowed root .gs://team."),
    ("gs://team2/a.json", "does not lie below an allowed root"),
    ("s3://key:secret@bucket/a.json", "carries a user or password"),
    ("file:///etc/shadow.json", "does not lie below an allowed root"),
    ("file:///srv/data2/a.json", "does not lie below an allowed root"),
    ("file://host/srv/data/a.json", "does not begin as file://"),
    ("artifactory://evil.example/artifactory/data/a.json", "does not lie below an allowed root"),
    ("artifactory+http://repo.example/artifactory/data/a.json", r"none of artifactory\+http:// is"),
    ("hf://datasets/acme/pumps/train.json", "is no file of a data set at a revision"),
    ("hf://acme/pumps@main/train.json", "does not begin as hf://"),
]


@pytest.mark.parametrize("url", GOOD)
def test_what_is_taken(url: str) -> None:
    assert wrong_with(url, ROOTS) == []


@pytest.mark.parametrize(("url", "told"), BAD)
def test_what_is_wrong_is_told_with_how_to_mend_it(url: str, told: str) -> None:
    wrong = wrong_with(url, ROOTS)
    assert any(re.search(told, what) for what, _ in wrong), wrong
    assert all(mend for _, mend in wrong)


def test_the_disk_is_closed_where_no_root_is_named() -> None:
    assert wrong_with("file:///srv/data/a.json", ())
    assert wrong_with("artifactory://repo.example/artifactory/data/a.json", ())
    assert wrong_with("gs://any/a.json", ()) == []
    assert wrong_with("file:///srv/data/a.json", None) == [], "the pod knows them"


def test_the_parts_of_a_hubs_file() -> None:
    place = located("hf://datasets/acme/pumps@refs%2Fpr%2F1/a/b%20c.json")
    assert (place.repository, place.revision, place.path) == ("acme/pumps", "refs/pr/1", "a/b c.json")
    assert wrong_with("hf://datasets/acme/pumps@v1/a.json", ["hf://datasets/acme"]) == []
    assert wrong_with("hf://datasets/acme/pumps@v1/a.json", ["hf://datasets/acme/pumps"]) == []
    assert wrong_with("hf://datasets/acme/pumps2@v1/a.json", ["hf://datasets/acme/pumps"])


def test_roots_are_read_from_the_environment_and_every_bad_one_is_told() -> None:
    told = {"KUZNIA_DATA_ROOTS": "file:///srv/data/, gs://team"}
    assert roots_of(told) == ("file:///srv/data", "gs://team")
    assert roots_of({}) == ()
    with pytest.raises(SettingsError) as caught:
        roots_of({"KUZNIA_DATA_ROOTS": "/srv/data,file:///,gs://a/../b"})
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("said", "found"),
    [(None, ""), ("", ""), ("AB" * 32, "ab" * 32), ("sha256:" + "0" * 64, "0" * 64), ("12", None), (3, None)],
)
def test_a_sha256(said: object, found: str | None) -> None:
    assert sha256_of(said) == found


def info(**entries: dict[str, object]) -> str:
    return json.dumps(entries)


def test_an_experiment_by_url_is_right(make: Make) -> None:
    folder = make(
        info=info(train={"file_name": "gs://team/train.jsonl", "sha256": "a" * 64}),
        manifest={"evaluation.set": "gs://team/eval.jsonl", "evaluation.sha256": "b" * 64},
    )
    checked = check(folder, data_roots=ROOTS)
    assert checked.faults == ()
    assert checked.manifest["evaluation"]["sha256"] == "b" * 64


def test_no_sha256_leaves_no_trace(make: Make) -> None:
    assert "sha256" not in check(make()).manifest["evaluation"]


def test_all_that_is_wrong_with_an_experiment_is_told_at_once(make: Make) -> None:
    folder = make(
        info=info(
            train={"file_name": "file:///etc/passwd.json", "sha256": "12"},
            other={"file_name": "other.json", "sha256": "a" * 64},
            more={"cloud_file_name": "gs://team/x.json"},
            last={"hf_hub_url": "acme/pumps"},
        ),
        files={"other.json": "[3]"},
        manifest={"evaluation.set": "s3://u:p@bucket/eval.csv"},
    )
    told = render(check(folder, data_roots=ROOTS).faults)
    for wrong in (
        "train\n    names `file:///etc/passwd.json`, which does not lie below an allowed root",
        "train\n    has a sha256 that is none",
        "other\n    has a sha256, which is for data that a URL names",
        "fetches from a bucket (cloud_file_name)",
        "fetches from a hub (hf_hub_url)",
        "evaluation.set\n    names `s3://u:p@bucket/eval.csv`, which carries a user or password",
        "which is neither .json nor .jsonl",
    ):
        assert wrong in told, told


@pytest.mark.parametrize(
    ("train", "evaluation"),
    [
        ({"file_name": "gs://team/a.json"}, {"evaluation.set": "gs://team/a.json"}),
        (
            {"file_name": "gs://team/a.json", "sha256": "a" * 64},
            {"evaluation.set": "gs://team/b.json", "evaluation.sha256": "A" * 64},
        ),
    ],
)
def test_an_evaluation_set_that_is_trained_on_is_told(
    make: Make, train: dict[str, object], evaluation: dict[str, str]
) -> None:
    folder = make(info=info(train=train), manifest=evaluation)
    assert "whose content is also trained on" in render(check(folder).faults)


@pytest.mark.parametrize("said", ["pumps-24", "gs://team/a.json", "gs://team", "gs://team/"])
def test_a_data_id_may_be_a_name_or_what_is_trained_on(make: Make, said: str) -> None:
    folder = make(info=info(train={"file_name": "gs://team/a.json"}), manifest={"data.id": said})
    assert check(folder).faults == ()


def test_a_data_id_that_names_other_data_is_told(make: Make) -> None:
    told = render(check(make(manifest={"data.id": "gs://team/b.json"})).faults)
    assert "data.id\n    is `gs://team/b.json`, a URL that config.yaml does not train on" in told


@pytest.mark.parametrize(
    "url", ["://", "gs://", "hf://", "file://", "gs://\0", "GS://a@b/%", "s3://[x/a.json", "x://y"]
)
def test_whatever_is_written_is_answered(url: str) -> None:
    assert wrong_with(url, ROOTS)
