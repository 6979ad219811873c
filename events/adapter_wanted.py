"""A version's adapter is to be loaded into the engine that its tenant has on its base.

said by: deployment · heard by: engines · subject: engines/<engine>
"""

from __future__ import annotations

import msgspec

from events.parts import Artifact

NAME = "adapter-wanted"


class AdapterWanted(msgspec.Struct, frozen=True, kw_only=True):
    """engine: its deterministic name, from the three that follow; release: what the loaded adapter is called in
    `workload-changed`. engine_model: what clients of the engine call it. max_rank: of any adapter it takes.
    """

    engine: str
    tenant: str
    template: str
    max_rank: int
    release: str
    model_id: str
    version: str
    engine_model: str
    artifact: Artifact
