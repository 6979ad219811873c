"""Which version of a model answers: the switch from one to the next, at once or by a canary's steps. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from events.deployment_failed import DeploymentFailed
from events.model_deployed import ModelDeployed
from events.model_deprecated import ModelDeprecated
from events.rollout_moved import RolloutMoved
from services.deployment import judging
from services.deployment.plan import canary_of, keeps
from services.deployment.rollout import Rollout
from services.deployment.versions import DRAIN_SECONDS, RUNNING, Versions, gates_open
from shared.record import Record
from shared.service import Decision, Speech, Wish

US = "deployment"
WINDOWS_IDLE = 3  # so often a version that may sleep is said to be in use, in the time that it is idle
End = Literal["finished", "went-back", "aborted", "superseded"]


class Release(Versions):
    """`decision` closes it. rollout: the canary that is under way, if any."""

    def __init__(self, record: Record, model_id: str, now: datetime, tenant: str = "") -> None:
        super().__init__(record, model_id, now, tenant)
        self._data["rollouts"] = list(record.data.get("rollouts", []))  # those that are over: never rewritten
        known = record.data.get("rollout")
        self.rollout = msgspec.convert(known, Rollout) if known else None

    def decision(self) -> Decision:
        """What follows from all that was done to it. weights, split: what a gateway goes by."""
        rollout = msgspec.to_builtins(self.rollout) if self.rollout else {}
        weights = self.rollout.weights() if self.rollout else {}
        data = {**self._data, "rollout": rollout, "weights": weights, "split": self._split()}
        return Decision(status="ACTIVE", data=data, says=tuple(self._says), wishes=tuple(self._wishes))

    def _split(self) -> dict[str, Any]:
        """What gateways write on the figures that they say, and for how many seconds they gather them."""
        if self.rollout:
            return {"mark": self.rollout.mark, "window": self.rollout.window}
        minutes = self.plan(self.live).scale_to_zero_minutes if self.live else 0
        return {"mark": "", "window": max(1.0, minutes * 60 / WINDOWS_IDLE)} if minutes else {}

    def fail(self, name: str, cause: str) -> None:
        """Its engine would not start, or died for good."""
        if self.rollout and self.rollout.version == name:
            self.end("went-back", f"its engine failed: {cause}", US)
        self._failed(name, cause)
        if self.live == name:  # or the registry would call it deployed for ever
            self._data.update(live="", switches=self._data["switches"] + 1)
            self._speak(self._replaced(name, "", f"its engine failed: {cause}"), name)

    def fall_back(self, name: str, cause: str) -> None:
        """As a canary it begins anew, once the server of its own answers."""
        if self.rollout and self.rollout.version == name:
            self.end("superseded", f"the engine in common is gone ({cause}), and it gets one of its own", US)
        super().fall_back(name, cause)

    def refuse(self, name: str, reason: str, by: str) -> None:
        """It shall not answer."""
        if self.rollout and self.rollout.version == name:
            self.end("aborted", reason, by)
        self.stop(name, "refused")

    def withdraw(self, name: str, reason: str, by: str) -> None:
        """An operator deprecated it: it answers no more, at once.

        Of a live one that is said again: the registry may have heard of the deprecation before it heard that
        this version went live.
        """
        if self.rollout and self.rollout.version == name:
            self.end("aborted", reason, by)
        if self.live == name:
            self._data.update(live="", switches=self._data["switches"] + 1)
            self._speak(self._replaced(name, "", reason, by), name)
        if self._data["wanted"] == name:
            self._data.update(wanted="", manner={})
        if (
            self._data["versions"][name]["state"] != "refused"
        ):  # a person's or the gates' word outlives this one
            self.stop(name, "retired")

    # --- the switch

    def proceed(self) -> None:
        """The wanted version takes over, else the newest, once it answers and every gate is open.

        By steps where it is to be a canary and something is live to compare it with; the platform's judge is sent
        to a step that is to be judged as soon as both can be asked.
        """
        if self.rollout and not self.live:
            self.switch(self.rollout.version, f"{self.rollout.against} answers no more")
        while name := self._next():
            if self._by_canary(name):
                self._begin(name)
            else:
                self.switch(name)
        for older in [older for older in self._data["versions"] if self._superseded(older)]:
            self._speak(self._replaced(older, self.live, f"{self.live} went live before it"), older)
            self.stop(older, "retired")
        if self.rollout:
            self.rollout, wishes = judging.sent(self.rollout, self._data["model_id"], self._data["versions"])
            self._wishes.extend(wishes)

    def _next(self) -> str:
        wanted = self.version(self._data["wanted"])
        if wanted is not None and wanted["state"] in RUNNING:
            return self._data["wanted"] if self._may_answer(wanted) else ""
        able = [name for name, version in self._data["versions"].items() if self._may_answer(version)]
        newest = max(able, key=self._order, default="")
        canary = self._order(self.rollout.version) if self.rollout else 0
        return newest if self._order(newest) > max(self._data["settled"], canary) else ""

    def _may_answer(self, version: Mapping[str, Any]) -> bool:
        return version["state"] == "ready" and gates_open(version)

    def _order(self, name: str) -> int:
        """Of registration; 0 where there is no such version."""
        version = self.version(name)
        return int(version["order"]) if version else 0

    def _superseded(self, name: str) -> bool:
        """Whether its engine runs in vain: a newer version is live, or one that an operator preferred."""
        waits = self._data["versions"][name]["state"] in ("starting", "ready") and name != self.live
        return waits and name != self._data["wanted"] and self._order(name) <= self._data["settled"]

    def _by_canary(self, name: str) -> bool:
        manner = self.manner(name)
        strategy = manner.strategy or self.plan(name).strategy
        return bool(self.live) and strategy == "canary" and not manner.at_once

    def switch(self, name: str, reason: str = "", by: str = US) -> None:
        """It answers every request from now on; what did before stands by, or is drained."""
        manner, version, old = self.manner(name), self._data["versions"][name], self.live
        if self.rollout:
            ours = self.rollout.version == name
            self.end("finished" if ours else "superseded", reason or f"{name} took over", by)
        wanted = name == self._data["wanted"]
        reason = reason or (self._data["reason"] if wanted else "")
        asked = self._data["asked"] if wanted else 0
        version["state"] = "live"
        self._data.update(
            live=name,
            previous=old or self._data["previous"],
            reason=reason,
            settled=max(self._data["settled"], self._order(name), asked),
            switches=self._data["switches"] + 1,
        )
        self._speak(self._deployed(name, version, old), name)
        if old:
            self._speak(self._replaced(old, name, reason or f"replaced by {name}"), old)
        self._replace(old, keeps(self.plan(name), self.plan(old), manner) if old else 0)
        if wanted:
            self._data.update(wanted="", manner={})
        self.count_idle(name)

    def _replace(self, old: str, minutes: float) -> None:
        """Of all that were replaced only the last one stands by: each holds an engine."""
        for name, version in self._data["versions"].items():
            if version["state"] == "standing":
                self.stop(name, "retired")
        if not old:
            return
        if minutes and self._data["versions"][old]["state"] == "live":
            self.keep(old, minutes)
        else:
            self.stop(old, "retired", DRAIN_SECONDS)

    # --- canaries

    def _begin(self, name: str) -> None:
        manner, now = self.manner(name), self.now.isoformat()
        if self.rollout:
            self.end("superseded", f"{name} came", manner.by or US)
        self._data["versions"][name]["state"] = "canary"
        self.rollout = Rollout(
            number=len(self._data["rollouts"]) + 1,
            version=name,
            against=self.live,
            by=manner.by or US,
            canary=canary_of(self.plan(name), manner),
            began=now,
            since=now,
            reason=self._data["reason"] if name == self._data["wanted"] else "every gate is open",
        )
        self.tell("began", self.rollout.reason, self.rollout.by)
        self.wait()

    def wait(self) -> None:
        """For the end of the step, or for more requests; a moment that was set before counts no more."""
        assert self.rollout is not None
        self.rollout = self.rollout.changed(turn=self.rollout.turn + 1)
        self.remind("step", self.rollout.version, self.rollout.moment, self.rollout.now.minutes * 60)

    def dismiss(self) -> None:
        """The judge that is under way, if one is, need not go on."""
        assert self.rollout is not None
        if self.rollout.judging:
            self._wishes.append(Wish("stop", {"release": self.rollout.judging}))
            self.rollout = self.rollout.changed(judging="")

    def go_back(self, what: Literal["went-back", "aborted"], reason: str, by: str) -> None:
        """The canary gets no more requests; what was live answers all of them."""
        assert self.rollout is not None
        name = self.rollout.version
        self.end(what, reason, by)
        self.stop(name, "failed", DRAIN_SECONDS)
        self._failed(name, f"as a canary beside {self.live}: {reason}")

    def leave(self, reason: str, by: str) -> None:
        """A person leads elsewhere: the canary does not begin again by itself, even if nobody gets there."""
        assert self.rollout is not None
        name = self.rollout.version
        self.end("aborted", reason, by)
        self._data["settled"] = max(self._data["settled"], self._order(name))

    def end(self, what: End, reason: str, by: str) -> None:
        """No canary is under way any more; who was one is ready, until somebody says more of it."""
        assert self.rollout is not None
        one = self.rollout
        self.tell(what, reason, by)
        self.dismiss()
        known = {name: getattr(one, name) for name in ("number", "version", "against", "began", "step")}
        over = {"what": what, "reason": reason, "by": by, "ended": self.now.isoformat()}
        self._data["rollouts"].append(known | over)
        self.rollout = None
        version = self._data["versions"][one.version]
        if version["state"] == "canary":
            version["state"] = "ready"
        if what != "finished" and self.live == one.against:
            self.count_idle(self.live)

    def tell(
        self, what: Any, reason: str, by: str, figures: Mapping[str, dict[str, float]] | None = None
    ) -> None:
        """Say how the canary stands. figures: those of now, if not given."""
        assert self.rollout is not None
        one = self.rollout
        ends = {"finished": 1.0, "went-back": 0.0, "aborted": 0.0, "superseded": 0.0}
        moved = RolloutMoved(
            model_id=self._data["model_id"], rollout=one.number, version=one.version, against=one.against,
            what=what, weight=ends.get(what, one.now.weight), step=one.step + 1, of=len(one.canary.steps),
            by=by, reason=reason, figures=dict(figures or one.summaries()),
        )  # fmt: skip
        self._says.append(Speech(moved, f"releases/{self._data['model_id']}"))

    # --- words

    def _failed(self, name: str, cause: str) -> None:
        version = self._data["versions"][name]
        failed = DeploymentFailed(
            model_id=self._data["model_id"], version=name, release=version["release"], cause=cause
        )
        version.update(state="failed", cause=cause, address="")
        self._speak(failed, name)
        if self._data["wanted"] == name:
            self._data.update(wanted="", manner={})

    def _deployed(self, name: str, version: Mapping[str, Any], old: str) -> ModelDeployed:
        return ModelDeployed(
            model_id=self._data["model_id"],
            version=name,
            release=version["release"],
            manifest_digest=version["manifest_digest"],
            card_digest=version["card_digest"],
            replaced=old,
            reason=self._data["reason"],
            switch=self._data["switches"],
        )

    def _replaced(self, old: str, new: str, reason: str, by: str = US) -> ModelDeprecated:
        return ModelDeprecated(
            model_id=self._data["model_id"],
            version=old,
            by=by,
            reason=reason,
            successor=new,
            switch=self._data["switches"],
        )
