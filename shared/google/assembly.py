"""The Google profile, put together from its parts. Emulators are honoured by Google's own clients."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Sequence

import msgspec
from google.auth.exceptions import DefaultCredentialsError
from google.cloud.firestore import Client
from google.cloud.pubsub_v1 import SubscriberClient

from shared.errors import Reject
from shared.google import settings as google
from shared.google.bus import Carriers, PubSubBus
from shared.google.ledger import Ledger
from shared.google.operations import FirestoreOperations
from shared.google.publisher import Publisher, make_client
from shared.google.settings import GoogleSettings
from shared.google.store import FirestoreStore
from shared.google.streams import Callback, Streams
from shared.google.tokens import GoogleCertificates, Verifier
from shared.google.topics import Topics
from shared.ports.artifacts import Artifacts
from shared.ports.clock import Clock
from shared.settings import Settings
from shared.storage.open import open_artifacts

log = logging.getLogger("kuznia.google")


class GooglePorts(msgspec.Struct, frozen=True, kw_only=True):
    """Bus, store and artifacts of one project; close it when done."""

    bus: PubSubBus
    store: FirestoreStore
    artifacts: Artifacts
    clock: Clock
    operations: FirestoreOperations
    end: Callable[[], None]

    def close(self) -> None:
        """Finish what is being written."""
        self.bus.close()
        self.store.close()
        self.end()


def open_ports(settings: Settings, services: Sequence[str] = ()) -> GooglePorts:
    """The ports that the environment names (`shared.google.settings`). services: whose deliveries are lent here.

    Raises SettingsError, and Reject where there are no credentials.
    """
    return open_project(settings, google.from_environment(), services)


def open_project(settings: Settings, options: GoogleSettings, services: Sequence[str] = ()) -> GooglePorts:
    """The ports of a project."""
    try:
        firestore = Client(project=options.project, database=options.database)
        publisher, subscriber = make_client(), SubscriberClient()
    except DefaultCredentialsError as error:
        raise Reject(
            f"there are no Google credentials ({error}): gcloud auth application-default login, a workload"
            " identity, or GOOGLE_APPLICATION_CREDENTIALS"
        ) from error
    topics = Topics(publisher, subscriber, options) if options.create else None
    carriers = Carriers(
        publisher=Publisher(publisher, options.project, topics.make_topic if topics else None),
        topics=topics,
        open_streams=_streams(subscriber, options),
    )

    def end() -> None:
        subscriber.close()
        firestore.close()

    return GooglePorts(
        bus=PubSubBus(Ledger(firestore), carriers, settings.lease_seconds, services),
        store=FirestoreStore(firestore),
        artifacts=open_artifacts(options.artifacts or settings.artifacts.as_uri()),
        clock=importlib.import_module("shared.local.clock").SystemClock(),
        operations=FirestoreOperations(firestore, carriers.publisher.publish),
        end=end,
    )


def push_fault() -> Callable[[str], str] | None:
    """What is wrong with an Authorization header of a push; None where no audience is set, so nobody asks."""
    options = google.from_environment()
    if not options.push_audience:
        log.warning("KUZNIA_PUSH_AUDIENCE is not set: whoever reaches this port may push events")
        return None
    return Verifier(options.push_audience, options.push_account, GoogleCertificates()).fault


def _streams(subscriber: SubscriberClient, options: GoogleSettings) -> Callable[[Callback], Streams]:
    return lambda callback: Streams(subscriber, options.project, callback)
