"""What the gateway knows of the world: which model answers where, and who may ask."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

import msgspec

UP = frozenset({"ready", "canary", "standing"})


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Where one version stands. state: live, canary, ready, standing, asleep, starting, retired, failed, …

    address: `host:port`. engine_model: the name the engine knows, empty where it takes any. shared: the engine in
    common that it is loaded into, empty for one of its own.
    cleared: validation, card and approval of exactly these weights are there. since: when it fell asleep or began
    to start, ISO 8601; took: seconds of its last start; patience: so long a request waits for one.
    """

    state: str
    address: str = ""
    release: str = ""
    manifest_digest: str = ""
    card_digest: str = ""
    engine_model: str = ""
    shared: str = ""
    cleared: bool = False
    since: str = ""
    took: float = 0
    patience: float = 0

    @property
    def keeper(self) -> str:
        """By whose name the engine's key is derived: that of the engine in common, or of its own release."""
        return self.shared or self.release

    @property
    def serves(self) -> bool:
        """Whether requests may go there. The registry lets nothing go live uncleared; an engine that merely
        runs early, beside its evaluation, is nobody's to ask yet.
        """
        return bool(self.address) and (self.state == "live" or (self.state in UP and self.cleared))


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One model and its versions. live: the version its plain name leads to, empty if none.

    created: Unix seconds. weights: shares of the requests while a canary is under way. mark: what is written on
    figures of requests that were routed by these weights; window: seconds for which they are gathered, 0 where
    nobody wants them.
    """

    model_id: str
    tenant: str
    live: str = ""
    versions: dict[str, Placement] = {}
    created: int = 0
    weights: dict[str, float] = {}
    mark: str = ""
    window: float = 0

    @property
    def serves(self) -> bool:
        """Whether the plain name leads anywhere, now or once it has been woken."""
        return self.live in self.versions and (
            self.versions[self.live].serves or Target(self, self.live).coming
        )


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks. hash: SHA-256 of the token, hex. models: model ids, or `*` for all of the tenant."""

    id: str
    hash: str
    tenant: str
    models: tuple[str, ...] = ("*",)
    expires_at: datetime | None = None
    revoked: bool = False

    def may_use(self, route: Route) -> bool:
        """Another tenant's model is never among them, whatever the list says."""
        return route.tenant == self.tenant and ("*" in self.models or route.model_id in self.models)


class Target(msgspec.Struct, frozen=True):
    """The version a request goes to. pinned: asked for by its version, so no sample of what people ask."""

    route: Route
    version: str
    pinned: bool = False

    @property
    def placement(self) -> Placement:
        """Where it stands."""
        return self.route.versions[self.version]

    @property
    def coming(self) -> bool:
        """Whether it is the live version, and sleeps or is starting again."""
        return self.version == self.route.live and self.placement.state in {"asleep", "starting"}

    @property
    def role(self) -> str:
        """`pinned`, `canary` or `live`."""
        if self.pinned:
            return "pinned"
        return "live" if self.version == self.route.live else "canary"

    @property
    def name(self) -> str:
        """`<model_id>@<version>`."""
        return f"{self.route.model_id}@{self.version}"


class Snapshot(msgspec.Struct, frozen=True):
    """All routes and tokens at one moment; replaced whole, never changed.

    routes: by model id. families: by model id without its major, highest major first. tokens: by hash.
    """

    routes: Mapping[str, Route]
    families: Mapping[str, tuple[Route, ...]]
    tokens: Mapping[str, Token]


class Directory(Protocol):
    """Gives the current snapshot at once, and keeps it fresh beside the requests."""

    def snapshot(self) -> Snapshot:
        """The newest one read; never waits."""
        ...

    @property
    def loaded(self) -> bool:
        """Whether it has been read at least once."""
        ...

    async def refresh_now(self) -> None:
        """Read again; what was written before the call is in the snapshot after it, if the store answers."""
        ...

    async def watch(self) -> None:
        """Keep it fresh until cancelled."""
        ...

    def close(self) -> None:
        """Let go of what it holds; harmless when done twice."""
        ...
