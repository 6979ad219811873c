"""What `benchmarks.hotload` says of a version: it is registered, it passed, it has a card."""

from __future__ import annotations

from datetime import datetime

from events.card_rendered import CardRendered
from events.catalog import encode, name_of
from events.envelope import Event
from events.model_registered import ModelRegistered
from events.model_validated import ModelValidated
from events.parts import Artifact, ModelVersion, Origin, Source
from shared.identity import event_id

TENANT, MODEL_ID, RANK = "team-x", "team-x.hotload.v1", 16
SOURCE = Source(
    repository="bench",
    url="https://git.example/bench.git",
    experiment="hotload",
    commit="4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    tree="9daeafb9864cf43055ae93beb0afd6c7d144bfa4",
)


def registration(version: str, artifact: Artifact, now: datetime) -> list[Event]:
    """All that a version needs before it may answer, at one moment."""
    model = ModelVersion(model_id=MODEL_ID, version=version, tenant=TENANT, run_id="r-0000000000000000")
    config = {"model_name_or_path": artifact.base_model, "template": "chatml", "lora_rank": RANK}
    manifest = {"risk_class": "MINIMAL_RISK", "deployment": {"engine": "vllm", "approval": "auto"}}
    origin = Origin(source=SOURCE, config=config, manifest=manifest)
    said = (
        ModelRegistered(model=model, artifact=artifact, origin=origin, registered_at=now),
        ModelValidated(
            model=model,
            artifact=artifact,
            passed=True,
            metrics={},
            baseline={},
            gates=(),
            report="",
            report_digest="",
        ),
        CardRendered(
            model=model,
            manifest_digest=artifact.manifest_digest,
            markdown="",
            document="",
            digest="sha256:card",
            completeness=1.0,
            missing=(),
        ),
    )
    return [
        Event(
            id=event_id(f"{MODEL_ID}@{version}", name_of(payload)),
            name=name_of(payload),
            source="/bench",
            subject=f"models/{MODEL_ID}@{version}",
            time=now,
            data=encode(payload),
        )
        for payload in said
    ]
