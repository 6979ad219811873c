"""docs/operating.md names every setting, every check and every operator's command there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.cli.main import SECTIONS
from services.operations.checks import THOROUGH
from shared.settings import Settings

PAGE = (Path(__file__).parents[3] / "docs" / "operating.md").read_text(encoding="utf-8")
FIELDS = [field for field in Settings.__struct_fields__ if field != "cache"]


@pytest.mark.parametrize("field", FIELDS)
def test_settings(field: str) -> None:
    assert f"| `KUZNIA_{field.upper()}` |" in PAGE


@pytest.mark.parametrize("field", [f for f in FIELDS if f not in ("home", "warm")])
def test_their_defaults(field: str) -> None:
    default = getattr(Settings(home=Path(), cache=Path()), field)
    shown = f"{default:g}" if isinstance(default, float) else str(default)
    assert f"| `KUZNIA_{field.upper()}` | `{shown}` |" in PAGE


@pytest.mark.parametrize("check", THOROUGH)
def test_checks(check: str) -> None:
    assert f"| `{check}` |" in PAGE


@pytest.mark.parametrize("command", SECTIONS["Keep the promise"])
def test_commands(command: str) -> None:
    assert f"kuznia {command}" in PAGE
