"""From the name in a request to the version that answers it.

team-x.llm-qa.v1           its live version
team-x.llm-qa.v1@1.0.0     that version, if it serves
team-x.llm-qa              the live version of the highest major
team-x/llm-qa              the same; the first `/` may stand for the first `.`
"""

from __future__ import annotations

from collections.abc import Iterable

from services.gateway.errors import model_not_found, unavailable
from services.gateway.ports import Route, Snapshot, Target, Token
from services.gateway.split import chosen

COMING = frozenset({"starting", "live"})


def resolve(name: str, token: Token, snapshot: Snapshot, key: str = "", retry_after: int = 1) -> Target:
    """Where a request for `name` goes; it may sleep (`Target.coming`). key: of the conversation.

    Raises ApiError 404 (not there, or not this token's) or 503.
    """
    base, pinned, version = name.partition("@")
    routes = [route for route in _candidates(base, snapshot) if token.may_use(route)]
    if not routes:
        raise model_not_found(name)
    if pinned:
        return _pinned(name, version, routes, retry_after)
    for route in routes:
        if route.serves:
            return Target(route, chosen(route, key))
    raise unavailable(
        f"The model {name!r} has no live version at the moment.", retry_after, "model_not_ready"
    )


def visible(token: Token, snapshot: Snapshot) -> Iterable[Target]:
    """All live versions this token may use, in order of name."""
    for _, route in sorted(snapshot.routes.items()):
        if token.may_use(route) and route.serves:
            yield Target(route, route.live)


def _pinned(name: str, version: str, routes: Iterable[Route], retry_after: int) -> Target:
    for route in routes:
        placement = route.versions.get(version)
        target = Target(route, version, pinned=True)
        if placement is not None and (placement.serves or target.coming):
            return target
        if placement is not None and placement.state in COMING:
            raise unavailable(f"The model {name!r} is starting.", retry_after, "model_not_ready")
    raise model_not_found(name)


def _candidates(base: str, snapshot: Snapshot) -> tuple[Route, ...]:
    for name in (base, base.replace("/", ".", 1)):
        route = snapshot.routes.get(name)
        if route is not None:
            return (route,)
        family = snapshot.families.get(name)
        if family is not None:
            return family
    return ()
