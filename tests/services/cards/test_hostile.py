"""Text of others is shown as it was written, and changes neither the structure nor the metadata of a card."""

from __future__ import annotations

import itertools
import json
import unicodedata
from copy import deepcopy
from functools import cache

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from services.cards.effects import document_bytes
from services.cards.render import render
from services.cards.text import cell, cleaned, code, inline, link, table

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
NASTY = [
    '"quoted": {yaml: [1, 2]} # not a comment',
    "a | b || c \\| d \\\\| e",
    "line one\n---\nlicense: evil\n---\n# heading",
    "<script>alert(1)</script> <img src=x onerror=alert(1)> <!-- x",
    "[click](javascript:alert(1)) ![x](http://x.example/y.png) [ref]: http://x.example",
    "# heading\n## heading\n- item\n1. item\n> quote\n\n    code\n```\nfence\n~~~",
    "*bold* _under_ __both__ ~~gone~~ `code` ``co`de`` $math$",
    "{{ 7 * 7 }} {% for x in y %} {# comment #}",
    "&lt;b&gt; &amp; &#60;script&#62; &copy;",
    "1. first\n2) second",
    "===",
    "--- | ---",
    "- - -",
    "\u202eright to left\u2066 \x1b[31mred\x00 \ud800 half",
    "one\r\ntwo\u2028three\x85four\x0bfive",
    "http://user@host/<>|` end\\",
    "!!python/object/apply:os.system ['true']",
    "%YAML 1.2\n&anchor *alias",
    "\\",
    "`",
    "|",
    ">",
    "+",
    "ends with a slash \\",
]
HOSTILE = st.one_of(
    st.sampled_from(NASTY),
    st.text(alphabet=st.sampled_from("|\\`*_[]<>()#+-.!~&;:$=\"'{}% \n\tab1é"), max_size=60),
    st.text(max_size=60),
    st.lists(st.sampled_from(NASTY), max_size=3).map("\n".join),
)
REORDER = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
QUICK = settings(deadline=None, derandomize=True)
WHOLE = settings(QUICK, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def shown(text):
    """What a reader should see of a text in one line: breaks between paragraphs, single spaces."""
    return " ".join(cleaned(text).split())


def text_of(token):
    """What a reader sees of an inline token; fails on anything but text and our own line breaks."""
    parts = []
    for child in token.children:
        assert child.type in ("text", "text_special", "html_inline", "softbreak"), (child.type, child.content)
        if child.type == "html_inline":
            assert child.content == "<br>"
        parts.append(" " if child.type in ("html_inline", "softbreak") else child.content)
    return " ".join("".join(parts).split())


@QUICK
@given(HOSTILE)
@example("\\|")
@example("a\\\n|b")
def test_inline_text_is_one_paragraph_of_nothing_but_that_text(text):
    if not shown(text):
        return
    tokens = PARSER.parse(inline(text))
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert text_of(tokens[1]) == shown(text)


@QUICK
@given(st.lists(st.tuples(HOSTILE, HOSTILE), min_size=1, max_size=3))
def test_a_table_keeps_its_cells_and_their_text(rows):
    tokens = PARSER.parse(table(["One", ">Two"], rows))
    kinds = [token.type for token in tokens]
    assert kinds.count("td_open") == 2 * len(rows)
    assert kinds.count("tr_open") == len(rows) + 1
    assert kinds[-1] == "table_close"
    cells = [after for token, after in itertools.pairwise(tokens) if token.type == "td_open"]
    for token, text in zip(cells, [text for row in rows for text in row], strict=True):
        if shown(text):
            assert text_of(token) == shown(text)


@QUICK
@given(HOSTILE, st.sampled_from([code, link]))
def test_code_and_links_show_the_text_and_nothing_else(text, tool):
    if not shown(text):
        return
    tokens = PARSER.parse(table(["Value"], [[tool(cleaned(text))]]))
    (token,) = [after for token, after in itertools.pairwise(tokens) if token.type == "td_open"]
    kinds = {child.type for child in token.children}
    assert kinds <= {"text", "text_special", "html_inline", "code_inline", "link_open", "link_close"}
    for child in token.children:
        if child.type == "link_open":
            assert child.attrs["href"].startswith(("http://", "https://", "mailto:"))
    seen = "".join(" " if child.type == "html_inline" else child.content for child in token.children)
    assert " ".join(seen.split()) == shown(text)


def poisoned(world, text):
    """The Orlik version with this text wherever a person may write one."""
    manifest = deepcopy(world.manifest)
    manifest |= dict.fromkeys(("name", "owner", "risk_analysis", "ai_act_notes", "licence"), text)
    manifest["purpose"] = {"summary": text, "users": text, "not_for": [text, text]}
    manifest["data"] = dict.fromkeys(("id", "description", "licence", "preprocessing", "biases"), text)
    manifest["data"]["sources"] = [text]
    manifest["limitations"] = [text, "and another"]
    manifest["oversight"] = {"monitoring": text, "withdrawal": text, "overseers": [text]}
    manifest["logging"] = {"retention_days": 200, "access": text}
    manifest["contact"] = {"incidents": text, "responsible": text}
    manifest["language"] = [text]
    manifest["evaluation"]["set"] = text
    config = {**world.config, "dataset": text, "lora_target": text}
    groups = {text: {"contains": 1.0}}
    validated = world.validated(groups=groups, baseline_groups={text: {"contains": 0.0}})
    return world.facts(world.registered(manifest=manifest, config=config), validated)


def structure(markdown):
    """Block tokens of a card's body, without the number of blocks that texts may fill or leave empty."""
    _, _, body = markdown.split("---\n", 2)
    tokens = PARSER.parse(body)
    return [
        token.type for token in tokens if token.type.startswith(("heading", "table", "bullet", "blockquote"))
    ]


@cache
def built(world, text):
    return structure(render(poisoned(world, text)).markdown)


@WHOLE
@given(HOSTILE)
def test_a_card_of_hostile_text_is_built_like_any_other(world, text):
    rendered = render(poisoned(world, text))
    if "model.yaml: owner" not in rendered.missing:
        assert structure(rendered.markdown) == built(world, "harmless" if shown(text) else text)
    assert "html_block" not in [token.type for token in PARSER.parse(rendered.markdown)]
    rendered.markdown.encode()
    assert json.loads(document_bytes(rendered.document)) == rendered.document


@WHOLE
@given(HOSTILE)
def test_front_matter_of_hostile_text_is_the_metadata_and_nothing_else(world, text):
    rendered = render(poisoned(world, text))
    assert rendered.markdown.startswith("---\n")
    front = rendered.markdown[4:].split("\n---\n", 1)[0]
    assert yaml.safe_load(front) == rendered.document["metadata"]
    assert rendered.document["metadata"]["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.mark.parametrize("text", NASTY)
def test_each_nasty_text_is_repeated_whole_in_the_document(world, text):
    rendered = render(poisoned(world, text))
    purpose = next(part["content"] for part in rendered.document["sections"] if part["id"] == "purpose")
    assert purpose["summary"] == cleaned(text.strip())


def test_what_steers_a_terminal_or_reorders_text_is_made_visible():
    characters = [chr(number) for number in range(0x10000)]
    hidden = {c for c in characters if c not in "\n\t" and unicodedata.category(c) in {"Cc", "Cs"}}
    forged = {c for c in characters if unicodedata.bidirectional(c) in REORDER} | set("\u200e\u200f\u061c")
    shown_as = {c for c in characters if cleaned(f"a{c}a") == "a\ufffda"} - {"\ufffd"}
    assert shown_as == (hidden | forged) - set("\r\v\f\x1c\x1d\x1e\x85")  # those are breaks
    assert cell("a\x1b[31m\u202eb\ud800") == "a\ufffd\\[31m\ufffdb\ufffd"
