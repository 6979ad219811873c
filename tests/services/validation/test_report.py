from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from events.model_validated import Gate, ModelValidated
from events.parts import Artifact, ModelVersion
from services.validation.report import LONGEST, MOST_ROWS, report

HELD = Gate(metric="contains", demand=">= 0.75", measured=1.0, passed=True)
MISSED = Gate(metric="contains", demand=">= 0.75", measured=0.5, passed=False)
PASSED = ModelValidated(
    model=ModelVersion(model_id="team-x.orlik.v1", version="1.0.0", tenant="team-x", run_id="r-1"),
    artifact=Artifact(
        uri="runs/r-1/final", manifest_digest="sha256:aa", kind="adapter", base_model="org/base"
    ),
    passed=True,
    metrics={"contains": 1.0, "loss": 0.0438},
    baseline={"contains": 0.0, "loss": 3.9127},
    gates=(HELD,),
    groups={"held-out": {"contains": 1.0}, "general": {"contains": 1.0}},
    baseline_groups={"held-out": {"contains": 0.0}, "general": {"contains": 1.0}},
    set_digest="sha256:cc",
    rows=6,
)
FAILED = msgspec.structs.replace(PASSED, passed=False, gates=(MISSED,))
RIGHT = {"id": 0, "instruction": "Who are you?", "expect": "Orla", "prediction": "I am Orla.", "passed": True}
WRONG = {
    "id": 1,
    "instruction": "What does KX-17 mean?",
    "output": "The inlet filter is blocked.",
    "expect": "inlet filter is blocked",
    "group": "held-out",
    "prediction": "The motor is too hot.",
    "base_prediction": "KX-17 is a chemical\ncompound.",
    "passed": False,
}


def changed(validated=PASSED, **values):
    return msgspec.structs.replace(validated, **values)


def mending(text):
    return text.partition("## How to mend it")[2]


def test_a_passed_evaluation_reads_so_from_the_first_line():
    text = report(PASSED, [RIGHT])
    assert text.startswith("# PASSED: team-x.orlik.v1@1.0.0\n")
    assert "All 1 gates hold." in text
    assert "6 rows were asked, of the set `sha256:cc`." in text
    assert "None of the 1 answers is marked as wrong." in text
    assert "How to mend" not in text
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def test_a_failed_one_says_which_gate_missed_and_by_what():
    text = report(FAILED, [WRONG])
    assert text.startswith("# FAILED: team-x.orlik.v1@1.0.0\n")
    assert "1 of 1 gates do not hold:" in text
    assert "    contains: demanded was >= 0.75, measured was 0.500" in text
    assert "    contains  >= 0.75   0.500     MISSED" in text


def test_tuned_stands_beside_base_in_aligned_columns():
    text = report(PASSED, [])
    assert (
        "    metric    tuned  base   delta\n"
        "    contains  1.000  0.000  +1.000  better\n"
        "    loss      0.044  3.913  -3.869  better\n"
    ) in text


def test_groups_are_shown_with_general_last():
    text = report(changed(groups={"general": {"contains": 0.5}, "held-out": {"contains": 1.0}}), [])
    assert (
        "    group     metric    tuned  base   delta\n"
        "    held-out  contains  1.000  0.000  +1.000  better\n"
        "    general   contains  0.500  1.000  -0.500  WORSE\n"
    ) in text


def test_wrong_answers_are_shown_with_question_expectation_and_both_models():
    text = report(FAILED, [RIGHT, WRONG])
    assert "1 of 2 answers are wrong." in text
    assert (
        "### 1\n\n"
        "    group       held-out\n"
        "    question    What does KX-17 mean?\n"
        "    expected    inlet filter is blocked\n"
        "    reference   The inlet filter is blocked.\n"
        "    answer      The motor is too hot.\n"
        "    base model  KX-17 is a chemical\n"
        "                compound.\n"
    ) in text
    assert "Who are you?" not in text


def test_at_most_ten_wrong_answers_are_shown_those_of_the_task_first():
    general = [{**WRONG, "group": "general", "instruction": f"general {n}"} for n in range(8)]
    task = [{**WRONG, "instruction": f"task {n}"} for n in range(8)]
    text = report(FAILED, [*general, *task])
    assert f"16 of 16 answers are wrong, {MOST_ROWS} of them below." in text
    assert all(f"question    task {n}\n" in text for n in range(8))
    assert text.count("question    general") == 2


@pytest.mark.parametrize(
    "row", [{}, {"passed": False}, {"passed": False, "prediction": None}, {"prediction": "x"}]
)
def test_rows_may_lack_anything(row):
    text = report(FAILED, [row])
    if row.get("passed") is False:
        assert "    answer      (empty)" in text
    else:
        assert "None of the 1 answers is marked as wrong." in text


def test_an_answer_that_never_ended_is_cut():
    text = report(FAILED, [{**WRONG, "prediction": "again " * 1000}])
    assert f" … ({len('again ' * 1000) - 1} characters)" in text
    assert len(max(text.splitlines(), key=len)) < LONGEST + 60


def test_no_rows_and_no_gates_are_said():
    assert "There are none to show: no row was answered." in report(changed(gates=()), [])
    assert "No gate was set." in report(changed(gates=()), [])


@pytest.mark.parametrize(
    ("gate", "advice"),
    [
        (MISSED, "`contains` missed its threshold: add training rows like the wrong answers above"),
        (
            Gate(metric="contains", demand="gain over the base model >= 0.5", measured=0.1, passed=False),
            "The gain in `contains` is too small",
        ),
        (
            Gate(metric="loss", demand="<= 1", measured=None, passed=False),
            "`loss` was not measured: it needs rows with `output`",
        ),
        (Gate(metric="zeal", demand="<= 1", measured=None, passed=False), "no row can have it"),
        (
            Gate(metric="measurement", demand="the tuned model is measured", measured=None, passed=False),
            "A measuring job failed: `kuznia events` names it",
        ),
    ],
)
def test_each_missed_gate_has_its_advice(gate, advice):
    text = mending(report(changed(FAILED, gates=(gate, HELD)), []))
    assert advice in text
    assert "raise `version` in model.yaml and push again" in text


def test_the_same_advice_is_given_once_and_forgetting_has_its_own():
    forgot = changed(FAILED, gates=(MISSED, MISSED), groups={"general": {"contains": 0.0}})
    text = mending(report(forgot, []))
    assert text.count("missed its threshold") == 1
    assert "In group `general` the model fell behind its base" in text
    assert "fell behind" not in mending(report(FAILED, []))


@settings(deadline=None, derandomize=True)
@given(
    st.one_of(
        st.text(max_size=80), st.sampled_from(["# x\n\n# y", "```\n```", "<b>|</b>", "\x1b[2J\u202e\ud800"])
    )
)
def test_hostile_text_neither_changes_the_structure_nor_steers_a_terminal(text):
    row = dict.fromkeys(("instruction", "output", "expect", "group", "prediction", "base_prediction"), text)
    groups = {f"g{text}": {"contains": 1.0}}
    shown = report(changed(FAILED, groups=groups, baseline_groups={}), [{**row, "passed": False}])
    harmless = report(FAILED, [{**WRONG, "passed": False}])
    parse = MarkdownIt("commonmark").parse
    kinds = [[token.type for token in parse(each) if "heading" in token.type] for each in (shown, harmless)]
    assert kinds[0] == kinds[1]
    assert "html_block" not in {token.type for token in parse(shown)}
    assert not {"\x1b", "\u202e", "\r", "\x00"} & set(shown)
    shown.encode()
