"""One whole card, as a person reads it. To write it anew after a wanted change, and to read what changed:

KUZNIA_GOLDEN=write .venv/bin/pytest tests/services/cards/test_golden.py && git diff tests/services/cards/golden
"""

from __future__ import annotations

import os
from pathlib import Path

from services.cards.render import render

GOLDEN = Path(__file__).parent / "golden" / "card.md"


def test_the_card_of_the_orlik_assistant_is_the_golden_one(world):
    markdown = render(world.facts()).markdown
    if os.environ.get("KUZNIA_GOLDEN") == "write":
        GOLDEN.write_text(markdown, encoding="utf-8")
    assert markdown == GOLDEN.read_text(encoding="utf-8")
