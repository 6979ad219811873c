"""Tokens and keys in clear: found by their shape, and never repeated in a message."""

from __future__ import annotations

import re
from collections.abc import Iterator

# The prefixes their issuers document: Hugging Face, OpenAI and its like, GitHub, GitLab, AWS, Google, Slack.
TOKEN = re.compile(
    r"(?<![A-Za-z0-9])(?:hf_[A-Za-z0-9]{8,}|sk-[A-Za-z0-9_-]{12,}|gh[pousr]_[A-Za-z0-9]{8,}"
    r"|github_pat_[A-Za-z0-9_]{8,}|glpat-[A-Za-z0-9_-]{8,}|AKIA[0-9A-Z]{12,}|AIza[A-Za-z0-9_-]{20,}"
    r"|xox[abprs]-[A-Za-z0-9-]{8,})|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
HIDDEN = "‹token›"


def redact(text: str) -> str:
    """The text with every token replaced.

    >>> redact("hf_abcdefghijkl is secret")
    '‹token› is secret'
    """
    return TOKEN.sub(HIDDEN, text)


def lines_with_token(text: str) -> Iterator[int]:
    """Numbers (from 1) of the lines that hold one; comments and keys count as much as values."""
    for number, line in enumerate(text.splitlines(), start=1):
        if TOKEN.search(line):
            yield number
