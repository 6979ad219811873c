"""An experiment folder has new content on a watched branch.

said by: webhook, CLI, other systems · heard by: training, outbound · subject: runs/<run_id>
"""

from __future__ import annotations

import msgspec

from events.parts import Folder, Source

NAME = "config-committed"


class ConfigCommitted(msgspec.Struct, frozen=True, kw_only=True):
    """run_id: derived from repository, folder and tree id, so that the same content is the same run."""

    run_id: str
    source: Source
    folder: Folder
