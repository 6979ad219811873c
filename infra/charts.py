"""`python -m infra.charts`: writes what is made of charts: the table of values in README.md, and rendered examples.

Each chart's README.md holds the table between two marks; it is made of the comments in values.yaml. Each file of
`ci/` is rendered into docs/examples/charts. `--check` writes nothing and ends with 1 where something is stale.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from infra import helm
from shared.forge import steps
from shared.settings import from_environment

ROOT = Path(__file__).resolve().parents[1]
CHARTS = ROOT / "charts"
EXAMPLES = ROOT / "docs" / "examples" / "charts"
BEGIN, END = "<!-- values: made by `python -m infra.charts` -->", "<!-- /values -->"
RELEASE, NAMESPACE, KUBERNETES = "serve", "team-x-api", "1.35.0"
PLACES: Mapping[str, tuple[str, str]] = {
    "kuznia": ("kuznia", "kuznia")
}  # chart -> another release and namespace
LONGEST = 60  # characters of a default that is shown


class ChartError(ValueError):
    """What cannot be made; one line a fault."""


def charts() -> list[Path]:
    """Folders of those whose README.md has a table."""
    return [
        path.parent
        for path in sorted(CHARTS.glob("*/README.md"))
        if BEGIN in path.read_text(encoding="utf-8")
    ]


def readme(chart: Path) -> str:
    """README.md with its table as values.yaml has it. Raises ChartError."""
    text = (chart / "README.md").read_text(encoding="utf-8")
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ChartError(f"{chart.name}/README.md: the table's place is not marked by {BEGIN} and {END}")
    return f"{head}{BEGIN}\n{table((chart / 'values.yaml').read_text(encoding='utf-8'))}{END}{tail}"


def table(values: str) -> str:
    """Markdown: a row a value. Raises ChartError naming values without a comment."""
    rows = list(_rows(values.splitlines(), yaml.compose(values), ""))
    bare = [key for key, _, meaning in rows if not meaning]
    if bare:
        raise ChartError("\n".join(f"values.yaml: {key} has no comment above it" for key in bare))
    lines = [f"| `{key}` | {default} | {meaning} |\n" for key, default, meaning in rows]
    return "".join(["| value | default | meaning |\n|---|---|---|\n", *lines])


def _rows(lines: Sequence[str], node: yaml.Node | None, path: str) -> Iterator[tuple[str, str, str]]:
    assert isinstance(node, yaml.MappingNode)
    for key, value in node.value:
        name = f"{path}.{key.value}".strip(".")
        meaning = _comment(lines, key.start_mark.line)
        if isinstance(value, yaml.MappingNode) and value.value and _is_commented(lines, value):
            yield from _rows(lines, value, name)
        else:
            default = yaml.safe_load(yaml.serialize(value))
            yield name, _shown(default), meaning.replace("|", "\\|")


def _is_commented(lines: Sequence[str], node: yaml.Node) -> bool:
    """Whether anything below it has a comment of its own; else it is one row."""
    if not isinstance(node, yaml.MappingNode):
        return False
    return any(
        _comment(lines, key.start_mark.line) or _is_commented(lines, value) for key, value in node.value
    )


def _comment(lines: Sequence[str], line: int) -> str:
    """The comment that stands directly above, at the same depth."""
    depth = len(lines[line]) - len(lines[line].lstrip())
    found: list[str] = []
    while line > 0 and lines[line - 1].startswith(" " * depth + "#"):
        line -= 1
        found.insert(0, lines[line].strip().removeprefix("#").strip())
    return " ".join(found)


def _shown(default: object) -> str:
    text = json.dumps(default, ensure_ascii=False)
    return "see values.yaml" if len(text) > LONGEST else f"`{text}`"


def examples(program: Path) -> Mapping[Path, str]:
    """Path of each rendered example -> its content. Raises ChartError."""
    return {
        EXAMPLES / chart.name / values.name: render(program, chart, values)
        for chart in charts()
        for values in sorted((chart / "ci").glob("*.yaml"))
    }


def render(program: Path, chart: Path, values: Path) -> str:
    """What a user's cluster would be given for these values. Raises ChartError."""
    release, namespace = PLACES.get(chart.name, (RELEASE, NAMESPACE))
    words = [program, "template", release, chart, "--values", values, "--namespace", namespace]
    words += ["--kube-version", KUBERNETES, "--skip-tests"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ChartError(f"{values}: {done.stderr.strip()}")
    said = values.read_text(encoding="utf-8").splitlines()
    told = [line for line in said if line.startswith("#")]
    name = values.relative_to(ROOT).as_posix()
    head = [*told, f"# Made by `python -m infra.charts` of {name}; a test compares. Do not edit."]
    return "\n".join([*head, done.stdout.strip(), ""])


def same(one: str, other: str) -> bool:
    """Whether two renderings are the same objects: helms of several versions set them out differently."""
    return _by_name(one) == _by_name(other)


def _by_name(text: str) -> dict[tuple[str, str], object]:
    documents = [document for document in yaml.safe_load_all(text) if document]
    return {(document["kind"], document["metadata"]["name"]): document for document in documents}


def main(arguments: Sequence[str]) -> int:
    """0; 1 where --check finds something stale, or it cannot be made."""
    try:
        made = {chart / "README.md": readme(chart) for chart in charts()}
        made |= examples(helm.require(from_environment().cache))
    except (ChartError, steps.StepFailed) as error:
        sys.stderr.write(f"✗ {error}\n")
        return 1
    stale = [
        path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if "--check" in arguments:
        mend = "To mend: python -m infra.charts\n" if stale else ""
        sys.stderr.write("".join(f"{path.relative_to(ROOT)} is stale\n" for path in stale) + mend)
        return int(bool(stale))
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
