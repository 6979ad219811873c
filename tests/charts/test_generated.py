"""README.md and the rendered examples say what the chart is now."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra import charts
from tests.charts.llama_factory_api import EXAMPLES, NAME

CHART = charts.CHARTS / NAME
MEND = "python -m infra.charts"


def test_the_table_of_values_is_fresh():
    assert CHART in charts.charts()
    assert (CHART / "README.md").read_text(encoding="utf-8") == charts.readme(CHART), MEND


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_rendered_example_is_fresh(helm: str, name: str):
    kept = charts.EXAMPLES / NAME / f"{name}.yaml"
    made = charts.render(Path(helm), CHART, CHART / "ci" / f"{name}.yaml")
    assert charts.same(kept.read_text(encoding="utf-8"), made), MEND


def test_no_example_is_left_over(helm: str):
    kept = {path for path in charts.EXAMPLES.rglob("*.yaml") if path.parent.name == NAME}
    assert kept == {charts.EXAMPLES / NAME / f"{name}.yaml" for name in EXAMPLES}


VALUES = """
# What it is
# called.
name: "a|b"
part:
  # How many.
  count: 1
# As it is.
whole:
  a: [1]
  b: {}
"""


def test_a_row_a_value():
    assert charts.table(VALUES).splitlines()[2:] == [
        '| `name` | `"a|b"` | What it is called. |',
        "| `part.count` | `1` | How many. |",
        '| `whole` | `{"a": [1], "b": {}}` | As it is. |',
    ]


def test_a_value_without_a_word_is_a_fault():
    with pytest.raises(charts.ChartError, match=r"part.other has no comment above it"):
        charts.table(VALUES.replace("  count: 1", "  count: 1\n  other: 2"))


def test_a_readme_without_its_place_is_a_fault(tmp_path: Path):
    (tmp_path / "README.md").write_text("# A chart\n")
    with pytest.raises(charts.ChartError, match="the table's place is not marked"):
        charts.readme(tmp_path)


def test_what_cannot_be_rendered_is_told(helm: str, tmp_path: Path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("engine: other\n")
    with pytest.raises(charts.ChartError, match="at '/engine': value must be one of"):
        charts.render(Path(helm), CHART, wrong)


def test_set_out_differently_they_are_the_same():
    one = "kind: A\nmetadata: {name: a}\n---\nkind: B\nmetadata: {name: b}\n"
    assert charts.same(one, "# x\n---\nkind: B\nmetadata:\n  name: b\n---\nkind: A\nmetadata: {name: a}\n")
    assert not charts.same(one, one.replace("name: b", "name: c"))
