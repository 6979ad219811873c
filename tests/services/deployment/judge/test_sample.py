"""Which questions a step of a canary is judged by."""

from __future__ import annotations

import pytest

from services.deployment.judge.sample import drawn, measurable
from shared.errors import Reject
from shared.evaluation.metrics import OF_TEXTS, Row

ROWS = [Row(instruction=f"question {number}", output=f"answer {number}") for number in range(10)]


def test_steps_go_through_the_set_and_begin_again_at_its_end():
    steps = [drawn(ROWS, 4, step) for step in range(3)]
    assert all(len(step) == 4 for step in steps)
    seen = [row.instruction for step in steps for row in step]
    assert len(set(seen[:10])) == 10
    assert seen[10:] == seen[:2]


def test_the_same_step_asks_the_same_however_the_set_is_sorted():
    assert drawn(ROWS, 4, 1) == drawn(ROWS[::-1], 4, 1)
    assert drawn(ROWS, 10, 0) != ROWS, "a set that is sorted by subject is not asked of its first one alone"


@pytest.mark.parametrize("size", [10, 1000])
def test_of_a_small_set_all_are_asked_at_every_step(size: int):
    for step in range(2):
        assert sorted(row.instruction for row in drawn(ROWS, size, step)) == [row.instruction for row in ROWS]


def test_those_are_asked_that_validation_judges_by():
    judged = Row(instruction="a", expect="b")
    rows = [
        judged,
        Row(instruction="c", output="no phrase to look for"),
        Row(instruction="d", expect="e", group="general"),
        Row(instruction="f", expect="g", group="shown"),
    ]
    assert measurable(rows, "contains", ["shown"]) == [judged]
    assert measurable(rows[2:], "contains") == [rows[3]]
    assert measurable(rows[2:], "contains", ["shown"]) == [rows[2]], "all are general, as in validation"


@pytest.mark.parametrize("metric", OF_TEXTS)
def test_a_set_without_such_rows_is_told(metric: str):
    other = Row(instruction="a", output="b") if metric == "contains" else Row(instruction="a", expect="b")
    with pytest.raises(Reject, match=rf"no row with `\w+` that is judged, so {metric} cannot be measured"):
        measurable([other], metric)


def test_a_metric_of_weights_is_none_of_answers():
    with pytest.raises(
        Reject, match="loss cannot be measured on answers; there are contains, exact_match, rouge_l"
    ):
        measurable(ROWS, "loss")
