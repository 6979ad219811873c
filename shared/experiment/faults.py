"""A fault of a committed experiment: where it is, what is wrong, and how to mend it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from shared.experiment.tokens import redact

_PLACE = re.compile(r"(?P<file>.*?\.\w+):(?P<line>\d+)")
_FIRST = ("config.yaml", "model.yaml")
_LONGEST = 60


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """where: `config.yaml:12 learning_rat` (file, line where known, key where there is one).

    what: what is wrong. mend: how to put it right. level: a warning never stops a run.
    """

    where: str
    what: str
    mend: str
    level: Literal["fault", "warning"] = "fault"

    def __str__(self) -> str:
        """One line."""
        return f"{self.where}: {self.what}; {self.mend}"


def warning(*, where: str, what: str, mend: str) -> Fault:
    """A fault that does not stop the run."""
    return Fault(where=where, what=what, mend=mend, level="warning")


def shown(value: Any) -> str:
    """A value as it may stand in a message: on one line, printable, at most 60 characters, no token in clear."""
    text = value if isinstance(value, str) else repr(value)
    text = redact(text) or "''"
    cut = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that `word` was probably meant to be, whatever its case, or an empty string."""
    words = {each.lower(): each for each in known}
    found = difflib.get_close_matches(word[:_LONGEST].lower(), list(words), n=1, cutoff=0.7)
    return words[found[0]] if found else ""


def arranged(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Each fault once, in the order of a reader: config.yaml, model.yaml, the other files; by line, then key."""
    return tuple(sorted(set(faults), key=_rank))


def render(faults: Iterable[Fault]) -> str:
    """All faults for a terminal or a log: three lines each, the place, what is wrong, how to mend it.

    >>> print(render([Fault(where="model.yaml owner", what="is missing", mend="add `owner: team-x`")]))
    model.yaml owner
        is missing
        → add `owner: team-x`
    """
    return "\n".join(f"{fault.where}\n    {fault.what}\n    → {fault.mend}" for fault in faults)


def _rank(fault: Fault) -> tuple[int, str, int, str, str]:
    match = _PLACE.match(fault.where)
    file = match["file"] if match else fault.where.split(" ", 1)[0]
    order = _FIRST.index(file) if file in _FIRST else len(_FIRST)
    return order, file, int(match["line"]) if match else 0, fault.where, fault.what
