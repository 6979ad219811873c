"""A sample of the answers that a version gives was judged: by people, by a model that judges, or by our own judge,
which asks the engines of a canary and of the live version the same questions.

said by: the judging pod, other systems, people · heard by: deployment · subject: releases/<model_id>
"""

from __future__ import annotations

import msgspec

NAME = "answers-judged"


class AnswersJudged(msgspec.Struct, frozen=True, kw_only=True):
    """metric: as `deployment.canary.judge.metric` of `model.yaml` names it. mean: of the scores, higher is better.

    samples: how many answers were judged. judge: who or what did. mark: `<rollout>.<step>` that our own judge was
    asked at; others leave it out.
    """

    model_id: str
    version: str
    metric: str
    samples: int
    mean: float
    judge: str
    mark: str = ""
