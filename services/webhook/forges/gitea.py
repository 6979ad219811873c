"""Gitea, and what Forgejo has in common with it: GitHub's payload, a bare hex signature."""

from __future__ import annotations

from services.webhook.forges.forge import Claim, Forge, by_header, first, hex_proven, unproven
from services.webhook.forges.github import read, repository


def forge(name: str, title: str, *families: str) -> Forge:
    """families: of header names, `x-<family>-signature` and so on; the first that is there wins."""
    signatures = tuple(f"x-{family}-signature" for family in families)
    events = tuple(f"x-{family}-event" for family in families)
    deliveries = tuple(f"x-{family}-delivery" for family in families)

    def fault(claim: Claim) -> str:
        proven = hex_proven(claim, first(claim.headers, *signatures))
        return "" if proven else unproven("-".join(part.title() for part in signatures[0].split("-")))

    return Forge(
        name=name,
        title=title,
        needs=(events, deliveries, signatures),
        pushes=frozenset({"push"}),
        pings=frozenset(),
        kind=by_header(*events),
        delivery=by_header(*deliveries),
        fault=fault,
        repository=repository,
        read=read,
    )


FORGE = forge("gitea", "Gitea", "gitea")
