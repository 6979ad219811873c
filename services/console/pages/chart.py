"""The loss curve as points of an SVG, drawn by the server."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from services.console.schemas.runs import Loss

WIDTH, HEIGHT = 640, 160
MARGIN = 8
MAX_POINTS = 320


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """points: of a polyline. The rest labels the axes."""

    points: str
    lowest: float
    highest: float
    first_step: int
    last_step: int
    width: int = WIDTH
    height: int = HEIGHT


def loss_chart(losses: Sequence[Loss]) -> Chart | None:
    """A curve from at least two points, thinned to what a screen can show; else None."""
    if len(losses) < 2:
        return None
    stride = -(-len(losses) // MAX_POINTS)
    shown = [*losses[:-1:stride], losses[-1]]
    lowest, highest = min(loss.loss for loss in shown), max(loss.loss for loss in shown)
    first, last = shown[0].step, shown[-1].step
    points = (
        f"{_place(loss.step, first, last, WIDTH):.1f},{HEIGHT - _place(loss.loss, lowest, highest, HEIGHT):.1f}"
        for loss in shown
    )
    return Chart(points=" ".join(points), lowest=lowest, highest=highest, first_step=first, last_step=last)


def _place(value: float, low: float, high: float, size: int) -> float:
    share = (value - low) / (high - low) if high > low else 0.5
    return MARGIN + share * (size - 2 * MARGIN)
