"""A canary that is under way, as a value: whom it stands against, at which step, what was measured. Pure."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from events.answers_judged import AnswersJudged
from events.traffic_measured import TrafficMeasured
from services.deployment.analysis import Tally, Verdict, added, judged, summary, verdict
from services.deployment.plan import Canary, Step

WINDOWS = 6  # a step, so that its end is judged by fresh figures
SHORTEST, LONGEST = 2.0, 60.0
NONE = Tally()


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """number: among those of the model. against: the live version when it began. by: who asked for it.

    state stepping: goes on by itself; held: waits for requests; paused: an operator said so. turn: counts the
    moments it set itself, of which only the newest counts. waited: minutes in this step. figures: of this step;
    scores: of the whole rollout, since answers are judged later. began, since: ISO 8601.

    asked: how often the platform's judge was sent. judging: the job that asks now. said: what it said at this step
    so far; it counts once it is there of both, of the same questions. unjudged: why it is not, for a person.
    """

    number: int
    version: str
    against: str
    by: str
    canary: Canary
    began: str
    since: str
    step: int = 0
    state: Literal["stepping", "held", "paused"] = "stepping"
    reason: str = ""
    turn: int = 0
    waited: float = 0
    figures: dict[str, Tally] = {}
    scores: dict[str, Tally] = {}
    asked: int = 0
    judging: str = ""
    said: dict[str, Tally] = {}
    unjudged: str = ""

    @property
    def now(self) -> Step:
        """The step it stands at."""
        return self.canary.steps[self.step]

    @property
    def last(self) -> bool:
        """Whether all traffic comes next."""
        return self.step + 1 == len(self.canary.steps)

    @property
    def mark(self) -> str:
        """What gateways write on the figures of this step."""
        return f"{self.number}.{self.step}"

    @property
    def moment(self) -> str:
        """What is written on the moment it waits for."""
        return f"{self.number}.{self.turn}"

    @property
    def patient(self) -> bool:
        """Whether it may go on waiting for requests."""
        return self.waited < self.canary.patience_minutes

    @property
    def window(self) -> float:
        """For how many seconds a gateway gathers figures before it says them."""
        return min(LONGEST, max(SHORTEST, self.now.minutes * 60 / WINDOWS))

    @property
    def judged(self) -> bool:
        """Whether the platform's judge has told of both at this step, or is not to."""
        judge = self.canary.judge
        return judge is None or judge.by != "platform" or {self.against, self.version} <= self.said.keys()

    @property
    def judgement(self) -> str:
        """How it stands with the platform's judge at this step, for a person; empty where it has none."""
        if self.canary.judge is None or self.canary.judge.by != "platform":
            return ""
        if self.judged:
            return "its answers are judged"
        why = "its judge still asks" if self.judging else self.unjudged or "no judge could ask both engines"
        return f"its answers are not judged yet: {why}"

    def weights(self) -> dict[str, float]:
        """Shares of the requests; their sum is 1."""
        return {self.against: 1 - self.now.weight, self.version: self.now.weight}

    def changed(self, **changes: Any) -> Rollout:
        """With other values."""
        return msgspec.structs.replace(self, **changes)

    def measured(self, traffic: TrafficMeasured) -> Rollout:
        """With a window's figures. Those of another step, or of a version that is neither, count for nothing."""
        if traffic.mark != self.mark:
            return self
        figures = {name: self.figures.get(name, NONE) for name in (self.against, self.version)}
        more = {
            name: added(tally, traffic.versions[name])
            for name, tally in figures.items()
            if name in traffic.versions
        }
        return self.changed(figures=figures | more)

    def heard(self, word: AnswersJudged) -> Rollout:
        """With judged answers, if they are judged by what the plan names, and by whom."""
        judge = self.canary.judge
        if judge is None or judge.metric != word.metric or word.version not in (self.against, self.version):
            return self
        if judge.by == "events":
            tally = judged(self.scores.get(word.version, NONE), word.samples, word.mean)
            return self.changed(scores={**self.scores, word.version: tally})
        if word.mark != self.mark or self.judged:
            return self
        told = self.changed(said={**self.said, word.version: judged(NONE, word.samples, word.mean)})
        return told.changed(scores=told.summed(), judging="", unjudged="") if told.judged else told

    def summed(self) -> dict[str, Tally]:
        """Scores of the steps before and of this one, of which both were asked the same questions."""
        known = ((name, self.scores.get(name, NONE), tally) for name, tally in self.said.items())
        return {name: judged(before, now.samples, now.score) for name, before, now in known}

    def tally(self, version: str) -> Tally:
        """All that is known of a version at this step."""
        scores = self.scores.get(version, NONE)
        known = self.figures.get(version, NONE)
        return msgspec.structs.replace(known, samples=scores.samples, total=scores.total)

    def verdict(self) -> Verdict:
        """On this step."""
        return verdict(self.tally(self.version), self.tally(self.against), self.now.requests, self.canary)

    def summaries(self) -> dict[str, dict[str, float]]:
        """Of both versions, for people."""
        return {name: summary(self.tally(name)) for name in (self.against, self.version)}

    def stepped(self, now: str, reason: str) -> Rollout:
        """At the next step, with nothing measured yet."""
        return self.changed(
            step=self.step + 1, since=now, state="stepping", reason=reason, waited=0.0, figures={},
            judging="", said={}, unjudged="",
        )  # fmt: skip
