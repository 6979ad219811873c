"""Where things lie in the artifact store: all that is of a tenant below one folder, by which rights are given.

`infra/terraform/storage.tf` lets a tenant's pods see just this folder; a test holds the two together.
Until 0.1 runs, evaluations and cards lay at the top. What a record or an event names is read where it lies.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from events.parts import ModelVersion

TENANTS = "tenants"
MANIFEST = re.compile(
    rf"(?:.*?/)??((?:{TENANTS}/(?P<tenant>[^/]+)/)?runs/(?P<run>r-[0-9a-f]{{16}}))"
    r"/(?P<part>final|checkpoints/step-(?P<step>\d+))/manifest\.json"
)


def of_tenant(tenant: str) -> str:
    """The one folder that its pods may write in."""
    return f"{TENANTS}/{tenant}"


def of_run(tenant: str, run_id: str) -> str:
    """Checkpoints, final weights, logs and the config of a run."""
    return f"{of_tenant(tenant)}/runs/{run_id}"


def of_evaluation(key: str) -> str:
    """Answers and report. key: `<model_id>@<version>`, which begins with the tenant."""
    return f"{of_tenant(key.partition('.')[0])}/evaluations/{key}"


def of_base_answers(key: str) -> str:
    """What base models answered, kept for later evaluations of the same tenant."""
    return f"{of_tenant(key.partition('.')[0])}/evaluations/base"


def of_card(model: ModelVersion) -> str:
    """The card of a version, for people and for programs."""
    return f"{of_tenant(model.tenant)}/cards/{model.model_id}/{model.version}"


def kept_elsewhere(run_id: str, checkpoints: list[Mapping[str, Any]]) -> str:
    """The folder of a run that began before 0.1 and goes on, from its checkpoints; empty for any other."""
    ours = re.compile(rf"(?:.*/)?{TENANTS}/[^/]+/runs/{run_id}/.*")
    began = any(not ours.fullmatch(str(known["uri"])) for known in checkpoints)
    return f"runs/{run_id}" if began else ""
