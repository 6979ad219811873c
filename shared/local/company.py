"""Bus and store of one SQLite file: what many reactions write at the same moment is one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from shared.delivery import Ack, Again, Bury
from shared.hosts.company import Written
from shared.local import statements
from shared.local.bus import SqliteBus
from shared.local.sqlite import Database, Work
from shared.local.store import commit
from shared.reaction import Commit, Publish

_WORKS: Mapping[type[Any], Callable[[Any], Work[Any]]] = {
    Commit: lambda call: partial(commit, record=call.record),
    Publish: lambda call: partial(statements.publish, events=call.events),
    Ack: lambda call: partial(statements.ack, delivery=call.delivery),
    Again: lambda call: partial(
        statements.retry, delivery=call.delivery, due=time.time() + call.after, error=call.error
    ),
    Bury: lambda call: partial(statements.bury, delivery=call.delivery, cause=call.cause),
}


class SqliteCompany:
    """See `shared.hosts.company.Company`."""

    def __init__(self, database: Database, bus: SqliteBus) -> None:
        self._database = database
        self._bus = bus

    def carry(self, calls: Sequence[Written]) -> Sequence[Any]:
        """See `Company.carry`. Acks and the like alone ask for no fsync: see `SqliteBus`."""
        durable = any(isinstance(call, Commit | Publish) for call in calls)
        answers = self._database.write_all([_WORKS[type(call)](call) for call in calls], durable=durable)
        if not all(isinstance(call, Commit) for call in calls):
            self._bus.ring()
        return answers
