"""The ways of changing an object by a part of it: merge patch, JSON patch, strategic merge patch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shared.kubernetes.fake.failures import Failure
from shared.kubernetes.fake.lists import Key, key_of, keys_of
from shared.kubernetes.fake.objects import Object, copied

JSON = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
_ORDER = "$setElementOrder/"
_DELETE_PRIMITIVES = "$deleteFromPrimitiveList/"


def patched(live: Object, patch: Any, content_type: str) -> Object:
    """A changed copy. Raises Failure: 415 where the type is unknown, 422 where it does not fit."""
    if content_type == MERGE:
        result = _merge(live, patch)
    elif content_type == STRATEGIC:
        result = _strategic(live, patch)
    elif content_type == JSON:
        result = _json(copied(live), patch)
    else:
        raise Failure(415, f"the body of the request was in an unknown format: {content_type}")
    if not isinstance(result, dict):
        raise Failure(422, "a patch must leave an object")
    return result


def _merge(live: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return copied(patch)
    result = dict(live) if isinstance(live, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merge(result.get(key), value)
    return result


def _strategic(live: Any, patch: Mapping[str, Any]) -> Any:
    if patch.get("$patch") == "replace":
        return {key: copied(value) for key, value in patch.items() if key != "$patch"}
    result = dict(live) if isinstance(live, dict) else {}
    retained = patch.get("$retainKeys")
    if retained is not None:
        result = {key: value for key, value in result.items() if key in retained}
    for key, value in patch.items():
        if not key.startswith("$"):
            _set(result, key, value)
        elif key.startswith(_DELETE_PRIMITIVES):
            field = key.removeprefix(_DELETE_PRIMITIVES)
            result[field] = [item for item in result.get(field) or () if item not in value]
    return result


def _set(result: Object, key: str, value: Any) -> None:
    if value is None:
        result.pop(key, None)
    elif isinstance(value, dict):
        if value.get("$patch") == "delete":
            result.pop(key, None)
        else:
            result[key] = _strategic(result.get(key), value)
    elif isinstance(value, list):
        result[key] = _strategic_list(key, result.get(key) or [], value)
    else:
        result[key] = value


def _strategic_list(field: str, live: list[Any], patch: list[Any]) -> list[Any]:
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [copied(item) for item in patch if item.get("$patch") != "replace"]
    if field == "finalizers":
        return [*live, *(item for item in patch if item not in live)]
    keys = keys_of(field, patch)
    if not keys:
        return [copied(item) for item in patch]
    merged: dict[Key, Any] = {key_of(item, keys): item for item in live}
    for item in patch:
        known = key_of(item, keys)
        if item.get("$patch") == "delete":
            merged.pop(known, None)
        else:
            merged[known] = _strategic(merged.get(known, {}), item)
    return list(merged.values())


def _json(live: Any, patch: Any) -> Any:
    """RFC 6902, in place."""
    if not isinstance(patch, list):
        raise Failure(400, "a JSON patch is a list of operations")
    for step in patch:
        act = _OPERATIONS.get(step.get("op"))
        if act is None:
            raise Failure(400, f"{step.get('op')!r} is no operation of a JSON patch")
        try:
            act(live, step)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise Failure(422, f"{step['op']} of {step.get('path')}: {error!r}") from error
    return live


def _steps(path: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]


def _parent(live: Any, path: str) -> tuple[Any, Any]:
    *way, last = _steps(path)
    for key in way:
        live = live[int(key)] if isinstance(live, list) else live[key]
    if isinstance(live, list):
        return live, len(live) if last == "-" else int(last)
    return live, last


def _add(live: Any, step: Mapping[str, Any]) -> None:
    parent, key = _parent(live, step["path"])
    if isinstance(parent, list):
        parent.insert(key, copied(step["value"]))
    else:
        parent[key] = copied(step["value"])


def _remove(live: Any, step: Mapping[str, Any]) -> None:
    parent, key = _parent(live, step["path"])
    del parent[key]


def _replace(live: Any, step: Mapping[str, Any]) -> None:
    parent, key = _parent(live, step["path"])
    parent[key] = copied(step["value"])


def _test(live: Any, step: Mapping[str, Any]) -> None:
    parent, key = _parent(live, step["path"])
    if parent[key] != step["value"]:
        raise ValueError("the test failed")


_OPERATIONS: Mapping[Any, Callable[[Any, Mapping[str, Any]], None]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "test": _test,
}
