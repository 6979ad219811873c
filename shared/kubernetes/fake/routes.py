"""Which object or collection a path of the API means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from shared.kubernetes.kinds import Kind, Ref


class Route(msgspec.Struct, frozen=True):
    """name: empty for a collection. subresource: `status`, `log`, `scale`, `eviction`, or empty."""

    kind: Kind
    namespace: str
    name: str = ""
    subresource: str = ""

    @property
    def ref(self) -> Ref:
        """The object."""
        return Ref(self.kind, self.namespace if self.kind.namespaced else "", self.name)


class Routes:
    """Paths of the kinds that are served."""

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self.kinds = kinds
        self._by_place: Mapping[tuple[str, str, str], Kind] = {
            (kind.group, kind.version, kind.plural): kind for kind in kinds
        }

    def find(self, path: str) -> Route | None:
        """None where nothing lies there."""
        parts = [part for part in path.split("/") if part]
        if parts[:1] == ["api"] and len(parts) >= 3:
            return self._within("", parts[1], parts[2:])
        if parts[:1] == ["apis"] and len(parts) >= 4:
            return self._within(parts[1], parts[2], parts[3:])
        return None

    def _within(self, group: str, version: str, parts: list[str]) -> Route | None:
        namespace = ""
        if parts[0] == "namespaces" and len(parts) >= 3 and parts[2] not in {"status", "finalize"}:
            namespace, parts = parts[1], parts[2:]
        kind = self._by_place.get((group, version, parts[0]))
        if kind is None or len(parts) > 3 or (namespace and not kind.namespaced):
            return None
        return Route(kind, namespace, *parts[1:])
