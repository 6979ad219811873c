"""Names follow from what is named, and from nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid

from hypothesis import given
from hypothesis import strategies as st

from shared.identity import MAX_NAME, content_digest, event_id, model_id, run_id, workload_name
from tests.contracts.adapters import ROOT

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")  # RFC 1123
WORDS = st.text(min_size=1, max_size=80)


def test_names_are_these_for_ever():
    """A changed name would make done things be done again: whoever changes one must think of old homes."""
    assert event_id("e-1", "model-deployed", "models/a") == "7e9dc53a-be1b-51be-b372-4592ced2d698"
    assert run_id("experiments", "experiments/llm-qa", "e2ec093b") == "r-4412490628985281"
    assert (
        workload_name("serve", "team-x.llm-qa.v1", "1.0.0", "1") == "serve-team-x-llm-qa-v1-1-0-0-1-6952b2ad"
    )
    assert content_digest(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_names_do_not_depend_on_the_process():
    script = "from shared.identity import *; print(event_id('a', 'b'), run_id('a', 'b', 'c'), workload_name('a.b'))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [event_id("a", "b"), run_id("a", "b", "c"), workload_name("a.b")]


@given(st.tuples(WORDS, WORDS, WORDS), st.tuples(WORDS, WORDS, WORDS))
def test_other_words_make_another_event(one: tuple[str, str, str], other: tuple[str, str, str]):
    same = one == other or "\n".join(one) == "\n".join(other)
    assert (event_id(*one) == event_id(*other)) == same
    assert uuid.UUID(event_id(*one)).version == 5


@given(st.text(), st.text(), st.text())
def test_a_run_is_sixteen_digits_of_its_content(repository: str, experiment: str, tree: str):
    assert re.fullmatch(r"r-[0-9a-f]{16}", run_id(repository, experiment, tree))
    assert run_id(repository, experiment, tree) != run_id(repository, experiment, tree + "0")


def test_the_major_version_is_part_of_the_model():
    assert model_id("team-x", "llm-qa", "1.4.2") == "team-x.llm-qa.v1"
    assert model_id("team-x", "llm-qa", "12.0.0-rc.1") == "team-x.llm-qa.v12"
    assert model_id("team-x", "llm-qa", "4b825dc642cb") == "team-x.llm-qa.v0"
    assert model_id("team-x", "llm-qa", "1.0") == "team-x.llm-qa.v0"


@given(st.lists(WORDS, min_size=1, max_size=4))
def test_a_workload_s_name_is_a_dns_label(parts: list[str]):
    name = workload_name(*parts)
    assert len(name) <= MAX_NAME
    assert LABEL.fullmatch(name)


@given(st.lists(WORDS, min_size=1, max_size=3), st.lists(WORDS, min_size=1, max_size=3))
def test_other_parts_make_another_name(one: list[str], other: list[str]):
    if "-".join(one) != "-".join(other):
        assert workload_name(*one) != workload_name(*other)


def test_long_names_are_cut_and_stay_apart():
    one, other = workload_name("serve", "a" * 80, "1"), workload_name("serve", "a" * 80, "2")
    assert one != other
    assert len(one) == len(other) == MAX_NAME
    assert workload_name("train", "r-0123456789abcdef") == "train-r-0123456789abcdef"
    assert len(workload_name("a" * MAX_NAME)) == MAX_NAME
