"""Writing in company: what many reactions ask to have written at the same moment may go out as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from shared.delivery import Ack, Again, Bury
from shared.reaction import Commit, Publish

Written = Commit | Publish | Ack | Again | Bury
WRITTEN = (Commit, Publish, Ack, Again, Bury)


class Company(Protocol):
    """A bus and a store that lie in one place."""

    def carry(self, calls: Sequence[Written]) -> Sequence[Any]:
        """All that succeed are durable when it returns; an exception stands in the place of one that failed.

        Each is a write of its own: none fails for another's fault.
        """
        ...


class OneByOne:
    """The company of ports that know none: one after another, by `carry`."""

    def __init__(self, carry: Callable[[Written], Any]) -> None:
        self._carry = carry

    def carry(self, calls: Sequence[Written]) -> Sequence[Any]:
        """See `Company.carry`."""
        return [self._attempt(call) for call in calls]

    def _attempt(self, call: Written) -> Any:
        try:
            return self._carry(call)
        except Exception as error:  # noqa: BLE001 - told to who asked; a host translates outcomes
            return error
