"""From the document's lists to the rows of the card's tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from markupsafe import Markup

from services.cards.results import TITLES
from services.cards.text import code, count, number, setting, signed

Item = Mapping[str, Any]
Rows = list[list[Any]]


def missing_rows(fields: Iterable[Item]) -> Rows:
    """Section, field with its place, what it should say."""
    return [[str(field["section"]), code(field["field"]), field["asks"]] for field in fields]


def setting_rows(settings: Iterable[Item]) -> Rows:
    """Key and value of a config."""
    return [[code(item["name"]), code(setting(item["value"]))] for item in settings]


def pair_rows(pairs: Mapping[str, Any]) -> Rows:
    """Name and value."""
    return [
        [code(name), count(value) if isinstance(value, float) else value] for name, value in pairs.items()
    ]


def data_rows(files: Iterable[Item]) -> Rows:
    """File, rows, digest."""
    return [[code(item["name"]), item["rows"], code(item["digest"])] for item in files]


def estimate_rows(estimates: Iterable[Item]) -> Rows:
    """Method, formula, FLOP, remark."""
    return [
        [item["method"], item["formula"], flop(item["flop"]), item["note"] or Markup("")]
        for item in estimates
    ]


def input_rows(estimates: Iterable[Item]) -> Rows:
    """A row an input of an estimate, with where it comes from."""
    return [
        [
            item["method"],
            given["name"],
            "unknown" if given["value"] is None else count(given["value"]),
            given["source"],
        ]
        for item in estimates
        for given in item["inputs"]
    ]


def comparison_rows(comparison: Iterable[Item]) -> Rows:
    """Metric, tuned, base, delta, verdict."""
    return [
        [
            row["title"],
            _measured(row["tuned"]),
            _measured(row["base"]),
            signed(row["delta"]),
            _or(row["verdict"]),
        ]
        for row in comparison
    ]


def group_rows(groups: Iterable[Item]) -> Rows:
    """Group (with its rows, where they were told), the comparison, whether it is judged by the gates."""
    return [
        [_group(group), *row, group["judged"]]
        for group in groups
        for row in comparison_rows(group["comparison"])
    ]


def setback_rows(setbacks: Iterable[Item]) -> Rows:
    """Group, metric, tuned, base, delta."""
    return [[item["group"], *row[:-1]] for item in setbacks for row in comparison_rows([item])]


def gate_rows(gates: Iterable[Item]) -> Rows:
    """Metric, demand, measured, held."""
    return [
        [
            TITLES.get(gate["metric"], gate["metric"]),
            gate["demand"],
            _measured(gate["measured"]),
            gate["passed"],
        ]
        for gate in gates
    ]


def percent(share: float) -> str:
    """`87 %`; never rounded up, so that what is not whole never reads as `100 %`."""
    return f"{int(round(share * 100, 6))} %"


def titles(metrics: Iterable[str]) -> list[str]:
    """What a person calls these metrics."""
    return [TITLES.get(metric, metric) for metric in metrics]


def headline(comparison: list[Item]) -> str | None:
    """The first of the metrics, in a line: `contains the key phrase: 1.000, base model 0.000`."""
    if not comparison:
        return None
    title, tuned, base, *_ = comparison_rows(comparison[:1])[0]
    tuned, base = (number(value) if isinstance(value, float) else value for value in (tuned, base))
    return f"{title}: {tuned}, base model {base}"


def _group(group: Item) -> str:
    return group["name"] if group["rows"] is None else f"{group['name']} ({group['rows']} rows)"


def flop(value: float | None) -> str:
    """`1.98e+13`."""
    return "an input is lacking" if value is None else f"{value:.2e}"


def _measured(value: float | None) -> Any:
    return _or(value, "not measured")


def _or(value: Any, otherwise: str = "–") -> Any:
    return otherwise if value is None else value
