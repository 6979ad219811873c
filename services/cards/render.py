"""Facts in, card out: one document, and the Markdown that shows it. No clock, no network, no chance."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec

from services.cards import rows, text
from services.cards.facts import Facts
from services.cards.fields import FIELDS, Field, completeness, missing
from services.cards.front_matter import dumped, metadata
from services.cards.sections import SCHEMA_VERSION, SECTIONS, provenance

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATE = "card.md.j2"
TOOLS = (
    text.bullets,
    text.code,
    text.link,
    text.moment,
    text.size,
    text.table,
    rows.comparison_rows,
    rows.data_rows,
    rows.estimate_rows,
    rows.flop,
    rows.gate_rows,
    rows.group_rows,
    rows.headline,
    rows.input_rows,
    rows.missing_rows,
    rows.pair_rows,
    rows.percent,
    rows.setback_rows,
    rows.setting_rows,
    rows.titles,
)


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """markdown: with its front matter. document: the same content, JSON types. missing: names of fields.

    completeness: share of the fields that are filled, 0 to 1.
    """

    markdown: str
    document: dict[str, Any]
    missing: tuple[str, ...]
    completeness: float


def render(facts: Facts) -> Rendered:
    """The card of a version. The same facts give the same bytes."""
    absent = missing(facts)
    document = text.cleaned(
        {
            "schema": "kuznia-model-card",
            "schema_version": SCHEMA_VERSION,
            "model": facts.registered.model.key,
            "rendered_from": ["model-registered", "model-validated"],
            "completeness": completeness(absent),
            "fields": len(FIELDS),
            "missing": [_described(field) for field in absent],
            "sections": [
                {"number": number, "id": section.id, "title": section.title, "content": section.build(facts)}
                for number, section in enumerate(SECTIONS, start=1)
            ],
            "provenance": provenance(facts),
            "metadata": metadata(facts),
        }
    )
    return Rendered(
        markdown=_markdown(document),
        document=document,
        missing=tuple(field.name for field in absent),
        completeness=completeness(absent),
    )


def _described(field: Field) -> dict[str, Any]:
    return {"field": field.name, "section": field.section, "asks": field.asks, "human": field.human}


def _markdown(document: dict[str, Any]) -> str:
    heads = {section["id"]: section for section in document["sections"]}
    contents = {name: section["content"] for name, section in heads.items()}
    body = template().render(card=document, heads=heads, **contents)
    return dumped(document["metadata"]) + "\n" + body


@cache
def template() -> Template:
    """Compiled once a process, by the first card: a service that starts for another event needs no Jinja.

    Whatever it prints is escaped, unless it is Markup already.
    """
    from jinja2 import StrictUndefined  # noqa: PLC0415 - see above
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415

    environment = ImmutableSandboxedEnvironment(
        autoescape=True,
        finalize=text.inline,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals.update({tool.__name__: tool for tool in TOOLS})
    source = files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(source)
