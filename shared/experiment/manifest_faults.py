"""From pydantic's errors to ours: every fault of `model.yaml` in words, with an example of the line to write."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from shared.experiment.deployment_faults import deployment_faults, filled
from shared.experiment.document import Document
from shared.experiment.faults import Fault, nearest, shown, warning
from shared.experiment.keys import catalogue
from shared.experiment.law import LOG_DAYS_HIGH_RISK
from shared.experiment.manifest import Manifest

_PLACEHOLDERS = frozenset({"todo", "fixme", "tbd", "xxx", "…", "...", "[more information needed]"})
_WANTED = {
    "string_type": "should be a text; put it in quotes",
    "int_type": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "bool_type": "should be true or false",
    "list_type": "should be a list",
    "dict_type": "should be a mapping",
    "model_type": "should be a mapping",
    "model_attributes_type": "should be a mapping",
    "string_too_short": "is empty",
    "too_short": "is empty",
}
_LABEL_RULE = "a DNS label: at most 40 of a-z, 0-9 and `-`, beginning with a letter"


def check_manifest(document: Document) -> tuple[dict[str, Any], list[Fault]]:
    """The manifest with its defaults as JSON types ({} where it is faulty), and its faults and warnings."""
    found = [*_placeholders(document, document.values, ()), *_of_the_class(document)]
    try:
        manifest = Manifest.model_validate(document.values)
    except ValidationError as error:
        seen = {fault.where for fault in found}
        translated = (_translated(document, each) for each in error.errors())
        found += [fault for fault in translated if fault.where not in seen]
        return {}, found
    found += [*_of_the_metrics(document, manifest), *deployment_faults(document, manifest)]
    return _filled(manifest), found


def _filled(manifest: Manifest) -> dict[str, Any]:
    values = manifest.model_dump(mode="json")
    evaluation, resources = values["evaluation"], values["resources"]
    evaluation["thresholds"] = {
        metric: {word: limit for word, limit in bound.items() if limit is not None}
        for metric, bound in evaluation["thresholds"].items()
    }
    if not evaluation["sha256"]:
        del evaluation["sha256"]
    evaluation["metrics"] = evaluation["metrics"] or _named_metrics(manifest)
    if resources["gpus"] is None:
        resources["gpus"] = 0 if resources["gpu"] == "none" else 1
    values["deployment"] = filled(values["deployment"])
    if manifest.risk_class == "HIGH_RISK":
        values["deployment"]["approval"] = "required"
    return values


def _named_metrics(manifest: Manifest) -> list[str]:
    baseline = manifest.evaluation.baseline
    named = [*manifest.evaluation.thresholds, *([baseline.metric] if baseline else [])]
    return list(dict.fromkeys(named))


def _of_the_metrics(document: Document, manifest: Manifest) -> Iterator[Fault]:
    listed = manifest.evaluation.metrics
    for metric in _named_metrics(manifest):
        if listed and metric not in listed:
            yield Fault(
                where=document.where("evaluation", "metrics"),
                what=f"leaves out {metric}, which is judged by",
                mend=f"add {metric}, or remove the line `metrics`",
            )
    for metric, bound in manifest.evaluation.thresholds.items():
        outside = [n for n in (bound.min, bound.max) if n is not None and not 0 <= n <= 1]
        if metric != "loss" and outside:
            yield Fault(
                where=document.where("evaluation", "thresholds", metric),
                what=f"is {outside[0]:g}, but {metric} lies between 0 and 1",
                mend="write a share, such as 0.8 for 80 %",
            )


def _of_the_class(document: Document) -> Iterator[Fault]:
    """What the risk class asks for (AI Act), whatever else is wrong."""
    risk = document.get("risk_class")
    if risk == "PROHIBITED":
        yield Fault(
            where=document.where("risk_class"),
            what="is PROHIBITED: such a system may not be put into use (Regulation (EU) 2024/1689, Article 5)",
            mend="do not build it here; if the class is wrong, correct it",
        )
    if risk != "HIGH_RISK":
        return
    if not document.get("risk_analysis"):
        yield Fault(
            where=document.where("risk_analysis"),
            what="is missing, and HIGH_RISK needs it",
            mend="add `risk_analysis: <link to the analysis>`",
        )
    days = document.get("logging", "retention_days")
    if isinstance(days, int | float) and days < LOG_DAYS_HIGH_RISK:
        yield Fault(
            where=document.where("logging", "retention_days"),
            what=f"is {days:g} days, and HIGH_RISK keeps logs for six months at least",
            mend=f"write {LOG_DAYS_HIGH_RISK} or more",
        )
    if document.get("deployment", "approval") == "auto":
        yield warning(
            where=document.where("deployment", "approval"),
            what="is auto, which HIGH_RISK overrides: a person must approve each version",
            mend="write `approval: required`",
        )


def _placeholders(document: Document, value: Any, path: tuple[str, ...]) -> Iterator[Fault]:
    if isinstance(value, str) and value.strip().lower() in _PLACEHOLDERS:
        example = _example(path)
        mend = f"such as `{example}`" if example else "write it, or remove the line"
        yield Fault(where=document.where(*path), what=f"is still `{shown(value)}`", mend=mend)
    inner: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for key, item in inner:
        yield from _placeholders(document, item, (*path, str(key)))


def _translated(document: Document, error: ErrorDetails) -> Fault:
    path = tuple(str(part) for part in error["loc"] if part != "[key]")
    what, mend = _said(error, path)
    return Fault(where=document.where(*path), what=what, mend=mend)


def _said(error: ErrorDetails, path: tuple[str, ...]) -> tuple[str, str]:
    """What is wrong, and how to mend it."""
    example = _example(path)
    such = f"such as `{example}`" if example else "see the example that `kuznia new` writes"
    what, mend = f"is `{shown(error['input'])}`", such
    match error["type"]:
        case "missing":
            what, mend = "is missing", f"add `{example}`"
        case "extra_forbidden":
            what, mend = "is no key of model.yaml", _mend_unknown(path)
        case "literal_error":
            mend = f"write {error['ctx']['expected']}{_meant(error)}"
        case "string_pattern_mismatch":
            mend = _mend_pattern(path, such)
        case "value_error":
            what = str(error["ctx"]["error"])
        case "string_type" if path == ("version",) and isinstance(error["input"], int | float):
            what += ", which YAML reads as a number"
        case kind if kind in _WANTED:
            what = _WANTED[kind]
        case _:
            what += f": {error['msg'][:1].lower()}{error['msg'][1:]}"
    return what, mend


def _meant(error: ErrorDetails) -> str:
    choices = re.findall(r"'([^']+)'", str(error["ctx"]["expected"]))
    near = nearest(error["input"], choices) if isinstance(error["input"], str) else ""
    return f"; did you mean {near}?" if near else ""


def _mend_unknown(path: tuple[str, ...]) -> str:
    model = _model(path[:-1])
    near = nearest(path[-1], model.model_fields) if model else ""
    if near:
        return f"did you mean `{near}`?"
    if len(path) == 1 and path[0] in catalogue().keys:
        return "it belongs into config.yaml"
    return "remove it"


def _mend_pattern(path: tuple[str, ...], such: str) -> str:
    if path == ("version",):
        return "write a semantic version such as `version: 1.0.0`, or `version: commit`"
    return f"write {_LABEL_RULE}, {such}"


def _model(path: tuple[str, ...]) -> type[BaseModel] | None:
    """The part of the schema under a path of keys."""
    model: type[BaseModel] | None = Manifest
    for name in path:
        if name.isdecimal():
            continue  # a place in a list of parts
        field = model.model_fields.get(name) if model else None
        model = _part(field) if field else None
    return model


def _part(field: FieldInfo) -> type[BaseModel] | None:
    kinds = (field.annotation, *getattr(field.annotation, "__args__", ()))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _example(path: tuple[str, ...]) -> str:
    """The example line of the field, or of the nearest one around it."""
    for length in range(len(path), 0, -1):
        model = _model(path[: length - 1])
        field = model.model_fields.get(path[length - 1]) if model else None
        if field and field.examples:
            return str(field.examples[0])
    return ""
