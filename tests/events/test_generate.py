"""Schemas are what the catalog generates; every event has an example, and the example is one."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from events import generate
from events.catalog import definitions
from events.generate import EXAMPLES, SCHEMAS, check_examples, example_faults, schema_text, write_schemas

NAMES = tuple(definitions())
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "null": type(None)}


def example(name: str) -> str:
    return (EXAMPLES / f"{name}.json").read_text(encoding="utf-8")


def misfits(value: Any, schema: dict[str, Any], root: dict[str, Any], path: str = "$") -> list[str]:
    """Where a value does not fit a schema, for the words of JSON Schema that msgspec writes."""
    if "$ref" in schema:
        return misfits(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, path)
    if "anyOf" in schema:
        return (
            []
            if any(not misfits(value, s, root, path) for s in schema["anyOf"])
            else [f"{path}: none of anyOf"]
        )
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{path}: {value!r} is not in {schema['enum']}"]
    if "type" in schema and not fits_type(value, schema["type"]):
        return [f"{path}: {value!r} is no {schema['type']}"]
    if schema.get("format") == "date-time":
        datetime.fromisoformat(value)
    return [*inside_object(value, schema, root, path), *inside_array(value, schema, root, path)]


def fits_type(value: Any, name: str) -> bool:
    if name == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, TYPES[name]) and not (name == "integer" and isinstance(value, bool))


def inside_object(value: Any, schema: dict[str, Any], root: dict[str, Any], path: str) -> list[str]:
    if not isinstance(value, dict):
        return []
    found = [f"{path}: {name} is missing" for name in schema.get("required", []) if name not in value]
    others = schema.get("additionalProperties", {})
    for name, inner in value.items():
        inner_schema = schema.get("properties", {}).get(name, others if isinstance(others, dict) else {})
        found += misfits(inner, inner_schema, root, f"{path}.{name}")
    return found


def inside_array(value: Any, schema: dict[str, Any], root: dict[str, Any], path: str) -> list[str]:
    if not isinstance(value, list) or not isinstance(schema.get("items"), dict):
        return []
    return [
        fault
        for index, inner in enumerate(value)
        for fault in misfits(inner, schema["items"], root, f"{path}[{index}]")
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_is_the_generated_one(name: str):
    committed = (SCHEMAS / f"{name}.json").read_text(encoding="utf-8")
    assert committed == schema_text(definitions()[name]), "run `python -m events.generate`"


def test_there_is_no_schema_too_many():
    assert {path.stem for path in SCHEMAS.iterdir()} == set(NAMES)


def test_all_examples_are_there_and_right():
    assert check_examples(definitions()) == []


@pytest.mark.parametrize("name", NAMES)
def test_an_example_fits_its_schema(name: str):
    schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    assert misfits(json.loads(example(name))["data"], schema, schema) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_tells_what_decoding_refuses(name: str):
    """Whatever required field is taken away, both the schema and the decoder miss it."""
    schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    reference = schema["$ref"].removeprefix("#/$defs/")
    for field in schema["$defs"][reference]["required"]:
        document = json.loads(example(name))
        del document["data"][field]
        assert misfits(document["data"], schema, schema) == [f"$: {field} is missing"]
        assert any(f"`{field}`" in fault for fault in example_faults(name, json.dumps(document)))


def test_examples_tell_one_story():
    """The ids of the examples belong together, so that a reader can follow one model through them."""
    texts = "".join(example(name) for name in NAMES)
    assert len(set(re.findall(r"r-[0-9a-f]{16}", texts))) <= 3
    assert set(re.findall(r"team-[a-z]\.[a-z-]+\.v\d+", texts)) == {"team-x.llm-qa.v1"}


def test_faults_of_examples_are_told_all_at_once(tmp_path: Path):
    for name in NAMES:
        (tmp_path / f"{name}.json").write_text(example(name), encoding="utf-8")
    (tmp_path / "model-deployed.json").unlink()
    (tmp_path / "model-dreamt.json").write_text("{}", encoding="utf-8")
    (tmp_path / "card-rendered.json").write_text("{}", encoding="utf-8")
    (tmp_path / "model-approved.json").write_text(example("model-rejected"), encoding="utf-8")
    spoilt = json.loads(example("rollback-requested"))
    spoilt["data"]["mood"] = "bad"
    (tmp_path / "rollback-requested.json").write_text(json.dumps(spoilt), encoding="utf-8")
    faults = check_examples(definitions(), tmp_path)
    assert [fault.split(":", 1)[0] for fault in faults] == [
        "examples/card-rendered.json",
        "examples/model-approved.json",
        "examples/model-deployed.json is missing",
        "examples/model-dreamt.json",
        "examples/rollback-requested.json",
    ]


def test_schemas_of_events_that_are_no_more_go(tmp_path: Path):
    (tmp_path / "model-dreamt.json").write_text("{}", encoding="utf-8")
    write_schemas(definitions(), tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == set(NAMES)


def test_the_command_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(generate, "write_schemas", lambda known: None)
    assert generate.main() == 0
    monkeypatch.setattr(generate, "check_examples", lambda known: ["examples/x.json: no event is called x"])
    assert generate.main() == 1
    assert capsys.readouterr().err == "examples/x.json: no event is called x\n"
