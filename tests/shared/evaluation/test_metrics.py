"""Metrics against values worked out by hand, and laws that hold for all texts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.evaluation.metrics import Answer, Row, by_group, contains, exact_match, overall, rouge_l, score


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        ("Paris", "Paris", 1),
        (" paris. ", "Paris", 1),
        ("Call  extension\n4410!", "call extension 4410", 1),
        ("Ｐａｒｉｓ", "paris", 1),
        ("Straße", "STRASSE", 1),
        ("the Paris", "Paris", 0),
        ("", "Paris", 0),
        ("7.5", "75", 0),
    ],
)
def test_exact_match(prediction: str, reference: str, expected: float) -> None:
    assert exact_match(prediction, reference) == expected


@pytest.mark.parametrize(
    ("prediction", "expect", "expected"),
    [
        ("The inlet  filter is BLOCKED.", "inlet filter is blocked", 1),
        ("There are seven days.", "7|seven", 1),
        ("There are 17 days.", "7|seven", 0),
        ("There are 7 days.", "7|seven", 1),
        ("A 7 years warranty", "7 year", 1),
        ("A 17 year warranty", "7 year", 0),
        ("Extension 44101", "4410", 0),
        ("Tarn-5 oil", "Tarn-5", 1),
        ("Tarn-50 oil", "Tarn-5", 0),
        ("anything", " | ", 0),
        ("a.c", "a.c", 1),
        ("abc", "a.c", 0),
    ],
)
def test_contains(prediction: str, expect: str, expected: float) -> None:
    assert contains(prediction, expect) == expected


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        # Lin 2004, section 3.1: police killed the gunman / police kill the gunman / the gunman kill police.
        ("police kill the gunman", "police killed the gunman", 0.75),
        ("the gunman kill police", "police killed the gunman", 0.5),
        ("a b c d", "a b c d", 1.0),
        ("a b", "a b c d", 2 * 1 * 0.5 / 1.5),
        ("", "a", 0.0),
        ("a", "", 0.0),
        ("x y", "a b", 0.0),
    ],
)
def test_rouge_l(prediction: str, reference: str, expected: float) -> None:
    assert rouge_l(prediction, reference) == pytest.approx(expected)


words = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=8)


@given(words, words)
def test_rouge_l_is_a_share_and_symmetric(left: list[str], right: list[str]) -> None:
    value = rouge_l(" ".join(left), " ".join(right))
    assert 0 <= value <= 1
    assert value == pytest.approx(rouge_l(" ".join(right), " ".join(left)))
    assert (value == 1) == (left == right != [])


def subsequences(items: list[str]) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = {()}
    for item in items:
        found |= {(*one, item) for one in found}
    return found


@given(words, words)
def test_rouge_l_agrees_with_its_definition(left: list[str], right: list[str]) -> None:
    common = max(len(one) for one in subsequences(left) & subsequences(right))
    expected = 2 * common / (len(left) + len(right)) if common else 0.0
    assert rouge_l(" ".join(left), " ".join(right)) == pytest.approx(expected)


@given(st.text(max_size=40))
def test_a_text_matches_itself(text: str) -> None:
    assert exact_match(text, text) == 1


def rows() -> tuple[list[Row], list[Answer]]:
    questions = [
        Row(instruction="a", output="one two", expect="one"),
        Row(instruction="b", output="three", group="held-out"),
        Row(instruction="c", expect="Paris", group="general"),
        Row(instruction="d", output="x", group="extra"),
    ]
    answers = [
        Answer(id=0, prediction="one two", nll=1.0, tokens=2),
        Answer(id=1, prediction="four", nll=9.0, tokens=8),
        Answer(id=2, prediction="Rome"),
        Answer(id=3, prediction="x", nll=100.0, tokens=1),
    ]
    return questions, answers


def test_overall_leaves_out_what_is_only_reported() -> None:
    scored = [score(row, answer) for row, answer in zip(*rows(), strict=True)]
    assert overall(scored, ["extra"]) == {"exact_match": 0.5, "contains": 1.0, "rouge_l": 0.5, "loss": 1.0}
    assert overall(scored)["loss"] == 10.0
    assert by_group(scored) == {
        "extra": {"exact_match": 1.0, "rouge_l": 1.0, "loss": 100.0},
        "general": {"contains": 0.0},
        "held-out": {"exact_match": 0.0, "rouge_l": 0.0, "loss": 1.125},
        "main": {"exact_match": 1.0, "contains": 1.0, "rouge_l": 1.0, "loss": 0.5},
    }


def test_a_set_of_general_rows_is_judged_by_them() -> None:
    scored = [score(rows()[0][2], rows()[1][2])]
    assert overall(scored) == {"contains": 0.0}
    assert overall(scored, ["general"]) == {}


def test_loss_counts_tokens_not_rows() -> None:
    row = Row(instruction="a", output="b")
    short, long = (
        Answer(id=0, prediction="", nll=2.0, tokens=1),
        Answer(id=1, prediction="", nll=3.0, tokens=9),
    )
    loss = overall([score(row, short), score(row, long)])["loss"]
    assert math.isclose(loss, 0.5)


def test_input_joins_the_instruction() -> None:
    assert Row(instruction="Name", input="the capital", output="x").prompt == "Name\nthe capital"
    assert Row(instruction="Name", output="x").prompt == "Name"
