"""The readable report of an evaluation: the verdict, why, where the model errs, and how to mend it. Pure.

Markdown that reads well in a terminal: what others wrote (questions, answers, names of groups) stands in
indented blocks, which mean nothing to a Markdown parser.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from events.model_validated import Gate, ModelValidated

MOST_ROWS = 10
LONGEST = 600  # characters of one text of a row; an answer that never ended helps nobody
GENERAL = "general"
LOWER_IS_BETTER = "loss"
_REORDERING = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_ORDER = ("contains", "exact_match", "rouge_l", "loss")
_NEEDS = {"contains": "expect", "exact_match": "output", "rouge_l": "output", "loss": "output"}
_TOLD = (  # field of a row, how the report calls it
    ("input", "input"),
    ("expect", "expected"),
    ("output", "reference"),
    ("prediction", "answer"),
    ("base_prediction", "base model"),
)


def report(validated: ModelValidated, rows: Sequence[Mapping[str, Any]]) -> str:
    """rows: of the tuned model's answers: instruction, output, expect, group, prediction, base_prediction,
    passed; any of them may be absent. The same input gives the same text, which ends with a line break.
    """
    parts = [
        _headline(validated),
        _gates(validated.gates),
        _comparison(validated),
        _groups(validated),
        _worst(rows),
        "" if validated.passed else _mending(validated),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _headline(validated: ModelValidated) -> str:
    verdict = "PASSED" if validated.passed else "FAILED"
    missed = [gate for gate in validated.gates if not gate.passed]
    reasons = [f"    {_sentence(gate)}" for gate in missed]
    if not missed:
        said = f"All {len(validated.gates)} gates hold." if validated.gates else "No gate was set."
    else:
        said = f"{len(missed)} of {len(validated.gates)} gates do not hold:"
    asked = f"{validated.rows} rows were asked, of the set `{validated.set_digest or 'without a digest'}`."
    title = f"# {verdict}: {_plain(validated.model.key)}"
    return "\n\n".join(part for part in (title, said, "\n".join(reasons), asked) if part)


def _sentence(gate: Gate) -> str:
    measured = "it was not measured" if gate.measured is None else f"measured was {_number(gate.measured)}"
    return _plain(f"{gate.metric}: demanded was {gate.demand}, {measured}")


def _gates(gates: Sequence[Gate]) -> str:
    lines = [[g.metric, g.demand, _number(g.measured), "held" if g.passed else "MISSED"] for g in gates]
    return _table("## Gates", ["metric", "demanded", "measured", ""], lines)


def _comparison(validated: ModelValidated) -> str:
    lines = _compared(validated.metrics, validated.baseline)
    return _table("## Tuned model beside base model", ["metric", "tuned", "base", "delta", ""], lines)


def _groups(validated: ModelValidated) -> str:
    groups = sorted({*validated.groups, *validated.baseline_groups}, key=lambda name: (name == GENERAL, name))
    lines = [
        [group, *line]
        for group in groups
        for line in _compared(validated.groups.get(group, {}), validated.baseline_groups.get(group, {}))
    ]
    return _table("## By group of rows", ["group", "metric", "tuned", "base", "delta", ""], lines)


def _compared(tuned: Mapping[str, float], base: Mapping[str, float]) -> list[list[str]]:
    names = {*tuned, *base}
    ordered = [*(name for name in _ORDER if name in names), *sorted(names - set(_ORDER))]
    return [
        [
            name,
            _number(tuned.get(name)),
            _number(base.get(name)),
            *_change(name, tuned.get(name), base.get(name)),
        ]
        for name in ordered
    ]


def _change(metric: str, tuned: float | None, base: float | None) -> tuple[str, str]:
    if tuned is None or base is None:
        return "-", ""
    delta = tuned - base
    if abs(delta) < 0.0005:
        return "0.000", "same"
    better = (delta < 0) == (metric == LOWER_IS_BETTER)
    return f"{delta:+.3f}", "better" if better else "WORSE"


def _worst(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "## Answers\n\nThere are none to show: no row was answered."
    failed = [row for row in rows if row.get("passed") is False]
    if not failed:
        return f"## Answers\n\nNone of the {len(rows)} answers is marked as wrong."
    shown = sorted(failed, key=lambda row: _text(row.get("group")) == GENERAL)[:MOST_ROWS]
    more = f", {len(shown)} of them below" if len(failed) > len(shown) else ""
    title = f"## Wrong answers\n\n{len(failed)} of {len(rows)} answers are wrong{more}."
    return "\n\n".join([title, *(_row(number, row) for number, row in enumerate(shown, start=1))])


def _row(number: int, row: Mapping[str, Any]) -> str:
    told = [("group", "group"), ("instruction", "question"), *_TOLD]
    present = [(name, _text(row.get(field))) for field, name in told]
    pairs = [(name, text) for name, text in present if text or name == "answer"]
    blocks = [_named(name, text or "(empty)") for name, text in pairs]
    return "\n".join([f"### {number}", "", *blocks])


def _named(name: str, text: str) -> str:
    """`question   the text`, its further lines below its first."""
    first, *further = text.splitlines() or [""]
    return "\n".join([f"    {name:<12}{first}", *(f"    {'':<12}{line}".rstrip() for line in further)])


def _mending(validated: ModelValidated) -> str:
    missed = [gate for gate in validated.gates if not gate.passed]
    advice = [_advice(gate) for gate in missed]
    if _forgot(validated):
        advice.append(
            "In group `general` the model fell behind its base: mix rows that have nothing to do with the task into the"
            " training data, or take fewer steps, a smaller learning rate or a smaller `lora_rank`."
        )
    advice.append(
        "Then raise `version` in model.yaml and push again. This version stays in the registry, as TRAINED, and is"
        " never deployed."
    )
    return "\n".join(["## How to mend it", "", *(f"- {line}" for line in dict.fromkeys(advice))])


def _advice(gate: Gate) -> str:
    if gate.metric == "measurement":
        return "A measuring job failed: `kuznia events` names it and its cause, `kuznia logs` shows what it printed."
    if gate.measured is None:
        field = _NEEDS.get(gate.metric)
        needs = f"it needs rows with `{field}`" if field else "no row can have it"
        return f"`{_plain(gate.metric)}` was not measured: {needs} in the evaluation set, outside group `general`."
    if "gain" in gate.demand:
        return (
            f"The gain in `{_plain(gate.metric)}` is too small: see above what the base model answers already, and"
            " train on what it does not know."
        )
    return (
        f"`{_plain(gate.metric)}` missed its threshold: add training rows like the wrong answers above, in other words"
        " than the evaluation's own, or train longer (`max_steps`, `num_train_epochs`). If the threshold asks for"
        " more than the use needs, change it in model.yaml (`evaluation.thresholds`), and say why in the commit."
    )


def _forgot(validated: ModelValidated) -> bool:
    tuned, base = validated.groups.get(GENERAL, {}), validated.baseline_groups.get(GENERAL, {})
    return any(line[-1] == "WORSE" for line in _compared(tuned, base))


def _table(title: str, header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A title and an indented table with aligned columns; nothing where there are no lines."""
    cells = [[_plain(cell) for cell in line] for line in lines]
    if not cells:
        return ""
    widths = [max(len(cell) for cell in column) for column in zip(header, *cells, strict=True)]
    shown = [
        "    " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (header, *cells)
    ]
    return "\n".join([title, "", *shown])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _text(value: Any) -> str:
    """What a row says, as text that a terminal can be given."""
    text = "" if value is None else str(value).strip().expandtabs(4)
    cut = f"{text[:LONGEST]} … ({len(text)} characters)" if len(text) > LONGEST else text
    return "\n".join(_plain(line) for line in cut.splitlines())


def _plain(text: str) -> str:
    """On one line, without characters that steer a terminal or reorder text."""
    return "".join("\N{REPLACEMENT CHARACTER}" if _hidden(character) else character for character in text)


def _hidden(character: str) -> bool:
    return character in _REORDERING or unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}
