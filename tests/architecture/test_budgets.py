"""The shape of the house: small files, small functions, nothing deep, nothing done at import.

Every exception stands here with its reason, and one that is not needed any more fails.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median, quantiles

import pytest

from tests.architecture.source import Function, Module, modules

FILE_P50, FILE_MAX = 120, 300
FUNCTION_P50, FUNCTION_P95, FUNCTION_MAX = 8, 30, 50
NESTING_MAX = 3
ARGUMENTS_MAX = 5

# place -> why it may have more arguments than five
MANY_ARGUMENTS: Mapping[str, str] = {
    "shared/forge/inside/hub_folder.py:write_tokenizer": "the parts of a tokenizer's files, each by name",
    "shared/web/asking.py:_SameHost.redirect_request": "urllib's own signature, overridden",
}
# file -> why a broad `except` stands there, outside the hosts
BROAD_EXCEPT: Mapping[str, str] = {
    "events/envelope.py": "the CloudEvents SDK raises many kinds of errors, which all mean that it is no event",
    "shared/local/sqlite.py": "the writer serves many threads: one caller's bug is that caller's, and never ends it",
}
# calls that may stand at the top of a module: they make a constant, and touch nothing outside
PURE_CALLS = frozenset(
    {
        "frozenset", "tuple", "range", "MappingProxyType", "partial", "re.compile", "TypeVar", "ParamSpec",
        "Path", "datetime", "timedelta", "uuid.UUID", "ipaddress.IPv6Network", "logging.getLogger",
        "msgspec.json.Decoder", "msgspec.json.Encoder", "msgspec.field", "msgspec.structs.fields",
        "Field", "StringConstraints", "Markup",
    }
)  # fmt: skip
PURE_METHODS = frozenset(
    {"split", "join", "replace", "resolve", "with_name", "keys", "items", "values", "union"}
)
# place -> why this call may stand at the top of a module
CALLS_AT_IMPORT: Mapping[str, str] = {
    "services/cli/demo.py:Console": "writes nothing until it is asked to, and all of the story is told by it",
    "services/cli/transfer.py:click.Path": "a type of click's, which is a value",
    "shared/local/cluster/processes.py:os.sysconf": "two numbers of the kernel that never change",
}
MUTATORS = frozenset(
    {
        "append",
        "add",
        "update",
        "pop",
        "popitem",
        "clear",
        "setdefault",
        "extend",
        "insert",
        "remove",
        "discard",
    }
)


def functions() -> Iterator[Function]:
    for module in modules():
        yield from module.functions


def told(found: list[str]) -> str:
    return "\n".join(["", *found])


class TestSizes:
    def test_files(self):
        lines = {module.path: module.lines for module in modules() if module.lines > 1}
        assert median(lines.values()) <= FILE_P50
        assert [f"{path}: {count}" for path, count in lines.items() if count > FILE_MAX] == []

    def test_functions(self):
        lines = {function.place: function.lines for function in functions()}
        assert median(lines.values()) <= FUNCTION_P50
        assert quantiles(lines.values(), n=20)[-1] <= FUNCTION_P95
        assert [f"{place}: {count}" for place, count in lines.items() if count > FUNCTION_MAX] == []

    def test_nesting(self):
        deep = [
            f"{function.place}: {function.nesting}"
            for function in functions()
            if function.nesting > NESTING_MAX
        ]
        assert deep == [], told(deep)

    def test_arguments(self):
        many = {
            function.place
            for function in functions()
            if function.arguments > ARGUMENTS_MAX and not is_command(function)
        }
        assert sorted(many) == sorted(MANY_ARGUMENTS), "more than five arguments, or an exception too many"


def is_command(function: Function) -> bool:
    """Click hands every option over as an argument: a command has as many as its user may say."""
    words = [ast.unparse(decorator) for decorator in function.node.decorator_list]
    return function.path.startswith("services/cli/") and any(
        ".command(" in word or ".group(" in word for word in words
    )


class TestWords:
    def test_every_module_says_what_it_is_for(self):
        assert [module.path for module in modules() if not ast.get_docstring(module.tree)] == []

    def test_every_function_says_what_it_returns(self):
        assert [function.place for function in functions() if function.node.returns is None] == []

    def test_every_module_takes_annotations_as_text(self):
        line = "from __future__ import annotations"
        assert [m.path for m in modules() if m.lines > 1 and m.functions and line not in m.text] == []


class TestState:
    def test_nothing_is_global(self):
        found = [f"{module.path}:{line}" for module in modules() for line in globals_of(module)]
        assert found == []

    def test_nothing_at_the_top_of_a_module_changes(self):
        found = [f"{module.path}: {change}" for module in modules() for change in changes_of(module)]
        assert found == [], told(found)

    def test_no_default_is_shared(self):
        found = [function.place for function in functions() if mutable_default(function)]
        assert found == []


class TestErrors:
    def test_broad_excepts_stand_in_the_hosts_only(self):
        found = {module.path for module in modules() if broad_excepts(module) and not is_host(module)}
        assert sorted(found) == sorted(BROAD_EXCEPT), (
            "a broad except outside the hosts, or an exception too many"
        )

    def test_no_error_is_swallowed_without_a_word(self):
        found = [f"{module.path}:{line}" for module in modules() for line in bare_passes(module)]
        assert found == [], told(found)


def is_host(module: Module) -> bool:
    return module.path.startswith("shared/hosts/")


class TestImport:
    def test_nothing_is_done_at_import(self):
        found = {place for module in modules() for place in calls_at_import(module)}
        assert sorted(found) == sorted(CALLS_AT_IMPORT), "work at import, or an exception too many"

    def test_only_definitions_stand_at_the_top(self):
        found = [f"{module.path}:{line}" for module in modules() for line in other_statements(module)]
        assert found == [], told(found)


def globals_of(module: Module) -> Iterator[int]:
    return (node.lineno for node in ast.walk(module.tree) if isinstance(node, ast.Global))


def changes_of(module: Module) -> Iterator[str]:
    """Where a function changes what is defined at the top of its module."""
    names = {name for statement in module.tree.body for name in defined(statement)}
    for function in module.functions:
        mine = names - locals_of(function)
        for node in ast.walk(function.node):
            yield from (f"{name} in {function.name}" for name in changed(node) if name in mine)


def defined(statement: ast.stmt) -> Iterator[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    yield from (target.id for target in targets if isinstance(target, ast.Name))


def locals_of(function: Function) -> set[str]:
    names = {
        node.id
        for node in ast.walk(function.node)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    return names | {node.arg for node in ast.walk(function.node) if isinstance(node, ast.arg)}


def changed(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, (ast.Store, ast.Del)):
        yield from named(node.value)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
        yield from named(node.func.value)


def named(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name):
        yield node.id


def mutable_default(function: Function) -> bool:
    defaults = [*function.node.args.defaults, *function.node.args.kw_defaults]
    return any(isinstance(default, (ast.List, ast.Dict, ast.Set, ast.ListComp)) for default in defaults)


def broad_excepts(module: Module) -> list[int]:
    """Handlers of everything; one that ends in `raise` only tidies up, and lets it go on."""
    return [
        node.lineno
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler) and is_broad(node) and not goes_on(node)
    ]


def is_broad(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or ast.unparse(kind) in ("Exception", "BaseException") for kind in kinds)


def goes_on(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def bare_passes(module: Module) -> Iterator[int]:
    """Where every error, or one of our four words, is let go without a word."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler) and [type(statement) for statement in node.body] == [ast.Pass]:
            kind = ast.unparse(node.type) if node.type else ""
            if is_broad(node) or any(
                word in kind for word in ("Kuznia", "Retry", "Reject", "Conflict", "Unknown")
            ):
                yield node.lineno


def calls_at_import(module: Module) -> Iterator[str]:
    """Calls in values at the top, but for those of our own constructors and of pure ones."""
    for statement in module.tree.body:
        if isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
            yield from (
                f"{module.path}:{name}" for name in calls(statement.value) if not is_pure(name, module)
            )


def calls(node: ast.AST) -> Iterator[str]:
    """Names of what is called when this is evaluated; the body of a lambda is not."""
    if isinstance(node, ast.Lambda):
        return
    if isinstance(node, ast.Call):
        yield ast.unparse(node.func)
    for child in ast.iter_child_nodes(node):
        yield from calls(child)


def is_pure(name: str, module: Module) -> bool:
    last = name.rsplit(".", 1)[-1]
    if name in PURE_CALLS or ("." in name and last in PURE_METHODS):
        return True
    return last in ours(module)


def ours(module: Module) -> set[str]:
    """Classes and functions of ours that are there by name: values made of values."""
    here = {node.name for node in module.tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    imported = {
        alias.asname or alias.name
        for node in module.tree.body
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith(("events", "shared", "services"))
        for alias in node.names
    }
    through = {"Source", "Decoder"} if "from shared.forge import" in module.text else set()
    return here | imported | through


def other_statements(module: Module) -> Iterator[int]:
    allowed = (
        ast.Import,
        ast.ImportFrom,
        ast.ClassDef,
        ast.FunctionDef,
        ast.AsyncFunctionDef,
        ast.Assign,
        ast.AnnAssign,
    )
    for statement in module.tree.body:
        is_doc = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not (isinstance(statement, allowed) or is_doc or is_guard(statement)):
            yield statement.lineno


def is_guard(statement: ast.stmt) -> bool:
    """`if __name__ == "__main__":` and `if TYPE_CHECKING:`."""
    return isinstance(statement, ast.If) and ast.unparse(statement.test) in (
        "__name__ == '__main__'",
        "TYPE_CHECKING",
    )


PLANTED = """
import time
from collections import deque
STARTED = time.time()
SEEN = {}
print("hello")

def long(a, b, c, d, e, f, g={}):
    global STARTED
    SEEN["x"] = 1
    for x in a:
        for y in b:
            if y:
                with c:
                    pass
    try:
        pass
    except Exception:
        pass

def tidy() -> None:
    try:
        long()
    except BaseException:
        print("tidied up")
        raise
"""


class TestMeasures:
    """The measures see what they are there to see."""

    @pytest.fixture
    def planted(self, tmp_path: Path) -> Module:
        (tmp_path / "planted.py").write_text(PLANTED, encoding="utf-8")
        return Module(tmp_path / "planted.py", tmp_path)

    def test_they_do(self, planted: Module):
        long, tidy = planted.functions
        assert (long.lines, long.arguments, long.nesting, long.node.returns) == (12, 7, 4, None)
        assert mutable_default(long)
        assert not mutable_default(tidy)
        assert len(list(globals_of(planted))) == 1
        assert list(changes_of(planted)) == ["SEEN in long"]
        assert len(broad_excepts(planted)) == 1
        assert len(list(bare_passes(planted))) == 1
        assert list(calls_at_import(planted)) == ["planted.py:time.time"]
        assert len(list(other_statements(planted))) == 1

    def test_an_elif_is_no_deeper_than_its_if(self, tmp_path: Path):
        text = "def f(a):\n    if a:\n        pass\n    elif a:\n        pass\n    elif a:\n        if a:\n            pass\n"
        (tmp_path / "elif.py").write_text(text, encoding="utf-8")
        assert Module(tmp_path / "elif.py", tmp_path).functions[0].nesting == 2
