"""Somebody judged a sample of the answers that a version really gave: people, or a model that judges.

said by: other systems, people · heard by: deployment · subject: releases/<model_id>
"""

from __future__ import annotations

import msgspec

NAME = "answers-judged"


class AnswersJudged(msgspec.Struct, frozen=True, kw_only=True):
    """metric: as `deployment.canary.judge.metric` of `model.yaml` names it. mean: of the scores, higher is better.

    samples: how many answers were judged. judge: who or what did.
    """

    model_id: str
    version: str
    metric: str
    samples: int
    mean: float
    judge: str
