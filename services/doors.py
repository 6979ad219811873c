"""What is open to other systems: posted events, beside the console; and the courier that tells them what happens."""

from __future__ import annotations

import os
from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from services.ingress.http import PATH, route
from services.ingress.receive import Ingress, Place
from services.outbound.addresses import allowed_networks
from services.outbound.courier import Courier, secrets_of
from services.outbound.post import Poster
from shared.local.assembly import LocalPorts
from shared.settings import Settings


class WithEvents:
    """ASGI: POST /events goes to the door for events, all else to the console.

    In front of the console's guard, because other systems ask by any name, and prove who they are by a token;
    the page under the same path stays behind it.
    """

    def __init__(self, console: ASGIApp, local: LocalPorts, settings: Settings) -> None:
        place = Place(
            store=local.store, bus=local.bus, artifacts=local.artifacts, clock=local.clock, settings=settings
        )
        self._console = console
        self._events = Starlette(routes=[route(Ingress(place), settings.max_body_bytes)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the class."""
        posted = scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == PATH
        await (self._events if posted else self._console)(scope, receive, send)


def courier(local: LocalPorts, settings: Settings, environ: Mapping[str, str] = os.environ) -> Courier:
    """The courier of a home. Raises SettingsError where KUZNIA_WEBHOOKS_ALLOW is wrong."""
    secrets = secrets_of(settings.home, local.clock)
    return Courier(local.store, local.bus, local.clock, Poster(allowed_networks(environ)), secrets)
