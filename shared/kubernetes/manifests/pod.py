"""The pod: the same one in a Job, a JobSet, a Workflow and a Deployment."""

from __future__ import annotations

import math
from typing import Any

from shared.errors import Reject
from shared.kubernetes.manifests import labels
from shared.kubernetes.manifests.labels import DOCUMENT, Object, image_of, tenant_of
from shared.kubernetes.manifests.needs import (
    SHARE_OF_SHM,
    SPOT_GRACE,
    Needs,
    placement,
    quantity,
    resources,
    scratch,
)
from shared.kubernetes.settings import KubernetesSettings
from shared.ports.cluster import Workload

CONTAINER = "main"  # what Argo calls it too
USER = 10001  # of our images
FOLDER, FILE = "/etc/kuznia", "document.json"
HOME = "/var/lib/kuznia"
GIT = "/etc/kuznia-git"  # where git looks besides its home, which is the pod's own and empty
# Key of the Secret -> where git wants it.
_GIT_FILES = {".gitconfig": "git/config", ".git-credentials": "git/credentials"}
# What is written outside the home: downloads and caches, and the locks by which pods of one machine share cores.
_SCRATCH = {"tmp": "/tmp", "home": HOME, "cores": "/opt/cache/kuznia/cores"}  # noqa: S108 - of the pod alone
_MODELS = {"models": "/opt/cache/kuznia/models"}  # in the image; or fetched, where the hub may be asked
_YES = frozenset({"1", "true", "yes", "on"})
_LARGEST_DOCUMENT = 200_000  # bytes; all annotations of an object together may have 262144


def template(workload: Workload, settings: KubernetesSettings, needs: Needs) -> Object:
    """A pod template. Raises Reject where the document is too large to travel with it."""
    image = image_of(workload, settings)
    spec: Object = {
        "serviceAccountName": account(workload, settings),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace(workload, needs),
        "securityContext": security(),
        **placement(needs),
        "containers": [container(workload, settings, needs)],
        "volumes": volumes(settings, needs) + git_files(workload, settings),
    }
    named = {"priorityClassName": priority(workload, settings), "runtimeClassName": settings.runtime_class}
    spec |= {name: value for name, value in named.items() if value}
    if settings.image_pull_secret:
        spec["imagePullSecrets"] = [{"name": settings.image_pull_secret}]
    metadata = {"labels": labels.labels(workload, image), "annotations": notes(workload)}
    return {"metadata": metadata, "spec": spec}


def notes(workload: Workload) -> dict[str, str]:
    """Of the pod: what it is told, which it reads as a file. One object holds all, so it is made whole or not."""
    text = document(workload)
    told = labels.notes(workload) | {DOCUMENT: text}
    if workload.kind == "job":  # else a node that is nearly empty is taken away under a training of days
        told["cluster-autoscaler.kubernetes.io/safe-to-evict"] = "false"
    return told


def document(workload: Workload) -> str:
    """The workload's document as JSON. Raises Reject where it is none, or too large."""
    text = labels.encoded(workload, workload.document).decode()
    size = len(text.encode())
    if size > _LARGEST_DOCUMENT:
        raise Reject(
            f"workload {workload.name!r}: its document has {size} bytes; {_LARGEST_DOCUMENT} fit into a pod's"
            " annotation. Shorten config.yaml or model.yaml"
        )
    return text


def container(workload: Workload, settings: KubernetesSettings, needs: Needs) -> Object:
    """The one container. Its image's entrypoint (tini) stays: it passes signals on."""
    return {
        "name": CONTAINER,
        "image": image_of(workload, settings),
        "imagePullPolicy": "IfNotPresent",
        "args": ["python", "-m", workload.module],
        "env": environment(settings) + git_home(workload, settings),
        "resources": resources(needs, settings),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # The end of its output, where it ends badly: so that a cause outlives the pod's log.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "document", "mountPath": FOLDER, "readOnly": True},
            *({"name": name, "mountPath": path} for name, path in disks(settings).items()),
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - of the pod alone
            *([{"name": "git", "mountPath": GIT, "readOnly": True}] if reads_git(workload, settings) else []),
        ],
    }


def environment(settings: KubernetesSettings) -> list[Object]:
    """Variables of the pod: what the platform passes on, and what only this cluster knows."""
    told = {"HF_HUB_OFFLINE": "0", **settings.environment}
    told |= {"KUZNIA_HOME": HOME, "KUZNIA_POD": f"{FOLDER}/{FILE}", "PYTHONUNBUFFERED": "1"}
    found: list[Object] = [{"name": name, "value": value} for name, value in sorted(told.items())]
    found.append(variable_of("KUZNIA_INSTANCE", "metadata.uid"))
    if settings.hf_secret:
        key = {"name": settings.hf_secret, "key": "token"}
        found.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": key}})
    return found


def variable_of(name: str, path: str) -> Object:
    """A variable that holds what the pod's own object says."""
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def volumes(settings: KubernetesSettings, needs: Needs) -> list[Object]:
    """The document; disk of the pod's own; and memory by which processes of several GPUs and loaders speak."""
    item = {"path": FILE, "fieldRef": {"fieldPath": f"metadata.annotations['{DOCUMENT}']"}}
    room = quantity(scratch(needs, settings))
    found: list[Object] = [{"name": name, "emptyDir": {"sizeLimit": room}} for name in disks(settings)]
    shm = {"medium": "Memory", "sizeLimit": quantity(needs.memory // SHARE_OF_SHM)}
    return [
        {"name": "document", "downwardAPI": {"items": [item]}},
        *found,
        {"name": "shm", "emptyDir": shm},
    ]


def reads_git(workload: Workload, settings: KubernetesSettings) -> bool:
    """Whether it fetches an experiment of a repository that asks who it is. Engines load weights, and no experiment."""
    return bool(settings.git_secret) and workload.kind == "job"


def git_home(workload: Workload, settings: KubernetesSettings) -> list[Object]:
    """The variable by which git finds its files."""
    return [{"name": "XDG_CONFIG_HOME", "value": GIT}] if reads_git(workload, settings) else []


def git_files(workload: Workload, settings: KubernetesSettings) -> list[Object]:
    """The volume with git's files: a token in a file, which a variable would show to whoever may look at the pod."""
    if not reads_git(workload, settings):
        return []
    items = [{"key": key, "path": path} for key, path in _GIT_FILES.items()]
    secret = {"secretName": settings.git_secret, "items": items, "defaultMode": 0o440}
    return [{"name": "git", "secret": secret}]


def disks(settings: KubernetesSettings) -> dict[str, str]:
    """What the pod may write to: name of the volume -> where it is mounted."""
    offline = settings.environment.get("HF_HUB_OFFLINE", "0").lower() in _YES
    return _SCRATCH if offline else _SCRATCH | _MODELS


def security() -> dict[str, Any]:
    """Of the pod: no root, no system call that the runtime does not know as harmless."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def account(workload: Workload, settings: KubernetesSettings) -> str:
    """The service account, which carries the tenant's identity at the cloud."""
    pattern = settings.server_service_account if workload.kind == "server" else settings.service_account
    return pattern.replace("{tenant}", tenant_of(workload))


def priority(workload: Workload, settings: KubernetesSettings) -> str:
    """The PriorityClass, by which Kueue orders its queue too; empty for the cluster's default."""
    resources = workload.document.get("resources") or {}
    return settings.priority_class.replace("{priority}", str(resources.get("priority") or "normal"))


def grace(workload: Workload, needs: Needs) -> int:
    """Whole seconds between SIGTERM and SIGKILL; a spot machine leaves no more than it leaves."""
    wanted = math.ceil(workload.limits.grace_seconds)
    return min(wanted, SPOT_GRACE) if needs.spot else wanted
