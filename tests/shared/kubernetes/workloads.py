"""Workloads as the services apply them, for tests of what becomes of them in Kubernetes."""

from __future__ import annotations

from typing import Any

from events.catalog import encode
from shared.kubernetes.settings import KubernetesSettings
from shared.ports.cluster import Limits, Workload
from tests.services.words import RUN, started

GIB = 1024**3
GPU = {"gpu": "nvidia-l4", "gpus": 1, "memory_gb": 24, "hours": 6, "spot": True}


def training(**resources: Any) -> Workload:
    """The training job of a run whose model.yaml asks for these resources, as `services.training.effects` makes it."""
    wanted = started(resources=resources)
    document = {
        "run_id": RUN,
        "job": wanted.job,
        "model": encode(wanted.model),
        "origin": encode(wanted.origin),
        "resources": resources,
        "cause": "e-1",
        "traceparent": "00-trace",
    }
    limits = Limits(
        memory_bytes=int(resources.get("memory_gb", 0) * GIB),
        deadline_seconds=resources.get("hours", 0) * 3600,
    )
    return Workload(
        name=wanted.job,
        service="training",
        key=f"runs/{RUN}",
        kind="job",
        module="services.training.pod",
        document=document,
        limits=limits,
        labels={"tenant": wanted.model.tenant, "run": RUN},
    )


def settings(**changed: Any) -> KubernetesSettings:
    told = {
        "trainer_image": "registry.example/kuznia-trainer:0.1.0",
        "engine_image": "registry.example/kuznia-engine:0.1.0",
        "environment": {"KUZNIA_PROFILE": "gcp", "GOOGLE_CLOUD_PROJECT": "p", "KUZNIA_ARTIFACTS": "gs://b"},
    }
    return KubernetesSettings(**{**told, **changed})
