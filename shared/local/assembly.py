"""The local profile, put together from its parts."""

from __future__ import annotations

import msgspec

from shared.local.artifacts import DirectoryArtifacts
from shared.local.bus import SqliteBus
from shared.local.clock import SystemClock
from shared.local.company import SqliteCompany
from shared.local.operations import SqliteOperations
from shared.local.sqlite import Database
from shared.local.store import SqliteStore, open_database
from shared.settings import Settings


class LocalPorts(msgspec.Struct, frozen=True, kw_only=True):
    """Bus, store and artifacts of one home; close it when done."""

    database: Database
    bus: SqliteBus
    store: SqliteStore
    company: SqliteCompany
    artifacts: DirectoryArtifacts
    clock: SystemClock
    operations: SqliteOperations

    def close(self) -> None:
        """Finish what is being written."""
        self.database.close()


def open_ports(settings: Settings) -> LocalPorts:
    """Open, or make, what lies under `settings.home`. Raises Retry where the disk does not let us."""
    database = open_database(settings.database)
    bus = SqliteBus(database, settings.lease_seconds)
    return LocalPorts(
        database=database,
        bus=bus,
        company=SqliteCompany(database, bus),
        store=SqliteStore(database),
        artifacts=DirectoryArtifacts(settings.artifacts),
        clock=SystemClock(),
        operations=SqliteOperations(database),
    )
