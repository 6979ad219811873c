"""Deterministic names. Whatever is made twice is made under the same name, which is what makes twice harmless."""

from __future__ import annotations

import hashlib
import re
import uuid

NAMESPACE = uuid.UUID("6b1f3c9e-7c1b-5a55-9f0e-2f6b6f5d7a10")
_UNSAFE = re.compile(r"[^a-z0-9-]+")
MAX_NAME = 63  # DNS label, RFC 1123: what Kubernetes takes as the name of a Job or a Service


def event_id(cause: str, name: str, discriminator: str = "") -> str:
    """Id of the event `name` that answers `cause`; the same three words give the same id."""
    return str(uuid.uuid5(NAMESPACE, f"{cause}\n{name}\n{discriminator}"))


def run_id(repository: str, experiment: str, tree: str) -> str:
    """`r-` and 16 hex digits: one run for one content of one folder, whoever pushed it, however often."""
    return "r-" + hashlib.sha256(f"{repository}\n{experiment}\n{tree}".encode()).hexdigest()[:16]


def model_id(tenant: str, name: str, version: str) -> str:
    """`<tenant>.<name>.v<major>`; a version that is no semver (a commit) counts as major 0."""
    major = version.split(".", 1)[0] if re.fullmatch(r"\d+\.\d+\.\d+.*", version) else "0"
    return f"{tenant}.{name}.v{major}"


def workload_name(*parts: str) -> str:
    """A DNS label from the parts: readable, at most 63 characters, unique by a digest when it must be cut.

    >>> workload_name("train", "r-0123456789abcdef")
    'train-r-0123456789abcdef'
    """
    whole = "-".join(parts)
    label = _UNSAFE.sub("-", whole.lower()).strip("-")
    if label == whole and len(label) <= MAX_NAME:
        return label
    digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return f"{label[: MAX_NAME - 9].strip('-')}-{digest}".lstrip("-")


def content_digest(content: bytes) -> str:
    """`sha256:<hex>`."""
    return "sha256:" + hashlib.sha256(content).hexdigest()
