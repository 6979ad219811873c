"""The evaluation set of an experiment, as pods get it: out of its folder, or by the URL that stands there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from events.parts import Source
from shared import places
from shared.evaluation.rows import EvaluationSet, read
from shared.experiment.locations import is_location, sha256_of
from shared.podkit import repository
from shared.podkit.data import Desk, Wanted
from shared.podkit.patience import Patience
from shared.podkit.ports import PodPorts

MOST_BYTES = 256 * 1024 * 1024  # of a set, which is read whole


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """key: `<model_id>@<version>`, for which a URL is pinned: whoever asks of this version reads the same rows.

    evaluation: that part of `model.yaml`. work: folder of the pod's files. check: may raise, between steps.
    """

    key: str
    source: Source
    evaluation: Mapping[str, Any]
    work: Path
    check: Callable[[], None]


def questions(asked: Asked, ports: PodPorts) -> EvaluationSet:
    """Its rows. Raises Reject (not there, not allowed, bad rows), Retry, OSError."""
    folder, cache = asked.work / "experiment", ports.settings.home / "git"
    Patience().insist("fetching the experiment", lambda: repository.checkout(asked.source, cache, folder))
    name = str(asked.evaluation.get("set", "")).strip()
    if not is_location(name):
        return read(folder / name, name)
    place = places.of_evaluation(asked.key)
    desk = Desk(artifacts=ports.artifacts, place=place, folder=asked.work / "data", check=asked.check)
    digest = sha256_of(asked.evaluation.get("sha256")) or ""
    return read(desk.bring(Wanted(url=name, sha256=digest, most=MOST_BYTES)).path, name)
