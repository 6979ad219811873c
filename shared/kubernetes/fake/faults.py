"""What may go wrong with a request, by hook: the tests write it down, the simulator draws it."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

Fault = Literal["", "429", "500", "503", "403", "409", "422", "refused", "lost", "gone", "dropped", "stale"]
# before: "429" … "422" are answered, "refused" is a connection that cannot be made; nothing was done.
# after: "lost" is done, and the answer never comes.
# lists and watches: "stale" tells an earlier state, "gone" is 410, "dropped" ends a watch early.
CODES: tuple[Fault, ...] = ("429", "500", "503", "403", "409", "422")


class Faults(Protocol):
    """Asked once a request. verb: get, list, watch, create, update, patch, delete, log."""

    def hit(self, verb: str, plural: str, name: str) -> Fault: ...


class NoFaults:
    """Nothing goes wrong."""

    def hit(self, verb: str, plural: str, name: str) -> Fault:  # noqa: ARG002 - the protocol's names
        """None."""
        return ""


class Planned(msgspec.Struct, kw_only=True):
    """The next so many requests of this verb, about this resource, go wrong in this way."""

    fault: Fault
    verb: str
    plural: str
    times: int = 1


class PlannedFaults:
    """Faults written down before."""

    def __init__(self) -> None:
        self._plans: list[Planned] = []

    def plan(self, fault: Fault, verb: str, plural: str, times: int = 1) -> None:
        """Add one."""
        self._plans.append(Planned(fault=fault, verb=verb, plural=plural, times=times))

    @property
    def left(self) -> int:
        """How many are still to come."""
        return sum(plan.times for plan in self._plans)

    def hit(self, verb: str, plural: str, name: str) -> Fault:  # noqa: ARG002 - the protocol's names
        """The first plan that fits."""
        for plan in self._plans:
            if plan.times and (plan.verb, plan.plural) == (verb, plural):
                plan.times -= 1
                return plan.fault
        return ""
