"""What changed, in order, for as long as it is kept: what a watch reads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Literal

import msgspec

from shared.kubernetes.fake.failures import gone
from shared.kubernetes.fake.objects import Object
from shared.kubernetes.fake.selectors import Matcher
from shared.kubernetes.kinds import Kind

Type = Literal["ADDED", "MODIFIED", "DELETED"]


class Change(msgspec.Struct, frozen=True):
    """before: as it was, where it was."""

    revision: int
    kind: Kind
    type: Type
    obj: Object
    before: Object | None


class ChangeLog:
    """The last `keep` changes. Revisions are gapless, so that a place in the log follows from a revision."""

    def __init__(self, keep: int) -> None:
        self._changes: deque[Change] = deque(maxlen=keep)
        self._floor = 0

    def add(self, change: Change) -> None:
        """The next one."""
        self._changes.append(change)

    def compact(self, revision: int) -> None:
        """Forget all up to this revision."""
        while self._changes and self._changes[0].revision <= revision:
            self._changes.popleft()
        self._floor = max(self._floor, revision)

    @property
    def oldest(self) -> int:
        """The lowest revision from which a watch can go on."""
        return self._changes[0].revision - 1 if self._changes else self._floor

    def since(self, revision: int) -> Iterator[Change]:
        """All after the revision. Raises Failure (410) where some of them are no longer kept."""
        if revision < self.oldest:
            raise gone(revision, self.oldest)
        first = self._changes[0].revision if self._changes else 0
        for at in range(max(0, revision + 1 - first), len(self._changes)):
            yield self._changes[at]


def seen(change: Change, namespace: str, matches: Matcher) -> tuple[Type, Object] | None:
    """What a watch with this namespace and selector says of a change: one that comes to match is added."""
    if namespace and change.obj["metadata"].get("namespace", "") != namespace:
        return None
    now = change.type != "DELETED" and matches(change.obj)
    was = change.before is not None and matches(change.before)
    if now:
        return ("MODIFIED" if was else "ADDED"), change.obj
    return ("DELETED", change.obj) if was else None
