"""A YAML file as plain JSON types with the line of every key, read so that no text whatever can raise.

Numbers are read as OmegaConf reads them for LLaMA-Factory: `2e-3` is a float, a date is text.
"""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec
import yaml
from yaml.constructor import SafeConstructor

from shared.experiment.faults import Fault, shown

DEEPEST = 20
MOST_NODES = 20_000
_LARGEST = 2**53
_TAG = "tag:yaml.org,2002:"
_EXPONENT = re.compile(r"[-+]?\d+(?:\.\d*)?[eE][-+]?\d+")
_TRUE = frozenset({"yes", "true", "on"})
_AS_TEXT = frozenset({f"{_TAG}str", f"{_TAG}timestamp", f"{_TAG}value"})
# What PyYAML raises on bad input: its own errors, and what its escapes and recursion let through.
_YAML_FAULTS = (yaml.YAMLError, ValueError, OverflowError, RecursionError, AttributeError, IndexError)

Path = tuple[str, ...]


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """name: of the file. values: the mapping, {} where it could not be read. lines: path of a key -> its line.

    faults: of the syntax.
    """

    name: str
    values: dict[str, Any] = {}
    lines: dict[Path, int] = {}
    faults: tuple[Fault, ...] = ()

    def where(self, *path: str) -> str:
        """`config.yaml:12 a.b`, with the line of the key or else of the nearest one that holds it."""
        known = next((self.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.lines), 0)
        place = f"{self.name}:{known}" if known else self.name
        return f"{place} {shown('.'.join(path))}" if path else place

    def get(self, *path: str) -> Any:
        """The value under the path, or None."""
        value: Any = self.values
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value


def read_yaml(name: str, text: str) -> Document:
    """The document; whatever is wrong with it is in its faults."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except _YAML_FAULTS as error:
        return Document(name=name, faults=(_syntax(name, error),))
    if not isinstance(node, yaml.MappingNode):
        wrong = Fault(
            where=name, what="is no mapping of keys to values", mend="write one `key: value` a line"
        )
        return Document(name=name, faults=(wrong,))
    reader = _Reader(name)
    values = reader.mapping(node, ())
    return Document(name=name, values=values, lines=reader.lines, faults=tuple(reader.faults))


def _syntax(name: str, error: Exception) -> Fault:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None)
    if isinstance(error, RecursionError):
        problem = "it is nested too deeply"
    return Fault(
        where=f"{name}:{mark.line + 1}" if mark else name,
        what=f"is not valid YAML: {shown(problem or 'a character or escape that YAML does not allow')}",
        mend="check indentation, quotes and colons on this line and the one before",
    )


class _Reader:
    """Walks the nodes once; keeps the lines and the faults."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: dict[Path, int] = {}
        self.faults: list[Fault] = []
        self._nodes = 0

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            inner = (*path, key)
            if key in values:
                first = self.lines[inner]
                self._fault(key_node, inner, f"stands twice (first on line {first})", "keep one of the two")
                continue
            self.lines[inner] = key_node.start_mark.line + 1
            values[key] = self._value(value_node, inner)
        return values

    def _key(self, node: yaml.Node, path: Path) -> str | None:
        if node.tag == f"{_TAG}merge":
            self._fault(node, (*path, "<<"), "merges another mapping", "write the keys out")
        elif not isinstance(node, yaml.ScalarNode) or self._broken(node.value):
            self._fault(node, path, "has a key that is no text", "use plain words as keys")
        else:
            return str(node.value)
        return None

    def _value(self, node: yaml.Node, path: Path) -> Any:
        self._nodes += 1
        if len(path) > DEEPEST or self._nodes > MOST_NODES:
            if self._nodes <= MOST_NODES + 1:
                self._fault(node, path, "is nested too deeply or too large", "write a plainer file")
            return None
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*path, str(index))) for index, item in enumerate(node.value)]
        return self._scalar(node, path) if isinstance(node, yaml.ScalarNode) else None

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        try:
            value = _plain(node)
        except (ValueError, OverflowError) as error:
            reason = str(error) if type(error) is ValueError and error.args else ""
            reason = reason if reason.startswith("is ") else "is a number that cannot be read"
            self._fault(node, path, reason, "write a plain text, number, true or false")
            return None
        if isinstance(value, str) and self._broken(value):
            self._fault(node, path, "holds characters that are no text", "write it in UTF-8")
            return None
        return value

    def _fault(self, node: yaml.Node, path: Path, what: str, mend: str) -> None:
        place = f"{self.name}:{node.start_mark.line + 1}"
        where = f"{place} {shown('.'.join(path))}" if path else place
        self.faults.append(Fault(where=where, what=what, mend=mend))

    @staticmethod
    def _broken(text: str) -> bool:
        return any("\ud800" <= character <= "\udfff" or character == "\0" for character in text)


def _plain(node: yaml.ScalarNode) -> Any:
    """The scalar as str, int, float, bool or None. Raises ValueError for what is none of these."""
    text, kind = node.value, node.tag
    if node.style is None and _EXPONENT.fullmatch(text):
        return _finite(float(text))
    if kind in _AS_TEXT:
        return text
    if kind == f"{_TAG}null":
        return None
    if kind == f"{_TAG}bool":
        return text.lower() in _TRUE
    if kind == f"{_TAG}float":
        return _finite(float(SafeConstructor().construct_yaml_float(node)))
    if kind == f"{_TAG}int":
        return _sound(int(SafeConstructor().construct_yaml_int(node)))
    message = f"is tagged {shown(kind.removeprefix(_TAG))}, which is not read here"
    raise ValueError(message)


def _finite(number: float) -> float:
    if not math.isfinite(number):
        message = "is not a finite number"
        raise ValueError(message)
    return number


def _sound(number: int) -> int:
    if abs(number) > _LARGEST:
        message = "is too large a number"
        raise ValueError(message)
    return number
