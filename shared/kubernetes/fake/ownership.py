"""Server-side apply: who said which field, what is a conflict, and what goes away when nobody says it any more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shared.kubernetes.fake.failures import Failure
from shared.kubernetes.fake.lists import key_of, keys_of
from shared.kubernetes.fake.objects import Object, copied

Path = tuple[Any, ...]  # keys of dicts as text, items of lists by the tuple that they are known by
Owners = Mapping[str, frozenset[Path]]
_IDENTITY = frozenset({("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")})
_MANAGED = frozenset(
    {"managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "deletionTimestamp"}
)


def applied(live: Object | None, wanted: Object, owners: Owners, manager: str, *, force: bool) -> Object:
    """A changed copy: what is wanted set, what only this manager said before taken away.

    Raises Failure (409) where another manager said something else, unless it is forced.
    """
    said = said_by(wanted)
    if live is None:
        return copied(wanted)  # type: ignore[no-any-return]
    others = {name: paths for name, paths in owners.items() if name != manager}
    if not force:
        _refuse_conflicts(live, wanted, said, others)
    result = _merged(live, wanted, "")
    silent = owners.get(manager, frozenset()) - said
    for path in sorted(silent, key=_is_key):  # what an item is known by goes last, with the item
        if any(path in paths for paths in others.values()):
            continue
        if not _is_key(path):
            _remove(result, path)
        elif _at(result, path[:-1]) == dict(path[-2]):
            _remove(result, path[:-1])
    assert isinstance(result, dict)
    return result


def owning(
    owners: Owners, live: Object | None, result: Object, manager: str, said: frozenset[Path]
) -> Owners:
    """Who owns what after an apply of what was said: a field that it changed is its own."""
    there = dict(_leaves(live or {}, ()))
    taken = {path for path, value in _leaves(result, ()) if path in said and there.get(path) != value}
    rest = {name: paths - taken for name, paths in owners.items() if name != manager}
    return {**{name: paths for name, paths in rest.items() if paths}, manager: said}


def written(owners: Owners, before: Object, after: Object, manager: str) -> Owners:
    """Who owns what after a write that is no apply: what it changed is its own."""
    if not owners:
        return owners
    old, new = dict(_leaves(before, ())), dict(_leaves(after, ()))
    changed = frozenset(path for path, value in new.items() if old.get(path) != value) - _IDENTITY
    touched = changed | frozenset(old.keys() - new.keys())
    if not touched:
        return owners
    rest = {name: paths - touched for name, paths in owners.items() if name != manager}
    own = (owners.get(manager, frozenset()) - touched) | changed
    return {**{name: paths for name, paths in rest.items() if paths}, manager: own}


def said_by(config: Object) -> frozenset[Path]:
    """The fields that a configuration says, but for the object's identity and what only the server says."""
    return frozenset(path for path, _ in _leaves(config, ())) - _IDENTITY


def managed_fields(owners: Owners, api_version: str, at: str) -> list[Object]:
    """As the object's metadata tell it."""
    return [
        {
            "manager": manager,
            "operation": "Apply",
            "apiVersion": api_version,
            "time": at,
            "fieldsType": "FieldsV1",
            "fieldsV1": _fields(paths),
        }
        for manager, paths in sorted(owners.items())
    ]


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    field = path[-1] if path else ""
    if isinstance(value, dict) and (value or not path):
        for key, item in value.items():
            if not (path == ("metadata",) and key in _MANAGED) and (*path, key) != ("status",):
                yield from _leaves(item, (*path, key))
    elif isinstance(value, list) and (keys := keys_of(str(field), value)):
        for item in value:
            yield from _leaves(item, (*path, key_of(item, keys)))
    else:
        yield path, value


def _refuse_conflicts(live: Object, wanted: Object, said: frozenset[Path], others: Owners) -> None:
    there, new = dict(_leaves(live, ())), dict(_leaves(wanted, ()))
    found = [
        f'conflict with "{name}": {_shown(path)}'
        for name, paths in sorted(others.items())
        for path in sorted(paths & said, key=str)
        if there.get(path) != new.get(path)
    ]
    if found:
        plural = "s" if len(found) > 1 else ""
        raise Failure(409, f"Apply failed with {len(found)} conflict{plural}: {'; '.join(found)}")


def _merged(live: Any, wanted: Any, field: str) -> Any:
    if isinstance(wanted, dict) and isinstance(live, dict):
        result = dict(live)
        for key, value in wanted.items():
            result[key] = _merged(live.get(key), value, key)
        return result
    if isinstance(wanted, list) and isinstance(live, list):
        keys = keys_of(field, wanted)
        if keys and keys == keys_of(field, live or wanted):
            items = {key_of(item, keys): item for item in live}
            for item in wanted:
                known = key_of(item, keys)
                items[known] = _merged(items.get(known), item, "")
            return list(items.values())
    return copied(wanted)


def _is_key(path: Path) -> bool:
    """Whether it is a field that an item of a list is known by."""
    return len(path) > 1 and isinstance(path[-2], tuple) and path[-1] in dict(path[-2])


def _at(value: Any, path: Path) -> Any:
    for key in path:
        place = _place(value, key)
        value = None if place is None else value[place]
    return value


def _place(value: Any, key: Any) -> Any:
    """The index or key of what a step of a path means, or None."""
    if isinstance(key, tuple):
        names = tuple(name for name, _ in key)
        items = value if isinstance(value, list) else ()
        return next((at for at, item in enumerate(items) if key_of(item, names) == key), None)
    return key if isinstance(value, dict) and key in value else None


def _remove(value: Any, path: Path) -> bool:
    """Take away what lies there, and what is empty then. Copies on the way, for the parts are shared."""
    key, *rest = path
    place = _place(value, key)
    if place is None:
        return False
    if rest:
        value[place] = copied(value[place])
        if not _remove(value[place], tuple(rest)) or value[place]:
            keyed = isinstance(key, tuple) and value[place] == dict(key)
            if not keyed:
                return True
    del value[place]
    return True


def _fields(paths: frozenset[Path]) -> Object:
    tree: Object = {}
    for path in sorted(paths, key=str):
        node = tree
        for key in path:
            node = node.setdefault(_field(key), {})
    return tree


def _field(key: Any) -> str:
    if isinstance(key, tuple):
        inside = ",".join(f'"{name}":{_quoted(value)}' for name, value in key)
        return f"k:{{{inside}}}"
    return f"f:{key}"


def _quoted(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _shown(path: Path) -> str:
    return "".join(f"[{_field(key)[3:-1]}]" if isinstance(key, tuple) else f".{key}" for key in path)
