"""Cards and reports as HTML. What they hold was written by others: raw HTML and images are not let through."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererProtocol
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup, escape

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
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("image", _words_of_image)
    return parser


def _words_of_image(
    _renderer: RendererProtocol, tokens: Sequence[Token], place: int, _options: OptionsDict, _env: EnvType
) -> str:
    """Another host's picture is never fetched; its words stand in its place."""
    return str(escape(tokens[place].content))
