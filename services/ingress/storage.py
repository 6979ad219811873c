"""What a bucket tells: a manifest was written, so a checkpoint is whole. Read from the store, said as ours.

Google's `google.cloud.storage.object.v1.finalized`, as Eventarc or a bucket's own notifications deliver it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from events.checkpoint_written import CheckpointWritten
from events.parts import Artifact, ModelVersion, Origin
from services.ingress import notification
from shared import places
from shared.errors import Retry
from shared.podkit import manifests
from shared.podkit.manifests import Manifest
from shared.ports.artifacts import Artifacts
from shared.ports.store import Store

FINALIZED = f"{notification.PREFIX}finalized"
NAME = "checkpoint-written"


class NotOurs(Exception):
    """The object is none that says anything to us; that is no fault."""


class Mistaken(Exception):
    """The notification cannot be right; the message says why."""


class _Object(msgspec.Struct):
    bucket: str
    name: str


class _Result(msgspec.Struct):
    metrics: dict[str, float] = {}
    runtime: dict[str, str] = {}


class _Started(msgspec.Struct):
    """The part of a run's `training-started` that a final checkpoint repeats."""

    model: ModelVersion
    origin: Origin


def translate(raw: Mapping[str, Any], store: Store, artifacts: Artifacts) -> CheckpointWritten:
    """The checkpoint that a notification tells of.

    Raises NotOurs, Mistaken, and Retry where the store does not yet show what the notification says.
    """
    if raw["type"] != FINALIZED:
        raise NotOurs(f"{raw['type'][:100]} says nothing of an object that was written")
    try:
        told = msgspec.convert(raw.get("data"), _Object)
    except msgspec.ValidationError as error:
        raise Mistaken(f"data is no storage object: {error}") from error
    found = places.MANIFEST.fullmatch(told.name)
    if found is None:
        raise NotOurs(f"{told.name[:200]} is no manifest of a checkpoint")
    folder, run, step = found[1], found["run"], found["step"]
    prefix = f"{folder}/{found['part']}"
    place = artifacts.uri(f"{prefix}/{manifests.NAME}")
    if place.startswith("gs://") and place != f"gs://{told.bucket}/{told.name}":
        raise NotOurs(f"gs://{told.bucket}/{told.name[:200]} is not in our artifact store")
    manifest, digest = _manifest(artifacts, prefix)
    _fits(manifest, run, step)
    started = _started(store, run)
    if started and found["tenant"] not in (None, started.model.tenant):
        raise Mistaken(
            f"run {run} is of {started.model.tenant}, and these weights lie with {found['tenant']}"
        )
    written = CheckpointWritten(
        run_id=run,
        step=manifest.step,
        final=manifest.final,
        artifact=Artifact(
            uri=artifacts.uri(prefix),
            manifest_digest=digest,
            kind=manifest.kind,
            base_model=manifest.base_model,
            base_digest=manifest.base_digest,
            base_revision=manifest.base_revision,
            size=manifest.size,
        ),
    )
    return _whole(written, started, artifacts, folder) if manifest.final else written


def _manifest(artifacts: Artifacts, prefix: str) -> tuple[Manifest, str]:
    loaded = manifests.load(artifacts, prefix)
    if loaded is None:
        raise Retry(f"{prefix}/{manifests.NAME} cannot be read yet")
    there = set(artifacts.list(f"{prefix}/"))
    missing = [file.path for file in loaded[0].files if f"{prefix}/{file.path}" not in there]
    if missing:
        raise Mistaken(f"{prefix}: its manifest names files that are not there: {', '.join(missing[:10])}")
    return loaded


def _fits(manifest: Manifest, run: str, step: str | None) -> None:
    said = (manifest.run_id, manifest.final, manifest.step if step is not None else None)
    if said != (run, step is None, int(step) if step is not None else None):
        raise Mistaken(f"the manifest is of run {manifest.run_id}, step {manifest.step}, and lies elsewhere")


def _started(store: Store, run: str) -> _Started | None:
    told = store.load(f"runs/{run}").data.get("started")
    return msgspec.convert(told, _Started) if told else None


def _whole(
    written: CheckpointWritten, started: _Started | None, artifacts: Artifacts, folder: str
) -> CheckpointWritten:
    """A final checkpoint also says whose it is and what was measured, as its pod would."""
    if started is None:
        raise Mistaken(f"no run {written.run_id} was started here, so its weights belong to no model")
    try:
        result = msgspec.json.decode(artifacts.read(f"{folder}/result.json"), type=_Result)
    except (FileNotFoundError, msgspec.DecodeError):
        result = _Result()
    return msgspec.structs.replace(
        written,
        model=started.model,
        origin=started.origin,
        metrics=result.metrics,
        runtime=result.runtime,
    )
