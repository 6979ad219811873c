"""Our own source, parsed: what the tests of the architecture measure."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("events", "shared", "services")
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


class Function:
    """One function, with its measures."""

    def __init__(self, path: str, owner: str, node: FunctionNode) -> None:
        self.path = path
        self.name = f"{owner}.{node.name}" if owner else node.name
        self.node = node

    @property
    def place(self) -> str:
        return f"{self.path}:{self.name}"

    @property
    def lines(self) -> int:
        return (self.node.end_lineno or 0) - self.node.lineno + 1

    @property
    def arguments(self) -> int:
        """All that a caller may pass by name or place; `self` and `cls` are not passed."""
        found = self.node.args
        names = [argument.arg for argument in (*found.posonlyargs, *found.args, *found.kwonlyargs)]
        return len([name for name in names if name not in ("self", "cls")])

    @property
    def nesting(self) -> int:
        return _depth(self.node.body)


class Module:
    """One file."""

    def __init__(self, path: Path, root: Path = ROOT) -> None:
        self.path = path.relative_to(root).as_posix()
        self.text = path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())

    @cached_property
    def functions(self) -> list[Function]:
        return list(_functions(self.path, "", self.tree))


@cache
def modules() -> tuple[Module, ...]:
    """Every Python file of ours that ships."""
    return tuple(Module(path) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))


@cache
def files() -> tuple[str, ...]:
    """All files that are committed, or about to be."""
    words = ["git", "ls-files", "--cached", "-z"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    return tuple(sorted(path for path in done.stdout.split("\0") if path and (ROOT / path).is_file()))


def _functions(path: str, owner: str, node: ast.AST) -> Iterator[Function]:
    for child in ast.iter_child_nodes(node):
        name = getattr(child, "name", "")
        inner = f"{owner}.{name}".strip(".") if name else owner
        if isinstance(child, FunctionNode):
            yield Function(path, owner, child)
        if isinstance(child, (ast.ClassDef, FunctionNode, *BLOCKS)):
            yield from _functions(path, inner, child)


def _depth(body: list[ast.stmt]) -> int:
    """How deep blocks stand in blocks; `elif` is no deeper than its `if`, and an inner function begins anew."""
    return max((_depth_of(statement) for statement in body), default=0)


def _depth_of(statement: ast.stmt) -> int:
    if not isinstance(statement, BLOCKS):
        return 0
    inner = 1 + max((_depth(block) for block in _inner(statement)), default=0)
    if (
        isinstance(statement, ast.If)
        and len(statement.orelse) == 1
        and isinstance(statement.orelse[0], ast.If)
    ):
        return max(1 + _depth(statement.body), _depth_of(statement.orelse[0]))
    return inner


def _inner(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    for field in ("body", "orelse", "finalbody"):
        yield getattr(statement, field, [])
    for part in (*getattr(statement, "handlers", []), *getattr(statement, "cases", [])):
        yield part.body
