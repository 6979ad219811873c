"""What the deployment service tells the serving pod."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from events.parts import Artifact


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """release: its name in the cluster. model: `<model_id>@<version>`, for people.

    engine_model: what the engine calls itself. generation: defaults of its answers, such as `max_new_tokens`.
    max_concurrent: requests that it works on at once. api_key_file: file whose content clients must show;
    empty for the key derived from the release, which the gateway derives as well. threads: 0 for half of the CPUs.
    """

    release: str
    model: str
    artifact: Artifact
    base_model: str
    template: str
    cause: str
    engine_model: str = ""
    engine: Literal["llamafactory", "vllm"] = "llamafactory"
    generation: dict[str, Any] = {}
    max_concurrent: int = 4
    api_key_file: str = ""
    threads: int = 0
    traceparent: str = ""
    grace_seconds: float = 25
