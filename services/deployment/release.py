"""A model's releases as a value: each step returns a new one and gathers what is to be said and done. Pure.

A version's state: candidate (known, not running) · starting · ready (answers, gets no traffic) · live ·
retired (gets no new traffic; its engine ends once it was drained) · refused (by validation or a person) ·
failed (its engine would not).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from events.deployment_failed import DeploymentFailed
from events.model_deployed import ModelDeployed
from events.model_deprecated import ModelDeprecated
from shared.identity import workload_name
from shared.lifecycle import approved
from shared.record import Record
from shared.service import Decision, Speech, Wish

RUNNING = frozenset({"starting", "ready", "live"})


class Release:
    """Works on a copy of the record's data; `decision` closes it."""

    def __init__(self, record: Record, model_id: str, tenant: str = "") -> None:
        known: Mapping[str, Any] = record.data
        self._data: dict[str, Any] = {
            "model_id": model_id,
            "tenant": known.get("tenant") or tenant,
            "live": known.get("live", ""),
            "previous": known.get("previous", ""),
            "wanted": known.get("wanted", ""),
            "reason": known.get("reason", ""),
            "asked": known.get("asked", 0),  # how many versions there were when an operator spoke
            "settled": known.get("settled", 0),  # versions up to this order had their turn
            "versions": {name: dict(version) for name, version in known.get("versions", {}).items()},
        }
        self._says: list[Speech] = []
        self._wishes: list[Wish] = []

    @property
    def live(self) -> str:
        """The version that answers, or empty."""
        return str(self._data["live"])

    @property
    def previous(self) -> str:
        """The version that answered before."""
        return str(self._data["previous"])

    def version(self, name: str) -> dict[str, Any] | None:
        """One version, to be changed in place."""
        found: dict[str, Any] | None = self._data["versions"].get(name)
        return found

    def named(self, release: str) -> str:
        """Which version runs under this workload name, or empty."""
        return next((n for n, v in self._data["versions"].items() if v.get("release") == release), "")

    def add(self, name: str, facts: Mapping[str, Any]) -> None:
        """A new candidate."""
        order = len(self._data["versions"]) + 1
        self._data["versions"][name] = {
            **facts,
            "version": name,
            "state": "candidate",
            "order": order,
            "starts": 0,
        }

    def want(self, name: str, reason: str) -> None:
        """An operator's word goes before the order of registration, as long as that version can answer."""
        self._data.update(wanted=name, reason=reason, asked=len(self._data["versions"]))

    def start(self, name: str) -> None:
        """Ask for its engine, unless one is up; every start has a name of its own."""
        version = self._data["versions"][name]
        if version["state"] in RUNNING:
            return
        version["starts"] += 1
        release = workload_name("serve", self._data["model_id"], name, str(version["starts"]))
        version.update(state="starting", release=release, address="")
        self._wishes.append(Wish("serve", {"version": name, "release": release}))

    def stop(self, name: str, state: str, delay: float = 0) -> None:
        """Take its engine away after so many seconds; state: what it is from now on."""
        version = self._data["versions"][name]
        if version["state"] in RUNNING:
            self._wishes.append(Wish("stop", {"release": version["release"]}, delay))
        version["state"] = state

    def fail(self, name: str, cause: str) -> None:
        """Its engine would not start, or died for good."""
        version = self._data["versions"][name]
        failed = DeploymentFailed(
            model_id=self._data["model_id"], version=name, release=version["release"], cause=cause
        )
        version.update(state="failed", cause=cause, address="")
        self._speak(failed, name)
        if self.live == name:  # or the registry would call it deployed for ever
            self._data["live"] = ""
            self._speak(self._replaced(name, "", f"its engine failed: {cause}"), name)

    def switch_if_due(self, drain_seconds: float) -> None:
        """The wanted version takes over, else the newest, once it answers and every gate is open."""
        while name := self._next():
            self._switch(name, drain_seconds)
        for older in [older for older in self._data["versions"] if self._superseded(older)]:
            self._speak(self._replaced(older, self.live, f"{self.live} went live before it"), older)
            self.stop(older, "retired")

    def _next(self) -> str:
        wanted = self.version(self._data["wanted"])
        if wanted is not None and wanted["state"] in RUNNING:
            return self._data["wanted"] if self._may_answer(wanted) else ""
        able = [name for name, version in self._data["versions"].items() if self._may_answer(version)]
        newest = max(able, key=self._order, default="")
        return newest if self._order(newest) > self._data["settled"] else ""

    def _may_answer(self, version: Mapping[str, Any]) -> bool:
        return version["state"] == "ready" and gates_open(version)

    def _order(self, name: str) -> int:
        """Of registration; 0 where there is no such version."""
        version = self.version(name)
        return int(version["order"]) if version else 0

    def _superseded(self, name: str) -> bool:
        """Whether its engine runs in vain: a newer version is live, or one that an operator preferred."""
        waits = self._data["versions"][name]["state"] in ("starting", "ready")
        return waits and name != self._data["wanted"] and self._order(name) <= self._data["settled"]

    def _switch(self, name: str, drain_seconds: float) -> None:
        version, old = self._data["versions"][name], self.live
        reason = self._data["reason"] if name == self._data["wanted"] else ""
        version["state"] = "live"
        asked = self._data["asked"] if name == self._data["wanted"] else 0
        settled = max(self._data["settled"], self._order(name), asked)
        self._data.update(live=name, previous=old or self._data["previous"], wanted="", reason=reason)
        self._data["settled"] = settled
        self._speak(self._deployed(name, version, old), name)
        if old:
            self._speak(self._replaced(old, name, reason or f"replaced by {name}"), old)
            self.stop(old, "retired", drain_seconds)

    def withdraw(self, name: str, reason: str) -> None:
        """An operator deprecated it: it answers no more, at once.

        Of a live one that is said again: the registry may have heard of the deprecation before it heard that
        this version went live.
        """
        if self.live == name:
            self._data["live"] = ""
            self._speak(self._replaced(name, "", reason), name)
        if self._data["wanted"] == name:
            self._data["wanted"] = ""
        if (
            self._data["versions"][name]["state"] != "refused"
        ):  # a person's or the gates' word outlives this one
            self.stop(name, "retired")

    def decision(self) -> Decision:
        """What follows from all that was done to it."""
        return Decision(status="ACTIVE", data=self._data, says=tuple(self._says), wishes=tuple(self._wishes))

    def _speak(self, payload: object, version: str) -> None:
        self._says.append(Speech(payload, f"models/{self._data['model_id']}@{version}"))

    def _deployed(self, name: str, version: Mapping[str, Any], old: str) -> ModelDeployed:
        return ModelDeployed(
            model_id=self._data["model_id"],
            version=name,
            release=version["release"],
            manifest_digest=version["manifest_digest"],
            card_digest=version["card_digest"],
            replaced=old,
            reason=self._data["reason"],
        )

    def _replaced(self, old: str, new: str, reason: str) -> ModelDeprecated:
        return ModelDeprecated(
            model_id=self._data["model_id"], version=old, by="deployment", reason=reason, successor=new
        )


def gates_open(version: Mapping[str, Any]) -> bool:
    """Passed validation of these weights, a card, and the approval where one is needed."""
    validated = version["manifest_digest"] == version.get("validated_digest")
    if not (validated and version.get("card_digest")):
        return False
    return not version["approval_needed"] or approved(version)
