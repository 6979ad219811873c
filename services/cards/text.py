"""Text of others made harmless in Markdown: it is shown as it was written, and means nothing to a parser.

Escaping is the default: the template's every `{{ … }}` goes through `inline`, unless it is already Markup.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

NOT_STATED, YES, NO = Markup("*not stated*"), Markup("yes"), Markup("no")
WIDEST = 76  # of a padded column; a longer cell sticks out, so that tables stay readable as plain text
_STRUCTURE = re.compile(r"[\\`*\[\]|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_BLOCK = re.compile(  # what begins a heading, a list, a rule or a table, where it stands first
    r">|#{1,6}(?=\s|$)|[-+](?=\s|$|-)|=(?==*\s*$)|:(?=-)|(?P<number>\d{1,9})(?=[.)](\s|$))"
)
_BREAKS = re.compile("\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_LINK = re.compile(r"https?://[A-Za-z0-9][^\s<>\\`|\"'{}^]*")
_MAIL = re.compile(r"[A-Za-z0-9.+-]+(?:_[A-Za-z0-9.+-]+)*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_PLAIN_CODE = re.compile(r"[^`|\\\n]*[^`|\\\n\s][^`|\\\n]*")
_HIDDEN = re.compile(  # controls but for breaks and tabs, half characters, marks that reorder
    "[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def cleaned(value: Any) -> Any:
    """The same tree, its texts without control characters, half characters and marks that reorder text."""
    if isinstance(value, str):
        return _HIDDEN.sub("\N{REPLACEMENT CHARACTER}", _BREAKS.sub("\n", value))
    if isinstance(value, Mapping):
        return {cleaned(str(name)): cleaned(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [cleaned(inner) for inner in value]
    return value


def inline(value: Any) -> Markup:
    """Any value as one line of Markdown, wherever it stands. Blank lines become breaks."""
    shown = cell(value)
    if isinstance(value, Markup) or not (begins := _BLOCK.match(shown)):
        return shown
    head = begins["number"] or ""
    return Markup(f"{head}\\{shown[len(head) :]}")  # noqa: S704 - this is the escaping


def cell(value: Any) -> Markup:
    """Any value as one line of Markdown within a line: in the cell of a table, after a word."""
    if isinstance(value, Markup):
        return value
    if value is None or value == "":
        return NOT_STATED
    if isinstance(value, bool):
        return YES if value else NO
    if isinstance(value, float):
        return Markup(_STRUCTURE.sub(_backslash, number(value)))  # noqa: S704 - this is the escaping
    if isinstance(value, (list, tuple)):
        return Markup(", ").join(cell(item) for item in value) or NOT_STATED
    paragraphs = re.split(r"\n[ \t]*\n\s*", cleaned(str(value)).strip())
    return Markup("<br><br>").join(_escaped(paragraph) for paragraph in paragraphs)


def code(value: Any) -> Markup:
    """In a monospaced face where that can be done without escaping, else as inline text."""
    text = cleaned(str(value)) if value is not None else ""
    if not _PLAIN_CODE.fullmatch(text):
        return inline(value)
    return Markup(f"`{text.strip()}`")  # noqa: S704 - no character in it ends the span or the cell


def link(value: Any) -> Markup:
    """An address as a link (http, https, mail), anything else as inline text."""
    text = str(value).strip() if value is not None else ""
    if _LINK.fullmatch(text) or _MAIL.fullmatch(text):
        return Markup(f"<{text}>")  # noqa: S704 - no character in it ends the link or the cell
    return inline(value)


def number(value: float) -> str:
    """A measured value, three decimals, or three digits where that says nothing: `0.917`, `1.42e+09`."""
    return f"{value:.3f}" if value == 0 or 0.001 <= abs(value) < 1e5 else f"{value:.3g}"


def count(value: float) -> str:
    """A number that nobody measured in decimals: `134,515,008`, `67.8`, `9.89e+14`."""
    return f"{value:,.0f}" if abs(value) < 1e12 and value == int(value) else f"{value:.4g}"


def signed(value: float | None) -> Markup:
    """A difference, with its sign; a dash where there is none."""
    if value is None:
        return Markup("–")
    return Markup("±0") if value == 0 else Markup(f"{'+' if value > 0 else '−'}{number(abs(value))}")  # noqa: S704


def setting(value: Any) -> str:
    """A value of a config as YAML would have it: `true`, `0.002`, `q_proj, v_proj`."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(setting(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def moment(value: str) -> str:
    """`2026-11-23T10:04:05+00:00` -> `2026-11-23 10:04 UTC`."""
    return f"{datetime.fromisoformat(value).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def size(count: int | None) -> str | None:
    """Bytes for a person: `19.6 MB`."""
    if count is None:
        return None
    units = ("bytes", "kB", "MB", "GB", "TB")
    power = min(len(units) - 1, max(0, (len(str(count)) - 1) // 3))
    return f"{count / 1000**power:.1f} {units[power]}" if power else f"{count} bytes"


def bullets(values: Iterable[Any] | None) -> Markup:
    """A list, a line an item."""
    lines = [Markup("- ") + inline(value) for value in values or ()]
    return Markup("\n").join(lines) or NOT_STATED


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Markup:
    """A table, padded so that it reads as plain text too. Columns named `>…` are set to the right."""
    cells = [[cell(value) for value in row] for row in rows]
    right = [name.startswith(">") for name in header]
    titles = [cell(name.removeprefix(">")) if name.strip(">") else Markup("") for name in header]
    columns = list(zip(titles, *cells, strict=True))
    widths = [max([3, *(len(text) for text in column if len(text) <= WIDEST)]) for column in columns]
    rule = [
        ("-" * (width - 1) + ":") if flush else "-" * width
        for width, flush in zip(widths, right, strict=True)
    ]
    lines = [_line(titles, widths, right), "| " + " | ".join(rule) + " |"]
    lines += [_line(row, widths, right) for row in cells]
    return Markup("\n".join(lines))  # noqa: S704 - each cell is escaped


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = (
        text.rjust(width) if flush else text.ljust(width)
        for text, width, flush in zip(cells, widths, right, strict=True)
    )
    return "| " + " | ".join(padded) + " |"


def _escaped(paragraph: str) -> Markup:
    """One paragraph on one line: HTML by entities, Markdown by backslashes."""
    text = " ".join(paragraph.split())
    text = re.sub(r"&(?=#?\w+;)", "&amp;", _STRUCTURE.sub(_backslash, text))
    return Markup(text.replace("<", "&lt;"))  # noqa: S704 - this is the escaping


def _backslash(found: re.Match[str]) -> str:
    return f"\\{found[0]}"
