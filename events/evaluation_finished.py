"""One model was run over one evaluation set.

said by: the evaluation pod · heard by: validation, outbound · subject: evaluations/<key>
"""

from __future__ import annotations

from typing import Literal

import msgspec

NAME = "evaluation-finished"


class EvaluationFinished(msgspec.Struct, frozen=True, kw_only=True):
    """key: the evaluation it belongs to. role: the base model, or the tuned one.

    metrics: name -> value over all rows. groups: group of rows -> metrics. uri: the answers, row by row.
    outcome failed: nothing was measured, and cause says why.
    """

    key: str
    role: Literal["base", "tuned"]
    outcome: Literal["succeeded", "failed"]
    metrics: dict[str, float] = {}
    groups: dict[str, dict[str, float]] = {}
    rows: int = 0
    set_digest: str = ""
    uri: str = ""
    cause: str = ""
