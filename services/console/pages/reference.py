"""The API's reference page, made from the OpenAPI document: what to ask, what comes back, with a curl line each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec
from markupsafe import Markup, escape

from services.console.pages.markdown import render

METHODS = ("get", "post", "put", "patch", "delete")
Spec = Mapping[str, Any]


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter or a property. place: path, query, header; empty for a property."""

    name: str
    type: Markup
    text: Markup
    required: bool
    default: str = ""
    place: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One way an operation ends."""

    status: str
    text: str
    kinds: list[tuple[str, Markup]]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one address."""

    id: str
    method: str
    path: str
    summary: str
    text: Markup
    fields: list[Field]
    answers: list[Answer]
    curl: str
    open: str


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """One schema."""

    name: str
    text: Markup
    fields: list[Field]


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. groups: by tag, in the document's order."""

    title: str
    version: str
    text: Markup
    groups: dict[str, list[Operation]]
    shapes: list[Shape]


def reference(spec: Spec, base: str) -> Reference:
    """The view of an OpenAPI 3.1 document. base: scheme and host of the curl lines."""
    groups: dict[str, list[Operation]] = {}
    for path, item in spec["paths"].items():
        for method in METHODS:
            if method in item:
                tag = (item[method].get("tags") or ["other"])[0]
                groups.setdefault(tag, []).append(_operation(method, path, item[method], base))
    schemas = spec.get("components", {}).get("schemas", {})
    info = spec["info"]
    return Reference(
        title=info["title"],
        version=info["version"],
        text=render(info.get("description", "")),
        groups=groups,
        shapes=[_shape(name, schema) for name, schema in schemas.items()],
    )


def type_of(schema: Spec) -> Markup:
    """A schema in a few words, with links to those that have a name."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return Markup('<a href="#schema-{0}">{0}</a>').format(name)
    if "anyOf" in schema:
        return Markup(" | ").join(type_of(one) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        values = schema.get("enum") or [schema["const"]]
        return Markup(" | ").join(Markup("<code>{}</code>").format(value) for value in values)
    if schema.get("type") == "array":
        return Markup("list of {}").format(type_of(schema.get("items", {})))
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return Markup("map to {}").format(type_of(schema["additionalProperties"]))
    return escape(schema.get("format") or schema.get("type") or "any")


def _operation(method: str, path: str, operation: Spec, base: str) -> Operation:
    parameters: list[Spec] = operation.get("parameters", [])
    address = _example(path, parameters)
    return Operation(
        id=operation.get("operationId") or f"{method}{path}",
        method=method.upper(),
        path=path,
        summary=operation.get("summary", ""),
        text=render(operation.get("description", "")),
        fields=[_parameter(parameter) for parameter in parameters],
        answers=[_answer(status, answer) for status, answer in operation.get("responses", {}).items()],
        curl=_curl(method, base + address, "requestBody" in operation),
        open=address if method == "get" and "{" not in path else "",
    )


def _parameter(parameter: Spec) -> Field:
    schema = parameter.get("schema", {})
    text = parameter.get("description") or schema.get("description", "")
    return _field(
        parameter["name"], {**schema, "description": text}, parameter.get("required", False), parameter["in"]
    )


def _field(name: str, schema: Spec, required: bool, place: str = "") -> Field:
    default = schema.get("default")
    limits = [
        f"{word} {schema[key]}"
        for key, word in (("minimum", "at least"), ("maximum", "at most"))
        if key in schema
    ]
    kind = type_of(schema)
    return Field(
        name=name,
        type=Markup("{}, {}").format(kind, ", ".join(limits)) if limits else kind,
        text=render(schema.get("description", "")),
        required=required,
        default="" if default in (None, "", [], {}) else json.dumps(default),
        place=place,
    )


def _answer(status: str, answer: Spec) -> Answer:
    content: Spec = answer.get("content", {})
    kinds = [
        (media, type_of(of["schema"]) if of.get("schema") else Markup()) for media, of in content.items()
    ]
    return Answer(status=status, text=answer.get("description", ""), kinds=kinds)


def _shape(name: str, schema: Spec) -> Shape:
    required = schema.get("required", [])
    fields = [_field(field, of, field in required) for field, of in schema.get("properties", {}).items()]
    return Shape(name=name, text=render(schema.get("description", "")), fields=fields)


def _example(path: str, parameters: Iterable[Spec]) -> str:
    """The path with the examples of its parameters filled in."""
    for parameter in parameters:
        examples = parameter.get("schema", {}).get("examples") or [parameter.get("example")]
        if parameter["in"] == "path" and examples[0]:
            path = path.replace(f"{{{parameter['name']}}}", quote(str(examples[0]), safe=""))
    return path


def _curl(method: str, address: str, body: bool) -> str:
    words = ["curl -s"]
    if method != "get":
        words.append(f"-X {method.upper()}")
    if body:
        words.append("-H 'content-type: application/json' -d @body.json")
    return " ".join([*words, f"'{address}'" if any(sign in address for sign in "{}?&") else address])
