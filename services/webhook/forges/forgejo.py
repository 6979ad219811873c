"""Forgejo: as Gitea, whose headers it sends too; its own win."""

from __future__ import annotations

from services.webhook.forges.gitea import forge

FORGE = forge("forgejo", "Forgejo", "forgejo", "gitea")
