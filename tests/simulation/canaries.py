"""What must hold of canaries, of engines that stand by, and of those that sleep; asked of what really happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulation.plans import worse
from simulation.traffic import bad

from shared.record import Record

WORDS = frozenset({"deploy-requested", "rollback-requested"})
ROUNDING = 1e-9
PASSING = frozenset({"canary", "standing"})  # states that end by themselves
Gates = Callable[[str, str, dict[str, Any]], None]


class Canaries:
    """Answers with what is wrong, empty where nothing is. gates: raises where a version may not answer."""

    def __init__(self, world: Any, gates: Gates) -> None:
        self._world = world
        self._gates = gates
        self._refused: dict[tuple[str, str], set[str]] = {}  # with what had been heard by then

    def committed(self, old: Record, new: Record) -> str:
        """At every commit of a release."""
        return self._weights(new) or self._figures(new) or self._ended(old, new) or self._live(old, new)

    def at_rest(self, release: Record) -> str:
        """When nothing is left to happen."""
        if release.data.get("rollout"):
            return f"canary: of {release.key} goes on for ever: {release.data['rollout']['reason']}"
        for name, version in release.data["versions"].items():
            if version["state"] in PASSING:
                return f"canary: {name} of {release.key} stays {version['state']}"
        return ""

    def _weights(self, new: Record) -> str:
        weights = new.data.get("weights") or {}
        if not weights:
            return ""
        if abs(sum(weights.values()) - 1) > ROUNDING or min(weights.values()) < 0:
            return f"weights: of {new.key} are {weights}"
        for name in weights:
            version = new.data["versions"][name]
            if name != new.data["live"]:
                self._gates(new.name, name, version)
                if not version["address"]:
                    return f"weights: {name} of {new.key} gets requests, and has not answered yet"
        return ""

    def _figures(self, new: Record) -> str:
        """No canary is judged by more than gateways saw at its share."""
        rollout = new.data.get("rollout") or {}
        for name, tally in rollout.get("figures", {}).items():
            seen = self._world.people.traffic.seen[new.name, f"{rollout['number']}.{rollout['step']}", name]
            if tally["requests"] > seen:
                return f"figures: {tally['requests']} requests of {name} of {new.key} are counted, and {seen} were seen"
        return ""

    def _ended(self, old: Record, new: Record) -> str:
        before, after = old.data.get("rollouts", []), new.data.get("rollouts", [])
        if after[: len(before)] != before:
            return f"audit: how canaries of {new.key} ended was rewritten"
        for over in after[len(before) :]:
            what, reason = over["what"], over["reason"]
            does_badly, usual = (
                bad(self._world.seed, new.name, name) for name in (over["version"], over["against"])
            )
            if what == "finished" and "did well" in reason and does_badly and not usual:
                return f"canary: {over['version']} of {new.key} went live, and half of its answers fail: {reason}"
            if wrong := self._judged(new, over):
                return wrong
            by_answers = "its contains is" in reason
            if what == "went-back" and "engine" not in reason and not does_badly and not by_answers:
                return f"canary: {over['version']} of {new.key} went back, and none of its answers fails: {reason}"
            if what in ("went-back", "aborted"):
                self._refused[new.name, over["version"]] = set(old.inbox)
        return ""

    def _judged(self, new: Record, over: dict[str, Any]) -> str:
        """By the platform: worse answers go live only where the plan lets a step go on unjudged, and says so."""
        judge = ((new.data["versions"][over["version"]]["plan"].get("canary") or {}).get("judge") or {}).get(
            "by"
        )
        one, other = (worse(self._world.seed, new.name, name) for name in (over["version"], over["against"]))
        what, reason = over["what"], over["reason"]
        if (
            what == "went-back"
            and "its contains is" in reason
            and not (judge == "platform" and one and not other)
        ):
            return f"canary: {over['version']} of {new.key} went back, and its answers are as good: {reason}"
        if what == "finished" and "did well" in reason and judge == "platform" and one and not other:
            return f"canary: {over['version']} of {new.key} went live, and its answers are worse: {reason}"
        return ""

    def _live(self, old: Record, new: Record) -> str:
        live = new.data.get("live", "")
        heard = self._refused.get((new.name, live))
        if heard is None or live == old.data.get("live"):
            return ""
        words = {
            event.id
            for event in map(self._world.bus.event, set(new.inbox) - heard)
            if self._is_word(event, live)
        }
        return "" if words else f"canary: {live} of {new.key} was refused, and is live"

    def _is_word(self, event: Any, version: str) -> bool:
        return event is not None and event.name in WORDS and event.data["version"] in ("", version)
