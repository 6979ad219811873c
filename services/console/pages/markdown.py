"""Cards and reports as HTML. What they hold was written by others: raw HTML and images are not let through."""

from __future__ import annotations

from functools import cache

from markdown_it import MarkdownIt
from markupsafe import Markup

FENCE = "---"


def render(text: str) -> Markup:
    """CommonMark with tables. HTML in it stays text, and links only lead to http, https and mailto."""
    return Markup(_parser().render(text))  # noqa: S704 - the parser escapes; html is off


def split_front_matter(text: str) -> tuple[str, str]:
    """The YAML head of a Hugging Face card, without its fences, and the rest; no head is the empty string."""
    lines = text.splitlines()
    if not lines or lines[0].strip() != FENCE or FENCE not in [line.strip() for line in lines[1:]]:
        return "", text
    end = next(number for number, line in enumerate(lines[1:], 1) if line.strip() == FENCE)
    return "\n".join(lines[1:end]), "\n".join(lines[end + 1 :])


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
