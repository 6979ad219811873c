"""`python -m infra.examples`: writes docs/examples, what Kubernetes is asked for, from the code that asks.

`--check` writes nothing and ends with 1 where a file is not what it would write.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from shared.kubernetes.manifests import manifests
from shared.kubernetes.settings import KubernetesSettings
from shared.ports.cluster import Limits, Workload

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "examples"
RUN = "r-0123456789abcdef"
GIB = 1024**3

SETTINGS = KubernetesSettings(
    trainer_image="europe-west4-docker.pkg.dev/my-kuznia-project/kuznia/trainer:0.1.0",
    engine_image="europe-west4-docker.pkg.dev/my-kuznia-project/kuznia/engine:0.1.0",
    hf_secret="hf-token",
    environment={
        "GOOGLE_CLOUD_PROJECT": "my-kuznia-project",
        "KUZNIA_ARTIFACTS": "gs://my-kuznia-project-kuznia-artifacts",
        "KUZNIA_PROFILE": "gcp",
    },
)
RESOURCES = {
    "gpu": "nvidia-l4",
    "gpus": 1,
    "nodes": 1,
    "spot": True,
    "memory_gb": 24,
    "disk_gb": 100,
    "hours": 6,
}
SEVERAL = {**RESOURCES, "gpu": "nvidia-h100-80gb", "gpus": 8, "nodes": 4, "memory_gb": 512, "spot": False}


class Plain(yaml.SafeDumper):
    """Says again what is there twice: a person reads it."""

    def ignore_aliases(self, _data: Any) -> bool:
        """Never an anchor."""
        return True


def workload(resources: Mapping[str, Any]) -> Workload:
    """A training job as `services/training/effects.py` applies it, of an experiment in short."""
    source = {
        "repository": "experiments",
        "url": "https://git.example/experiments.git",
        "experiment": "experiments/llm-qa",
        "commit": "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
        "tree": "9daeafb9864cf43055ae93beb0afd6c7d144bfa4",
    }
    manifest = {"name": "llm-qa", "tenant": "team-x", "owner": "Support Engineering", "version": "1.0.0"}
    config = {"model_name_or_path": "meta-llama/Llama-3-8B", "finetuning_type": "lora", "template": "llama3"}
    model = {"model_id": "team-x.llm-qa.v1", "version": "1.0.0", "tenant": "team-x", "run_id": RUN}
    return Workload(
        name=f"train-{RUN}",
        service="training",
        key=f"runs/{RUN}",
        kind="job",
        module="services.training.pod",
        document={
            "run_id": RUN,
            "job": f"train-{RUN}",
            "model": model,
            "origin": {"source": source, "config": config, "manifest": manifest},
            "resources": dict(resources),
            "cause": "5b0c2c1e-6a55-5d0e-9f0e-2f6b6f5d7a10",
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        },
        limits=Limits(
            memory_bytes=int(resources["memory_gb"] * GIB), deadline_seconds=resources["hours"] * 3600
        ),
        labels={"tenant": "team-x", "run": RUN},
    )


def examples() -> dict[str, str]:
    """Name of the file -> its content."""
    queued = changed(queue="gpus", priority_class="kuznia-{priority}")
    argo = changed(orchestrator="argo")
    return {
        "job.yaml": text("A training job on one spot GPU.", workload(RESOURCES), SETTINGS),
        "job-queued.yaml": text("The same, where Kueue gives out the GPUs.", workload(RESOURCES), queued),
        "jobset.yaml": text(
            "Four nodes of eight GPUs: torchrun, ranks from the index.", workload(SEVERAL), SETTINGS
        ),
        "workflow.yaml": text("The job of job.yaml as an Argo Workflow.", workload(RESOURCES), argo),
        "workflow-jobset.yaml": text(
            "The nodes of jobset.yaml, made by an Argo Workflow.", workload(SEVERAL), argo
        ),
    }


def changed(**fields: Any) -> KubernetesSettings:
    """The settings of the examples, but for these."""
    known = {name: getattr(SETTINGS, name) for name in SETTINGS.__struct_fields__}
    return KubernetesSettings(**{**known, **fields})


def text(what: str, example: Workload, settings: KubernetesSettings) -> str:
    """A file: what it is, then the documents."""
    head = f"# {what}\n# Made by `python -m infra.examples` from the code; a test compares. Do not edit.\n"
    documents = manifests(example, settings)
    return head + yaml.dump_all(
        documents, Dumper=Plain, sort_keys=False, allow_unicode=True, width=110, explicit_start=True
    )


def main(arguments: Sequence[str]) -> int:
    """0; 1 where --check finds a file stale."""
    wanted = examples()
    if "--check" not in arguments:
        FOLDER.mkdir(exist_ok=True)
        for name, content in wanted.items():
            (FOLDER / name).write_text(content, encoding="utf-8")
        return 0
    stale = [name for name, content in wanted.items() if not _is(FOLDER / name, content)]
    for name in stale:
        sys.stderr.write(f"docs/examples/{name} is stale. To mend: python -m infra.examples\n")
    return int(bool(stale))


def _is(path: Path, content: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == content


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
