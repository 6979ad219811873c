"""What our objects are called and labelled, by which they are found again."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec

from shared.errors import Reject
from shared.identity import content_digest
from shared.kubernetes.settings import KubernetesSettings
from shared.ports.cluster import Workload

Object = dict[str, Any]

RECOMMENDED = "app.kubernetes.io/"
OURS = "kuznia.dev/"
WORKLOAD = OURS + "workload"
TENANT = OURS + "tenant"
KEY_DIGEST = OURS + "key-digest"
DIGEST = OURS + "spec-digest"
DOCUMENT = OURS + "document"
KEY = OURS + "key"
OWNER = OURS + "owner"
_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_TAG = re.compile(r"(?:@sha256:([0-9a-f]{12})[0-9a-f]*|:([\w][\w.-]{0,62}))$")
_TENANT = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")


def tenant_of(workload: Workload) -> str:
    """Whose it is. Raises Reject: what belongs to nobody has no namespace."""
    tenant = workload.labels.get("tenant", "")
    if not _TENANT.fullmatch(tenant):
        raise Reject(f"workload {workload.name!r}: labels.tenant is {tenant!r}; it should be a tenant's name")
    return tenant


def labels(workload: Workload, image: str) -> dict[str, str]:
    """Of the main object and its pods. What no label may be (a model's key) is an annotation instead."""
    found = _TAG.search(image)
    recommended = {
        "name": f"kuznia-{workload.service}",
        "instance": workload.name,
        "version": ((found[1] or found[2]) if found else "").strip("._-"),
        "component": workload.service,
        "part-of": "kuznia",
        "managed-by": "kuznia",
    }
    own = {WORKLOAD: workload.name, OURS + "service": workload.service, KEY_DIGEST: key_digest(workload.key)}
    told = {OURS + name: value for name, value in workload.labels.items() if _VALUE.fullmatch(value)}
    return {RECOMMENDED + name: value for name, value in recommended.items() if value} | told | own


def notes(workload: Workload) -> dict[str, str]:
    """Of the main object: what a person looks for, and all that a watch must say of it."""
    told = {OURS + name: value for name, value in workload.labels.items() if not _VALUE.fullmatch(value)}
    own = {
        DIGEST: spec_digest(workload),
        KEY: workload.key,
        OWNER: owner(workload),
        OURS + "run": str(workload.document.get("run_id", "")),
        OURS + "cause": str(workload.document.get("cause", "")),
        OURS + "traceparent": str(workload.document.get("traceparent", "")),
    }
    return told | {name: value for name, value in own.items() if value}


def metadata(workload: Workload, settings: KubernetesSettings) -> Object:
    """Of the main object. Raises Reject (no tenant)."""
    return {
        "name": workload.name,
        "namespace": settings.namespace_of(tenant_of(workload), workload.kind),
        "labels": labels(workload, image_of(workload, settings)),
        "annotations": notes(workload),
    }


def selector(workload: Workload) -> dict[str, str]:
    """What selects the pods of this workload, and nobody else's."""
    return {WORKLOAD: workload.name}


def of_jobs(tenant: str) -> dict[str, str]:
    """What selects all pods that we make for a tenant in one namespace: the policy of the network is theirs."""
    return {RECOMMENDED + "part-of": "kuznia", RECOMMENDED + "managed-by": "kuznia", TENANT: tenant}


def image_of(workload: Workload, settings: KubernetesSettings) -> str:
    """What it runs in."""
    return settings.engine_image if workload.kind == "server" else settings.trainer_image


def owner(workload: Workload) -> str:
    """Who answers for it, as `model.yaml` says; empty where the document does not tell."""
    manifest = (workload.document.get("origin") or {}).get("manifest") or {}
    return str(manifest.get("owner", ""))


def key_digest(key: str) -> str:
    """A record's key as a label: 16 hex digits."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def spec_digest(workload: Workload) -> str:
    """Equal for equal workloads, whatever the settings were when they were applied. Raises Reject."""
    return content_digest(encoded(workload, workload))


def encoded(workload: Workload, part: object) -> bytes:
    """JSON of the workload, or of a part of it; equal for equal parts. Raises Reject where it is none."""
    try:
        return msgspec.json.encode(part, order="deterministic")
    except (TypeError, ValueError) as error:
        raise Reject(
            f"workload {workload.name!r}: its document is not made of JSON types: {error}"
        ) from error
