"""An experiment folder has new content on a watched branch.

said by: webhook, CLI, other systems · heard by: training, outbound · subject: runs/<run_id>
"""

from __future__ import annotations

import msgspec

from events.parts import Folder, Source

NAME = "config-committed"


class ConfigCommitted(msgspec.Struct, frozen=True, kw_only=True):
    """run_id: derived from repository, folder and tree id, so that the same content is the same run.

    data_roots: below which data outside the folder may lie (KUZNIA_DATA_ROOTS), as they were when it was said: who
    decides over it asks nothing, and decides alike when it is replayed. null: not known, and left to the pod.
    """

    run_id: str
    source: Source
    folder: Folder
    data_roots: tuple[str, ...] | None = None
