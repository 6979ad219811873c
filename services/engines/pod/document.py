"""What the engines service tells the pod, and what the pod reads in the engine's record."""

from __future__ import annotations

import msgspec

from events.parts import Artifact


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """release: the server's name in the cluster. key: of the engine's record, whose name the key to show is
    derived from. base_revision: on the hub, empty for whichever is here. template: LLaMA-Factory's name of the
    chat template. max_rank: of the adapters it takes. threads: 0 for half of the CPUs.
    """

    release: str
    key: str
    base_model: str
    template: str
    cause: str
    engine: str = ""
    base_revision: str = ""
    max_rank: int = 16
    threads: int = 0
    traceparent: str = ""
    grace_seconds: float = 25

    @property
    def name(self) -> str:
        """The engine's, whatever its generation."""
        return self.key.partition("/")[2]


class Adapter(msgspec.Struct, frozen=True, kw_only=True):
    """One that is wanted, under the release's name. cause: id of the event that wanted it."""

    release: str
    model_id: str
    version: str
    engine_model: str
    artifact: Artifact
    cause: str
    traceparent: str = ""


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """The engine's record, as far as the pod goes by it. server: the one that is to carry them."""

    server: str = ""
    adapters: dict[str, Adapter] = {}
