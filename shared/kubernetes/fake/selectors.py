"""Selectors of labels and fields, as in the query of a list, and as in the spec of an object."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from shared.kubernetes.fake.failures import Failure
from shared.kubernetes.fake.objects import Object, find, labels_of

Matcher = Callable[[Object], bool]
_SET = re.compile(r"(\S+)\s+(in|notin)\s+\(([^)]*)\)")
_EQUAL = re.compile(r"([^\s!=]+)\s*(==|!=|=)\s*(\S*)")
_KEY = re.compile(r"(!?)\s*([A-Za-z0-9][A-Za-z0-9./_-]*)")
_OUTSIDE_PARENTHESES = re.compile(r",(?![^()]*\))")


def matcher(labels: str, fields: str) -> Matcher:
    """Whether an object is selected. Raises Failure (400) where a selector cannot be read."""
    wanted = [_label(part.strip()) for part in _OUTSIDE_PARENTHESES.split(labels) if part.strip()]
    chosen = [_field(part.strip()) for part in fields.split(",") if part.strip()]
    if not chosen:
        return lambda obj: all(test(labels_of(obj)) for test in wanted)
    return lambda obj: all(test(labels_of(obj)) for test in wanted) and all(test(obj) for test in chosen)


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector (`matchLabels`, `matchExpressions`) selects these."""
    equal = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return equal and all(_expression(each, labels) for each in selector.get("matchExpressions") or ())


def _expression(each: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = each["key"], each.get("values") or ()
    results = {
        "In": labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }
    return results.get(each["operator"], False)


def _label(text: str) -> Callable[[Mapping[str, str]], bool]:
    if found := _SET.fullmatch(text):
        key, values = found[1], {value.strip() for value in found[3].split(",")}
        inside = found[2] == "in"
        return lambda labels: (labels.get(key) in values) is inside
    if found := _EQUAL.fullmatch(text):
        key, value, equal = found[1], found[3], found[2] != "!="
        return lambda labels: (labels.get(key) == value) is equal
    if found := _KEY.fullmatch(text):
        key, there = found[2], not found[1]
        return lambda labels: (key in labels) is there
    raise Failure(400, f"unable to parse requirement: {text!r} is no label selector")


def _field(text: str) -> Matcher:
    found = _EQUAL.fullmatch(text)
    if not found:
        raise Failure(400, f"invalid field selector: {text!r}")
    path, value, equal = found[1].split("."), found[3], found[2] != "!="
    return lambda obj: (str(find(obj, path) or "") == value) is equal
