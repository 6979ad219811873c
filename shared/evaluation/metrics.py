"""How answers are measured against an evaluation set. Pure.

Every metric is a mean over the rows that can have it: `exact_match`, `rouge_l` and `loss` need a reference
`output`, `contains` needs a key phrase `expect`. The overall values leave out rows of the group `general`
(questions that have nothing to do with the task, there to show what was forgotten) and of the groups that
`report_only` names; these are measured and shown by group, and no threshold judges them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

GENERAL = "general"
UNGROUPED = "main"
OF_TEXTS = ("exact_match", "contains", "rouge_l")  # told by the text alone: 0 to 1, higher is better
_WORD = re.compile(r"\w+")
_PUNCTUATION = re.compile(r"[^\w\s]")


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of an evaluation set. output: the reference. expect: key phrases, alternatives split by `|`."""

    instruction: str
    input: str = ""
    output: str = ""
    expect: str = ""
    group: str = UNGROUPED
    system: str = ""

    @property
    def prompt(self) -> str:
        """What the user says, joined as LLaMA-Factory joins it for training."""
        return f"{self.instruction}\n{self.input}" if self.input else self.instruction


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a model answered to row `id`. nll: of all tokens of the reference together, natural log; tokens:
    how many; both 0 where the row has no reference.
    """

    id: int
    prediction: str
    nll: float = 0.0
    tokens: int = 0


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """A row's scores; None where the row cannot have that one. loss: mean NLL a token."""

    id: int
    group: str
    exact_match: float | None
    contains: float | None
    rouge_l: float | None
    loss: float | None
    tokens: int

    @property
    def passed(self) -> bool | None:
        """Whether the answer is right: it holds the key phrase, or else is the reference; None: cannot be said."""
        verdict = self.contains if self.contains is not None else self.exact_match
        return None if verdict is None else bool(verdict)


def score(row: Row, answer: Answer) -> Scored:
    """The scores of one answer."""
    return Scored(
        id=answer.id,
        group=row.group,
        exact_match=exact_match(answer.prediction, row.output) if row.output else None,
        contains=contains(answer.prediction, row.expect) if row.expect else None,
        rouge_l=rouge_l(answer.prediction, row.output) if row.output else None,
        loss=answer.nll / answer.tokens if answer.tokens else None,
        tokens=answer.tokens,
    )


def overall(scored: Sequence[Scored], report_only: Collection[str] = ()) -> dict[str, float]:
    """Metrics of the rows that are judged; of all that are not `report_only`, where all are general."""
    kept = [row for row in scored if row.group not in report_only]
    return summary([row for row in kept if row.group != GENERAL] or kept)


def by_group(scored: Sequence[Scored]) -> dict[str, dict[str, float]]:
    """Group -> metrics, in order of name."""
    groups = sorted({row.group for row in scored})
    return {group: summary([row for row in scored if row.group == group]) for group in groups}


def summary(scored: Sequence[Scored]) -> dict[str, float]:
    """Means over rows; of `loss` over tokens, so that a long answer counts as it did in training."""
    measured: Mapping[str, float | None] = {
        "exact_match": _mean(row.exact_match for row in scored),
        "contains": _mean(row.contains for row in scored),
        "rouge_l": _mean(row.rouge_l for row in scored),
        "loss": _loss(scored),
    }
    return {name: round(value, 6) for name, value in measured.items() if value is not None}


def exact_match(prediction: str, reference: str) -> float:
    """1 where both are the same text but for case, punctuation and white space, else 0.

    As in SQuAD's evaluation (Rajpurkar et al. 2016), without its removal of English articles.
    """
    return float(normalised(prediction) == normalised(reference))


def contains(prediction: str, expect: str) -> float:
    """1 where the answer contains one of the phrases (`7|seven`), else 0; case and white space do not count.

    A phrase that begins or ends with a digit must not stand in a longer number: `7` is not in `17`.
    """
    text = _folded(prediction)
    phrases = [_folded(phrase) for phrase in expect.split("|")]
    return float(any(_phrase(phrase).search(text) for phrase in phrases if phrase))


def rouge_l(prediction: str, reference: str) -> float:
    """F1 of the longest common subsequence of words (Lin 2004, ROUGE-L with beta 1); 0 to 1."""
    ours, theirs = _words(prediction), _words(reference)
    common = _common(ours, theirs)
    if not common:
        return 0.0
    precision, recall = common / len(ours), common / len(theirs)
    return 2 * precision * recall / (precision + recall)


def normalised(text: str) -> str:
    """Lower case, no punctuation, single spaces."""
    return " ".join(_PUNCTUATION.sub(" ", _folded(text)).split())


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _phrase(phrase: str) -> re.Pattern[str]:
    before = r"(?<!\d)" if phrase[0].isdigit() else ""
    after = r"(?!\d)" if phrase[-1].isdigit() else ""
    return re.compile(before + re.escape(phrase) + after)


def _words(text: str) -> list[str]:
    return _WORD.findall(_folded(text))


def _common(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """Length of the longest common subsequence, a row of the table at a time."""
    lengths = [0] * (len(theirs) + 1)
    for word in ours:
        diagonal = 0
        for place, other in enumerate(theirs, start=1):
            above = lengths[place]
            lengths[place] = diagonal + 1 if word == other else max(above, lengths[place - 1])
            diagonal = above
    return lengths[-1]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _loss(scored: Sequence[Scored]) -> float | None:
    tokens = sum(row.tokens for row in scored)
    return sum((row.loss or 0.0) * row.tokens for row in scored) / tokens if tokens else None
