from __future__ import annotations

import pytest

from services.cards.results import compare, forgetting, results, setbacks


def test_known_metrics_come_first_and_counts_are_no_metric():
    rows = compare({"zeal": 1.0, "loss": 1.0, "contains": 1.0, "rows": 4}, {"rouge_l": 0.5})
    assert [row["metric"] for row in rows] == ["contains", "rouge_l", "loss", "zeal"]


@pytest.mark.parametrize(
    ("metric", "tuned", "base", "delta", "verdict"),
    [
        ("contains", 1.0, 0.25, 0.75, "better"),
        ("contains", 0.25, 1.0, -0.75, "worse"),
        ("loss", 0.1, 3.1, -3.0, "better"),
        ("loss", 3.1, 0.1, 3.0, "worse"),
        ("rouge_l", 0.2, 0.2, 0, "same"),
        ("rouge_l", 0.2, None, None, None),
        ("rouge_l", None, 0.2, None, None),
        ("loss", float("nan"), 1.0, None, None),
        ("loss", float("inf"), 1.0, None, None),
    ],
)
def test_a_row_says_by_how_much_and_whether_that_is_better(metric, tuned, base, delta, verdict):
    sides = [{} if value is None else {metric: value} for value in (tuned, base)]
    (row,) = compare(*sides)
    assert (row["delta"], row["verdict"]) == (delta, verdict)


def test_groups_that_are_not_judged_are_marked_and_general_comes_last(world):
    manifest = {
        **world.manifest,
        "evaluation": {**world.manifest["evaluation"], "report_only": ["paraphrase"]},
    }
    content = results(world.facts(world.registered(manifest=manifest)))
    assert [(group["name"], group["judged"]) for group in content["groups"]] == [
        ("held-out", True),
        ("paraphrase", False),
        ("general", False),
    ]


def test_a_group_only_one_model_answered_is_shown_all_the_same(world):
    validated = world.validated(groups={"new": {"contains": 1.0, "rows": 4}}, baseline_groups={})
    (group,) = results(world.facts(validated=validated))["groups"]
    assert (group["name"], group["rows"], group["comparison"][0]["base"]) == ("new", 4, None)


def test_forgetting_is_only_told_where_both_models_answered_general_rows(world):
    assert forgetting(world.facts()) == {"measured": True, "worse": ["contains"]}
    without = world.facts(validated=world.validated(baseline_groups={}))
    assert forgetting(without) == {"measured": False, "worse": []}


def test_setbacks_are_named_by_group(world):
    assert [(row["group"], row["metric"]) for row in setbacks(world.facts())] == [("general", "contains")]
    assert setbacks(world.facts(validated=world.validated(groups={}))) == []
