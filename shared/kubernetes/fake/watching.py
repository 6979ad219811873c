"""One watch: where it stands in the log, and what it has to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shared.kubernetes.fake.core import Core
from shared.kubernetes.fake.failures import Failure
from shared.kubernetes.fake.log import seen
from shared.kubernetes.fake.objects import Object
from shared.kubernetes.fake.selectors import Matcher
from shared.kubernetes.kinds import Kind

_INITIAL_END = "k8s.io/initial-events-end"
Said = tuple[str, Object]


class Feed:
    """Read by one thread, under the lock of the core. dropped: it ends after the next words."""

    def __init__(self, core: Core, kind: Kind, namespace: str, matches: Matcher) -> None:
        self._core = core
        self._kind = kind
        self._namespace = namespace
        self._matches = matches
        self._position = core.revision
        self._first: list[Said] = []
        self._bookmarks = False
        self.seconds = 0.0
        self.dropped = False

    def begin(self, query: Mapping[str, str]) -> None:
        """From the revision asked for, or with all there is. Raises Failure (410, 400)."""
        asked = query.get("resourceVersion", "")
        self._bookmarks = query.get("allowWatchBookmarks") in {"1", "true"}
        self.seconds = float(query.get("timeoutSeconds") or 0)
        whole = query.get("sendInitialEvents") in {"1", "true"}
        if whole or asked in {"", "0"}:
            items = self._core.list(self._kind, self._namespace, self._matches)
            self._first = [("ADDED", obj) for obj in items]
            if whole:
                self._first.append(self._bookmark({_INITIAL_END: "true"}))
        elif asked.isdigit():
            self._position = int(asked)
            next(iter(self._core.log.since(self._position)), None)
        else:
            raise Failure(400, f"invalid resource version: {asked!r}")

    def take(self) -> Sequence[Said]:
        """What happened since the last call. Raises Failure (410)."""
        said, self._first = self._first, []
        for change in self._core.log.since(self._position):
            self._position = change.revision
            if change.kind == self._kind:
                word = seen(change, self._namespace, self._matches)
                if word:
                    said.append(word)
        return said

    def farewell(self) -> Sequence[Said]:
        """At its end, where the watcher wanted bookmarks."""
        return [self._bookmark({})] if self._bookmarks else []

    def _bookmark(self, annotations: Mapping[str, Any]) -> Said:
        metadata = {"resourceVersion": str(self._position), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = dict(annotations)  # type: ignore[assignment]
        return "BOOKMARK", {
            "kind": self._kind.kind,
            "apiVersion": self._kind.api_version,
            "metadata": metadata,
        }
