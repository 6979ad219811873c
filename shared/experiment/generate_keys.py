"""Reads LLaMA-Factory's and transformers' sources for the keys a config may have, without importing them.

    python -m shared.experiment.generate_keys <site-packages>

writes `llamafactory_keys.json` and `llamafactory_templates.json` beside this file.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
KEYS = HERE / "llamafactory_keys.json"
TEMPLATES = HERE / "llamafactory_templates.json"
_ARGUMENTS = (
    *(
        f"llamafactory/hparams/{name}_args.py"
        for name in ("model", "data", "training", "finetuning", "generating")
    ),
    "transformers/training_args.py",
    "transformers/training_args_seq2seq.py",
)
_ENUMS = (
    "llamafactory/extras/constants.py",
    "transformers/trainer_utils.py",
    "transformers/training_args.py",
    "transformers/debug_utils.py",
)
_SIMPLE = ("str", "int", "float", "bool", "list", "dict")


def keys(site_packages: Path) -> dict[str, Any]:
    """`{"versions": {package: version}, "keys": {key: {"types": […], "choices": […]}}}`.

    types: of str, int, float, bool, list, dict, null, any. choices: the only texts allowed, absent where free.
    """
    enums = {name: values for path in _ENUMS for name, values in _enums(_parse(site_packages / path))}
    found: dict[str, Any] = {}
    for path in _ARGUMENTS:
        tree = _parse(site_packages / path)
        lists = set(_comma_lists(tree))
        for name, annotation in _fields(tree):
            found[name] = _described(annotation, enums, listed=name in lists)
    return {"versions": _versions(site_packages), "keys": dict(sorted(found.items()))}


def templates(site_packages: Path) -> list[str]:
    """Names of the chat templates that LLaMA-Factory registers, sorted."""
    calls = [
        node.value
        for node in _parse(site_packages / "llamafactory/data/template.py").body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ]
    named = (word.value for call in calls if _name(call.func) == "register_template" for word in _names(call))
    return sorted(str(value.value) for value in named if isinstance(value, ast.Constant))


def _names(call: ast.Call) -> list[ast.keyword]:
    return [keyword for keyword in call.keywords if keyword.arg == "name"]


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _versions(site_packages: Path) -> dict[str, str]:
    return {
        package: next(site_packages.glob(f"{package}-*.dist-info")).name.split("-")[1].removesuffix(".dist")
        for package in ("llamafactory", "transformers")
    }


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _enums(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and any(_name(base).endswith("Enum") for base in node.bases):
            values = [line.value for line in node.body if isinstance(line, ast.Assign)]
            yield node.name, [str(v.value) for v in values if isinstance(v, ast.Constant)]


def _fields(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Name and annotation of every dataclass field that a config may set."""
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or not any(_is_dataclass(d) for d in node.decorator_list):
            continue
        for line in node.body:
            if (
                isinstance(line, ast.AnnAssign)
                and isinstance(line.target, ast.Name)
                and _settable(line.value)
            ):
                yield line.target.id, line.annotation


def _is_dataclass(decorator: ast.expr) -> bool:
    return _name(decorator.func if isinstance(decorator, ast.Call) else decorator) == "dataclass"


def _settable(default: ast.expr | None) -> bool:
    if not isinstance(default, ast.Call):
        return True
    return not any(
        k.arg == "init" and isinstance(k.value, ast.Constant) and not k.value.value for k in default.keywords
    )


def _comma_lists(tree: ast.Module) -> Iterator[str]:
    """Fields that `__post_init__` splits at commas, which takes a list as well."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) == "split_arg":
            yield from (argument.attr for argument in node.args if isinstance(argument, ast.Attribute))


def _described(annotation: ast.expr, enums: Mapping[str, list[str]], *, listed: bool) -> dict[str, Any]:
    types: set[str] = {"list"} if listed else set()
    choices: list[str] = []
    for part in _alternatives(annotation):
        kind, allowed = _type(part, enums)
        types |= kind
        choices += allowed
    return {"types": sorted(types)} | ({"choices": sorted(set(choices))} if choices else {})


def _alternatives(annotation: ast.expr) -> Iterator[ast.expr]:
    if isinstance(annotation, ast.BinOp):
        yield from _alternatives(annotation.left)
        yield from _alternatives(annotation.right)
    elif isinstance(annotation, ast.Subscript) and _name(annotation.value) == "Optional":
        yield from _alternatives(annotation.slice)
        yield ast.Constant(value=None)
    else:
        yield annotation


def _type(part: ast.expr, enums: Mapping[str, list[str]]) -> tuple[set[str], list[str]]:
    if isinstance(part, ast.Constant) and part.value is None:
        return {"null"}, []
    outer = part.value if isinstance(part, ast.Subscript) else part
    name = _name(outer)
    if isinstance(part, ast.Subscript) and name == "Literal":
        items = part.slice.elts if isinstance(part.slice, ast.Tuple) else [part.slice]
        values = [item.value for item in items if isinstance(item, ast.Constant)]
        return {type(value).__name__ for value in values}, [v for v in values if isinstance(v, str)]
    if name in enums:
        return {"str"}, enums[name]
    return {name if name in _SIMPLE else "any"}, []


def main(site_packages: Path) -> None:
    """Writes both files."""
    KEYS.write_text(_lined(keys(site_packages)), encoding="utf-8")
    TEMPLATES.write_text(json.dumps(templates(site_packages), indent=1) + "\n", encoding="utf-8")


def _lined(content: dict[str, Any]) -> str:
    """JSON with one key a line, so that an upgrade's diff can be read."""
    entries = ",\n".join(
        f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in content["keys"].items()
    )
    return f'{{\n "versions": {json.dumps(content["versions"])},\n "keys": {{\n{entries}\n }}\n}}\n'


if __name__ == "__main__":
    main(Path(sys.argv[1]))
