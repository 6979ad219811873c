"""A commit that another system tells of is fetched by our pods: only from where an operator connected it."""

from __future__ import annotations

from events.catalog import decode
from events.config_committed import ConfigCommitted
from events.envelope import Event
from shared.identity import run_id
from shared.ports.store import Store


def strangers(event: Event, store: Store) -> list[str]:
    """What is wrong with the source of a commit, a line each; nothing for other events."""
    if event.name != "config-committed":
        return []
    committed: ConfigCommitted = decode(event)
    source, found = committed.source, []
    repository = store.load(f"repositories/{source.repository}")
    if repository.status != "CONNECTED":
        found.append(f"repository {source.repository!r} is not connected: `kuznia hook connect` connects it")
    elif repository.data["url"] != source.url:
        found.append(f"repository {source.repository!r} is connected under another URL than {source.url!r}")
    wanted = run_id(source.repository, source.experiment, source.tree)
    if committed.run_id != wanted:
        found.append(
            f"run_id is {committed.run_id!r}; of this repository, experiment and tree it is {wanted!r}"
        )
    return found
