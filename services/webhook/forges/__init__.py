"""The forges whose pushes we take: a new one is one new module and one word here."""

from __future__ import annotations

from collections.abc import Mapping

from services.webhook.forges import bitbucket, forgejo, gitea, github, gitlab
from services.webhook.forges.forge import Forge

FORGES: Mapping[str, Forge] = {
    module.FORGE.name: module.FORGE for module in (github, gitlab, gitea, forgejo, bitbucket)
}
