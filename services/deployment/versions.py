"""A model's versions as a value: each step changes a copy and gathers what is to be said and done. Pure.

A version's state: candidate (known, not running) · starting · ready (answers, gets no traffic) · canary (gets
some) · live · asleep (live, but its engine is stopped until somebody asks) · standing (replaced, and kept for a
way back) · retired (gets no new traffic; its engine ends once it was drained) · refused (by validation or a
person) · failed (its engine would not, or as a canary it did worse).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from events.release_due import ReleaseDue
from services.deployment import sharing
from services.deployment.plan import Manner, Plan, plan_of
from shared.identity import workload_name
from shared.lifecycle import approved
from shared.record import Record
from shared.service import Speech, Wish

RUNNING = frozenset({"starting", "ready", "canary", "live", "standing"})
DRAIN_SECONDS = (
    5.0  # the gateway has seen the switch long before; in-flight answers get the engine's own grace
)


class Versions:
    """Works on a copy of the record's data."""

    def __init__(self, record: Record, model_id: str, now: datetime, tenant: str = "") -> None:
        known: Mapping[str, Any] = record.data
        self._data: dict[str, Any] = {
            "model_id": model_id,
            "tenant": known.get("tenant") or tenant,
            "live": known.get("live", ""),
            "previous": known.get("previous", ""),
            "wanted": known.get("wanted", ""),
            "manner": known.get("manner", {}),  # in which the wanted one is to take over
            "reason": known.get("reason", ""),
            "asked": known.get("asked", 0),  # how many versions there were when an operator spoke
            "settled": known.get("settled", 0),  # versions up to this order had their turn
            "switches": known.get("switches", 0),  # how often it was said who is live
            "versions": {name: dict(version) for name, version in known.get("versions", {}).items()},
        }
        self.now = now
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

    def plan(self, name: str) -> Plan:
        """What its `model.yaml` says of taking over; of one that is older than plans, the defaults."""
        return plan_of(self._data["versions"][name].get("plan", {}))

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

    def want(self, name: str, reason: str, manner: Manner) -> None:
        """An operator's word goes before the order of registration, as long as that version can answer."""
        asked = len(self._data["versions"])
        self._data.update(wanted=name, reason=reason, asked=asked, manner=msgspec.to_builtins(manner))

    def manner(self, name: str) -> Manner:
        """In which an operator wants it to take over; nothing special where nobody asked for it."""
        wanted = name == self._data["wanted"]
        return msgspec.convert(self._data["manner"], Manner) if wanted else Manner()

    def start(self, name: str) -> None:
        """Ask for its engine, unless one is up; every start has a name of its own."""
        version = self._data["versions"][name]
        if version["state"] == "standing":
            version["state"] = "ready"
        if version["state"] in RUNNING:
            return
        version["starts"] += 1
        release = workload_name("serve", self._data["model_id"], name, str(version["starts"]))
        version.update(state="starting", release=release, address="", attempt=0, since=self.now.isoformat())
        if version.get("shared"):
            self._says.append(sharing.wanted(version, self._data["model_id"]))
        else:
            self._wishes.append(Wish("serve", {"version": name, "release": release}))

    def fall_back(self, name: str, cause: str) -> None:
        """To a server of its own: the engine in common ended, or would not take it."""
        self.stop(name, "candidate")
        self._data["versions"][name].update(shared="", own_because=cause)
        self.start(name)

    def answers(self, name: str, address: str, attempt: int) -> bool:
        """Its engine is ready, for the first time, or again and elsewhere.

        False where a later start of it has spoken before: this word was on its way for long, and leads nowhere.
        """
        version = self._data["versions"][name]
        if attempt < version.get("attempt", 0):
            return False
        if version["state"] == "starting":
            began = datetime.fromisoformat(version.get("since") or self.now.isoformat())
            took = max(0.0, (self.now - began).total_seconds())
            version.update(state="live" if self.live == name else "ready", took=took)
            if self.live == name:  # it slept
                self.count_idle(name)
        version.update(address=address, attempt=attempt)
        return True

    def stop(self, name: str, state: str, delay: float = 0) -> None:
        """Take its engine away after so many seconds; state: what it is from now on."""
        version = self._data["versions"][name]
        if version["state"] in RUNNING:
            engine = {"engine": version["shared"]} if version.get("shared") else {}
            self._wishes.append(Wish("stop", {"release": version["release"], **engine}, delay))
        version["state"] = state

    def keep(self, name: str, minutes: float) -> None:
        """Its engine stands by from this switch on."""
        self._data["versions"][name].update(state="standing", kept=str(self._data["switches"]))
        self.remind("keep", name, str(self._data["switches"]), minutes * 60)

    def let_go(self, name: str, mark: str) -> bool:
        """It was kept for long enough, if it has been kept since that switch."""
        version = self._data["versions"][name]
        if version["state"] != "standing" or version["kept"] != mark:
            return False
        self.stop(name, "retired")
        return True

    def count_idle(self, name: str) -> None:
        """From now on, if it may sleep; what was counted before does not count any more."""
        minutes = self.plan(name).scale_to_zero_minutes
        if minutes:
            version = self._data["versions"][name]
            version.update(idle=version.get("idle", 0) + 1, used="")
            self.remind("idle", name, str(version["idle"]), minutes * 60)

    def sleep(self, name: str) -> None:
        """Its engine ends; it stays the live version, and starts again for whoever asks."""
        self.stop(name, "asleep", DRAIN_SECONDS)
        self._data["versions"][name].update(address="", since=self.now.isoformat())

    def remind(self, what: Literal["step", "keep", "idle"], version: str, mark: str, seconds: float) -> None:
        """Set a moment: `release-due` will be heard then."""
        due = ReleaseDue(model_id=self._data["model_id"], version=version, what=what, mark=mark)
        self._wishes.append(Wish("remind", msgspec.to_builtins(due), seconds))

    def _speak(self, payload: object, version: str) -> None:
        self._says.append(Speech(payload, f"models/{self._data['model_id']}@{version}"))


def gates_open(version: Mapping[str, Any]) -> bool:
    """Passed validation of these weights, a card, and the approval where one is needed."""
    validated = version["manifest_digest"] == version.get("validated_digest")
    if not (validated and version.get("card_digest")):
        return False
    return not version["approval_needed"] or approved(version)
