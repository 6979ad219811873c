from __future__ import annotations

import pytest

from services.cards.fields import FIELDS, completeness
from services.cards.rows import headline, percent
from services.cards.text import (
    NOT_STATED,
    bullets,
    code,
    count,
    inline,
    link,
    moment,
    number,
    setting,
    signed,
    size,
)
from services.cards.text import table as table_of
from services.cards.training import technique


@pytest.mark.parametrize("nothing", [None, "", []])
def test_nothing_is_shown_as_not_stated(nothing):
    assert inline(nothing) == NOT_STATED
    assert bullets(None) == bullets([]) == NOT_STATED


def test_ordinary_text_stays_readable_as_it_is():
    for text in ("SmolLM2-135M", "lora_rank", "1.0.0", "a-b", "C# and C++", "5 > 3", "-0.5", "R&D", "50 %"):
        assert inline(text) == text


@pytest.mark.parametrize(
    ("value", "shown"), [(True, "yes"), (False, "no"), (7, "7"), (0.25, "0.250"), (["a", "b|c"], "a, b\\|c")]
)
def test_values_that_are_no_text(value, shown):
    assert inline(value) == shown


def test_code_falls_back_to_text_where_a_span_would_break():
    assert code("a_b") == "`a_b`"
    assert code("a|b") == "a\\|b"
    assert code("a`b") == "a\\`b"
    assert code(None) == NOT_STATED


def test_only_web_and_mail_addresses_become_links():
    assert link("https://risk.example/a_b?c=d") == "<https://risk.example/a_b?c=d>"
    assert link("first.last@orlik.example") == "<first.last@orlik.example>"
    assert link("javascript:alert(1)") == "javascript:alert(1)"
    assert link("see https://risk.example") == "see https://risk.example"
    assert link(None) == NOT_STATED


@pytest.mark.parametrize(
    ("value", "measured", "plain"),
    [
        (0.0, "0.000", "0"),
        (1.0, "1.000", "1"),
        (0.91234, "0.912", "0.9123"),
        (24576.0, "24576.000", "24,576"),
        (1.4e9, "1.4e+09", "1,400,000,000"),
        (9.89e14, "9.89e+14", "9.89e+14"),
        (0.00001, "1e-05", "1e-05"),
    ],
)
def test_numbers_for_people(value, measured, plain):
    assert number(value) == measured
    assert count(value) == plain


def test_differences_carry_their_sign():
    assert [signed(value) for value in (0.5, -0.5, 0.0, None)] == ["+0.500", "−0.500", "±0", "–"]


def test_settings_look_as_in_the_config():
    assert [setting(value) for value in (True, 2.0e-3, 2e-5, "all", ["q", "v"], 16, {"a": None})] == [
        "true",
        "0.002",
        "2e-05",
        "all",
        "q, v",
        "16",
        '{"a": null}',
    ]


def test_moments_and_sizes():
    assert moment("2026-11-23T12:04:05+02:00") == "2026-11-23 10:04 UTC"
    assert [size(value) for value in (None, 0, 999, 1000, 19_586_048, 5 * 10**15)] == [
        None,
        "0 bytes",
        "999 bytes",
        "1.0 kB",
        "19.6 MB",
        "5000.0 TB",
    ]


def test_a_table_is_padded_and_a_very_long_cell_sticks_out():
    lines = table_of(["Name", ">Value"], [["a", 1.0], ["b" * 100, None]]).splitlines()
    assert lines[0] == "| Name |        Value |"
    assert lines[1] == "| ---- | -----------: |"
    assert lines[2] == "| a    |        1.000 |"
    assert lines[3] == f"| {'b' * 100} | *not stated* |"


def test_shares_are_never_rounded_up():
    assert [percent(share) for share in (0.999, 0.29, 1.0, 0.0)] == ["99 %", "29 %", "100 %", "0 %"]
    assert completeness([]) == 1.0
    assert completeness(FIELDS) == 0.0


def test_every_field_has_a_name_of_its_own():
    assert len({field.name for field in FIELDS}) == len(FIELDS)
    assert {field.section for field in FIELDS} == set(range(1, 11))


def test_the_headline_is_the_first_metric():
    row = {"title": "ROUGE-L", "tuned": 0.9, "base": None, "delta": None, "verdict": None}
    assert headline([row]) == "ROUGE-L: 0.900, base model not measured"
    assert headline([]) is None


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"finetuning_type": "lora", "lora_rank": 8}, "LoRA, rank 8"),
        ({"finetuning_type": "lora", "quantization_bit": 4, "lora_rank": 8}, "QLoRA, 4 bit, rank 8"),
        ({"finetuning_type": "lora"}, "LoRA"),
        ({"finetuning_type": "freeze"}, "fine-tuning of some layers"),
        ({"finetuning_type": "oft"}, "oft"),
        ({}, None),
    ],
)
def test_techniques_by_the_name_people_use(config, words):
    assert technique(config) == words
