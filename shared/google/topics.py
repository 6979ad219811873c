"""Names of topics and subscriptions, and their making where Terraform has not made them.

`<event>` is a topic, `<service>.<event>` a subscription to it, `<service>.dead` the topic of a service's dead
letters and the one subscription to that: without a subscription what is forwarded there would vanish.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from google.api_core.exceptions import AlreadyExists
from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient
from google.protobuf.duration_pb2 import Duration

from shared.errors import Conflict
from shared.google.errors import repeating
from shared.google.settings import GoogleSettings

PUSH_ACK_SECONDS = 600  # who is pushed to may take so long to answer; nobody extends it
ACK_SECONDS = 10  # a worker that died is noticed after so long; one that lives extends it
KEPT_SECONDS = 7 * 24 * 3600
FORWARDED_AFTER = (
    50  # deliveries that nobody acknowledged; the ledger's own count ends the usual event long before
)
RETRY_SECONDS = (1, 60)
RPC_SECONDS = 20.0


def subscription_name(service: str, event: str) -> str:
    """`training.config-committed`."""
    return f"{service}.{event}"


def dead_name(service: str) -> str:
    """Topic, and subscription to it, of what Pub/Sub itself gave up."""
    return f"{service}.dead"


class Topics:
    """Makes what is not there; what is there is left as it is, but for where it is pushed to."""

    def __init__(
        self, publisher: PublisherClient, subscriber: SubscriberClient, settings: GoogleSettings
    ) -> None:
        self._publisher = publisher
        self._subscriber = subscriber
        self._settings = settings

    def make_topic(self, name: str) -> str:
        """The topic's path, once it is there. Raises Retry."""
        path = f"projects/{self._settings.project}/topics/{name}"
        self._make(f"topic {name}", lambda: self._publisher.create_topic(name=path, timeout=RPC_SECONDS))
        return path

    def make_subscriptions(self, service: str, events: Iterable[str]) -> None:
        """One for each event, and the service's dead letters. Raises Retry."""
        dead = self.make_topic(dead_name(service))
        self._make_subscription(dead_name(service), {"topic": dead, **_patience()})
        for event in events:
            more = {"topic": self.make_topic(event), **self._policies(dead), **self._push(service)}
            self._make_subscription(subscription_name(service, event), more)

    def _make_subscription(self, name: str, request: dict[str, Any]) -> None:
        path = f"projects/{self._settings.project}/subscriptions/{name}"
        whole = {
            "name": path,
            "ack_deadline_seconds": ACK_SECONDS,
            "message_retention_duration": Duration(seconds=KEPT_SECONDS),
            "expiration_policy": {},  # never
            **request,
        }
        made = self._make(
            f"subscription {name}",
            lambda: self._subscriber.create_subscription(request=whole, timeout=RPC_SECONDS),
        )
        if not made and "push_config" in request:
            with repeating(f"where {name} is pushed to"):
                self._subscriber.modify_push_config(
                    subscription=path, push_config=request["push_config"], timeout=RPC_SECONDS
                )

    def _policies(self, dead: str) -> dict[str, Any]:
        return {
            "enable_message_ordering": True,
            "dead_letter_policy": {"dead_letter_topic": dead, "max_delivery_attempts": FORWARDED_AFTER},
            **_patience(),
        }

    def _push(self, service: str) -> dict[str, Any]:
        """Unwrapped, with attributes as headers: a CloudEvent in binary mode. Empty for pull."""
        settings = self._settings
        if not settings.push:
            return {}
        config: dict[str, Any] = {
            "push_endpoint": f"{settings.push}/{service}",
            "no_wrapper": {"write_metadata": True},
        }
        if settings.push_account:
            config["oidc_token"] = {
                "service_account_email": settings.push_account,
                "audience": settings.push_audience,
            }
        return {"push_config": config, "ack_deadline_seconds": PUSH_ACK_SECONDS}

    def _make(self, what: str, make: Callable[[], object]) -> bool:
        """False where it was there already."""
        try:
            with repeating(f"making {what}"):
                make()
        except Conflict as error:
            if not isinstance(error.__cause__, AlreadyExists):
                raise
            return False
        return True


def _patience() -> dict[str, Any]:
    """Without it, what is put off for long would go to and fro between Pub/Sub and us as fast as both can."""
    first, longest = RETRY_SECONDS
    return {
        "retry_policy": {
            "minimum_backoff": Duration(seconds=first),
            "maximum_backoff": Duration(seconds=longest),
        }
    }
