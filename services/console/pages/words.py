"""How values read on a page: the filters of the templates."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from events.envelope import TYPE_PREFIX, TYPE_SUFFIX

_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-_]")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
GOOD = frozenset({"DEPLOYED", "SUCCEEDED", "VALIDATED", "live"})
BUSY = frozenset({"QUEUED", "TRAINING", "TRAINED", "starting", "ready", "canary"})
BAD = frozenset({"FAILED", "REJECTED", "failed"})


def when(moment: datetime | None) -> str:
    """`2026-11-02 14:03:05 UTC`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if moment else "–"


def number(value: object) -> str:
    """Four significant digits of a float; anything else as it is."""
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration(seconds: float | None) -> str:
    """`1 h 02 min`, `3 min 20 s`, `12 s`."""
    if seconds is None:
        return "–"
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {whole % 60:02} s" if minutes else f"{whole} s"


def short(text: str, length: int = 12) -> str:
    """The beginning of a commit or digest; `sha256:` does not count."""
    head, colon, tail = text.partition(":")
    return f"{head}:{tail[:length]}" if colon else text[:length]


def tone(status: str) -> str:
    """The colour of a status: good, busy, bad or quiet."""
    tones = {"good": GOOD, "busy": BUSY, "bad": BAD}
    return next((name for name, members in tones.items() if status in members), "quiet")


def segment(text: object) -> str:
    """One segment of an address."""
    return quote(str(text), safe="")


def pretty(value: object) -> str:
    """JSON, indented."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def terminal(text: str) -> str:
    """A log as a terminal would leave it: colours gone, and of a redrawn line the last state."""
    lines = (line.rstrip("\r").rsplit("\r", 1)[-1] for line in _ESCAPES.sub("", text).split("\n"))
    return "\n".join(_UNPRINTABLE.sub("", line) for line in lines)


def event_name(type_: str) -> str:
    """A CloudEvents `type` without what all of ours share."""
    return type_.removeprefix(TYPE_PREFIX).removesuffix(TYPE_SUFFIX)


def page_of_subject(subject: str) -> str:
    """Where a record's page is, empty where it has none."""
    kind, _, name = subject.partition("/")
    if kind == "runs" and name:
        return f"/runs/{segment(name)}"
    if kind in ("models", "evaluations", "cards") and "@" in name:
        model_id, _, version = name.partition("@")
        return f"/models/{segment(model_id)}/{segment(version)}"
    return f"/models/{segment(name)}" if kind == "releases" and name else ""


def filters() -> Mapping[str, Callable[..., Any]]:
    """By the names the templates use."""
    known = (when, number, duration, short, tone, segment, pretty, terminal, event_name, page_of_subject)
    return {word.__name__: word for word in known}
