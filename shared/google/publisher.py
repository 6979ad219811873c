"""Publishing, so that nothing is lost on the way: bounded, in order by subject, every future looked at."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from typing import Any

from google.api_core import exceptions as api
from google.cloud.pubsub_v1 import PublisherClient
from google.cloud.pubsub_v1.publisher.exceptions import PublishToPausedOrderingKeyException
from google.cloud.pubsub_v1.types import (
    BatchSettings,
    LimitExceededBehavior,
    PublisherOptions,
    PublishFlowControl,
)

from events.envelope import Event
from shared.errors import KuzniaError, Retry
from shared.google import message
from shared.google.errors import repeating

MEGABYTE = 1024 * 1024
ANSWER_SECONDS = 30.0
CALL_SECONDS = 20.0
PAUSES = (0.2, 1.0)  # seconds between tries of what may pass
_PASSING = (api.ServiceUnavailable, api.DeadlineExceeded, api.InternalServerError, api.Aborted, api.Cancelled)


def make_client() -> PublisherClient:
    """Ordered; blocks the caller rather than filling the memory."""
    flow = PublishFlowControl(
        message_limit=1000, byte_limit=32 * MEGABYTE, limit_exceeded_behavior=LimitExceededBehavior.BLOCK
    )
    return PublisherClient(
        batch_settings=BatchSettings(max_messages=100, max_bytes=MEGABYTE, max_latency=0.005),
        publisher_options=PublisherOptions(enable_message_ordering=True, flow_control=flow),
    )


class Publisher:
    """make_topic: called where a topic is missing; None where Terraform makes them."""

    def __init__(
        self, client: PublisherClient, project: str, make_topic: Callable[[str], object] | None
    ) -> None:
        self._client = client
        self._project = project
        self._make_topic = make_topic

    def publish(self, events: Sequence[Event]) -> None:
        """Taken by Pub/Sub when it returns. Raises Retry, once every future has been looked at.

        What may pass is tried again here: the client's own tries would never end where messages are ordered.
        """
        missing = self._insist(events)
        if missing and self._make_topic:
            for name in sorted({event.name for event in missing}):
                self._make_topic(name)
            missing = self._insist(missing)
        if missing:
            names = ", ".join(sorted({event.name for event in missing}))
            raise Retry(f"there is no topic for {names}: terraform apply, or KUZNIA_GCP_CREATE=1")

    def close(self) -> None:
        """Send what is on its way."""
        self._client.stop()
        self._client.transport.close()

    def _insist(self, events: Sequence[Event]) -> list[Event]:
        """Events whose topic is missing. Raises the first other fault that did not pass."""
        missing: list[Event] = []
        for pause in (*PAUSES, None):
            faults = self._publish(events)
            missing += [event for event, fault in faults if _is_missing(fault)]
            others = [(event, fault) for event, fault in faults if not _is_missing(fault)]
            if not others:
                break
            if pause is None or not all(_passes(fault) for _, fault in others):
                raise others[0][1]
            time.sleep(pause)
            events = [event for event, _ in others]
        return missing

    def _publish(self, events: Sequence[Event]) -> list[tuple[Event, KuzniaError]]:
        """What was not taken, and why; once every future has been looked at."""
        with repeating("publishing"):
            futures = [(event, self._send(event)) for event in events]
        return [(event, fault) for event, future in futures if (fault := self._fault(event, future))]

    def _send(self, event: Event) -> Any:
        """Tried once: with any policy of tries, an ordering client puts 2^32 seconds in place of its deadline."""
        attributes: dict[str, Any] = dict(message.attributes(event))
        return self._client.publish(
            self._topic(event),
            message.body(event),
            ordering_key=event.subject,
            retry=None,
            timeout=CALL_SECONDS,
            **attributes,
        )

    def _fault(self, event: Event, future: Any) -> KuzniaError | None:
        """Why Pub/Sub did not take it. An error pauses the publisher for the key, until it is told to go on."""
        what = f"publishing {event.name} {event.id}"
        try:
            error = future.exception(timeout=ANSWER_SECONDS)
        except FutureTimeoutError:
            return Retry(f"{what}: no answer within {ANSWER_SECONDS:.0f} s")
        if error is None:
            return None
        if event.subject:
            with suppress(RuntimeError):  # one before it, of the same key, has told it already
                self._client.resume_publish(self._topic(event), event.subject)
        try:
            with repeating(what):
                raise error
        except PublishToPausedOrderingKeyException as paused:
            word = Retry(f"{what}: an earlier one of its subject failed")
            word.__cause__ = paused
            return word
        except KuzniaError as word:
            return word

    def _topic(self, event: Event) -> str:
        return f"projects/{self._project}/topics/{event.name}"


def _is_missing(fault: KuzniaError) -> bool:
    return isinstance(fault.__cause__, api.NotFound)


def _passes(fault: KuzniaError) -> bool:
    """What was paused goes with what paused it."""
    return isinstance(fault.__cause__, (*_PASSING, PublishToPausedOrderingKeyException))
