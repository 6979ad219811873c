"""What a gateway saw of a model in one window of time: said while a canary is under way, or may fall asleep.

said by: the gateway · heard by: deployment · subject: releases/<model_id>

Its id follows from gateway, model, mark and window, so that a window counts once; several gateways add up.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

NAME = "traffic-measured"

# Upper bounds of the slots of every histogram, seconds, 40 % apart; one more slot holds what is above.
BOUNDS = (
    0.005, 0.007, 0.0098, 0.0137, 0.0192, 0.0269, 0.0376, 0.0527, 0.0738, 0.103,
    0.145, 0.202, 0.283, 0.397, 0.556, 0.778, 1.09, 1.52, 2.13, 2.99,
    4.18, 5.86, 8.2, 11.5, 16.1, 22.5, 31.5, 44.1, 61.7, 86.4,
    121, 169, 237, 332,
)  # fmt: skip


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Of one version. errors: requests that its engine failed; what a client did wrong is none.

    ttft: how many answers had their first byte within each of BOUNDS; latency: their last.
    """

    requests: int = 0
    errors: int = 0
    ttft: tuple[int, ...] = ()
    latency: tuple[int, ...] = ()


class TrafficMeasured(msgspec.Struct, frozen=True, kw_only=True):
    """gateway: which one saw it. mark: `<rollout>.<step>` of the split that these requests were routed by, empty
    where none was under way. in_flight: requests that were still being answered.
    """

    model_id: str
    gateway: str
    mark: str
    since: datetime
    until: datetime
    versions: dict[str, Figures]
    in_flight: int = 0
