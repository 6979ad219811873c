"""How a pod speaks: events with ids that follow from what they say, so that a repeat is the same event."""

from __future__ import annotations

from typing import Any

import msgspec

from events.catalog import encode, name_of
from events.envelope import Event
from shared.identity import event_id
from shared.podkit.patience import Patience
from shared.podkit.ports import PodPorts


class Voice(msgspec.Struct, frozen=True, kw_only=True):
    """source: the service, `/kuznia/training`. cause: id of the event that this pod answers."""

    ports: PodPorts
    source: str
    cause: str
    traceparent: str = ""
    patience: Patience = Patience()

    def say(self, payload: Any, *, subject: str, discriminator: str = "") -> Event:
        """Publish it; durable on return. The same discriminator is the same event. Raises Retry at the end."""
        name = name_of(payload)
        event = Event(
            id=event_id(self.cause, name, discriminator),
            name=name,
            source=self.source,
            subject=subject,
            time=self.ports.clock.now(),
            data=encode(payload),
            traceparent=self.traceparent,
            cause=self.cause,
        )
        self.patience.insist(f"saying {name}", lambda: self.ports.publish([event]))
        return event
