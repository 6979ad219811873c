"""What the Kubernetes cluster needs to know, from `KUZNIA_K8S_*`; every fault is told at once."""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Mapping, Sequence

import msgspec

from shared.settings import SettingsError

PREFIX = "KUZNIA_K8S_"
LEAST_TTL = 600  # seconds in which a platform that was restarted sees what has ended
ORCHESTRATORS = ("job", "argo")
RELEASES = ("plain", "helm", "gitops")
_FLAGS: Mapping[str, bool] = {"0": False, "false": False, "no": False, "1": True, "true": True, "yes": True}
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_IMAGE = re.compile(r"[a-z0-9][a-z0-9._/:@-]*", re.IGNORECASE)
_OURS = re.compile(r"KUZNIA_(?!K8S_|HOME$|HOST$|PORT$|GATEWAY_PORT$|CLUSTER$|SERVICES$)")
# Whoever may look at a pod reads its variables: what is a secret comes from a Secret, or not at all.
_SECRET = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|PRIVATE_?KEY")
_PASSED = frozenset(
    {
        "GOOGLE_CLOUD_PROJECT",
        "HF_ENDPOINT",
        "HF_HUB_OFFLINE",
        "PUBSUB_EMULATOR_HOST",
        "FIRESTORE_EMULATOR_HOST",
        "STORAGE_EMULATOR_HOST",
    }
)


class KubernetesSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Each field is the variable KUZNIA_K8S_<FIELD>.

    url: of an API server without TLS or identity, such as `kubectl proxy` (empty: KUBECONFIG and `context`,
    or the pod's own service account). namespace, server_namespace, service_account: patterns, in which
    `{tenant}` stands for the tenant. platform_namespace: where it is written down what runs.
    trainer_image, engine_image: what jobs and servers run in.
    accelerator: value of the node label cloud.google.com/gke-accelerator. queue: Kueue's LocalQueue.
    ttl_seconds: how long a finished Job stays; keep_seconds: how long its verdict and the tail of its output do.
    unschedulable_seconds: how long a pod waits for a node that nobody makes before its workload has failed.
    releases: who makes servers: `plain` Deployments of ours, `helm`, or `gitops` (commits to a repository).
    address: where a server is spoken to: its Service's name (`service`), or the address of its pod (`pod`).
    priority_class: pattern, in which `{priority}` stands for that of the run (low, normal, high).
    hf_secret: Secret of the tenant's namespace whose key `token` opens the model hub. git_secret: one whose keys
    `.gitconfig` and `.git-credentials` open the repositories of experiments to jobs. network_policy: whether jobs
    and plain servers get one; egress: networks (CIDR, with commas) that they may ask by HTTPS besides the public
    ones, such as the control plane's, to which Argo's own container in a pod speaks.
    executor_account: service account of Argo's own container in a pod.
    environment: variables that pods get besides their own.
    """

    url: str = ""
    context: str = ""
    namespace: str = "{tenant}"
    server_namespace: str = "{tenant}-api"
    service_account: str = "trainer"
    server_service_account: str = "engine"
    platform_namespace: str = "kuznia"
    trainer_image: str = ""
    engine_image: str = ""
    image_pull_secret: str = ""
    accelerator: str = ""
    spot: bool = False
    queue: str = ""
    priority_class: str = ""
    hf_secret: str = ""
    git_secret: str = ""
    network_policy: bool = True
    egress: str = ""
    executor_account: str = "executor"
    runtime_class: str = ""
    scratch_gib: int = 100
    ttl_seconds: int = 86_400
    keep_seconds: int = 30 * 86_400
    unschedulable_seconds: int = 3600
    request_seconds: float = 30
    watch_seconds: float = 300
    orchestrator: str = "job"
    releases: str = "plain"
    address: str = "service"
    port: int = 8000
    chart: str = ""
    chart_values: str = ""
    gitops_repository: str = ""
    gitops_branch: str = "main"
    gitops_path: str = "releases"
    environment: dict[str, str] = {}

    def namespace_of(self, tenant: str, kind: str) -> str:
        """Where a tenant's jobs or servers run."""
        return (self.server_namespace if kind == "server" else self.namespace).replace("{tenant}", tenant)

    @property
    def networks(self) -> list[str]:
        """`egress`, one by one."""
        return [text.strip() for text in self.egress.split(",") if text.strip()]


_FIELDS: Mapping[str, msgspec.structs.FieldInfo] = {
    field.name: field for field in msgspec.structs.fields(KubernetesSettings)
}
_CHOICES: Mapping[str, Sequence[str]] = {
    "orchestrator": ORCHESTRATORS,
    "releases": RELEASES,
    "address": ("service", "pod"),
}
_PATTERNS = (
    "namespace",
    "server_namespace",
    "service_account",
    "server_service_account",
    "platform_namespace",
)
_IMAGES = ("trainer_image", "engine_image")


def from_environment(environ: Mapping[str, str] = os.environ) -> KubernetesSettings:
    """Settings of the Kubernetes cluster. Raises SettingsError with one line a fault."""
    faults: list[str] = _unknown(environ)
    values: dict[str, object] = {"environment": _passed_on(environ)}
    for name, field in _FIELDS.items():
        text = environ.get(_variable(name), "")
        if text and name != "environment":
            values[name] = _read(_variable(name), text, field.type, faults)
    settings = KubernetesSettings(**values)  # type: ignore[arg-type]
    faults += _faults(settings)
    if faults:
        raise SettingsError("\n".join(faults))
    return settings


def _unknown(environ: Mapping[str, str]) -> list[str]:
    known = {_variable(name) for name in _FIELDS if name != "environment"}
    return [
        f"{name} is no setting; there are {', '.join(sorted(known))}"
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in known
    ]


def _read(variable: str, text: str, kind: object, faults: list[str]) -> object:
    if kind is bool:
        if text.lower() not in _FLAGS:
            faults.append(f"{variable} is {text!r}; it should be 1 or 0")
        return _FLAGS.get(text.lower(), False)
    if kind in (int, float):
        return _number(variable, text, kind, faults)
    return text


def _number(variable: str, text: str, kind: object, faults: list[str]) -> float:
    try:
        number = int(text) if kind is int else float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number <= 0:
        faults.append(
            f"{variable} is {text!r}; it should be a {'whole ' if kind is int else ''}number above 0"
        )
        return 1
    return number


def _faults(settings: KubernetesSettings) -> list[str]:
    found = []
    for name, choices in _CHOICES.items():
        chosen = getattr(settings, name)
        if chosen not in choices:
            found.append(f"{_variable(name)} is {chosen!r}; it should be {' or '.join(choices)}")
    for name in _PATTERNS:
        pattern = getattr(settings, name)
        if not _LABEL.fullmatch(pattern.replace("{tenant}", "t")):
            found.append(
                f"{_variable(name)} is {pattern!r}; it should be a DNS label, in which {{tenant}} may stand"
            )
    found += [
        f"{_variable(name)} is {image!r}; it should be an image such as europe-docker.pkg.dev/p/kuznia/trainer:1"
        for name in _IMAGES
        if (image := getattr(settings, name)) and not _IMAGE.fullmatch(image)
    ]
    found += [
        f"{_variable('egress')} has {text!r}; it should be networks such as 10.8.0.0/16, with commas"
        for text in settings.networks
        if not _is_network(text)
    ]
    if settings.ttl_seconds < LEAST_TTL:
        found.append(
            f"{_variable('ttl_seconds')} is {settings.ttl_seconds}; it should be {LEAST_TTL} at least: what is cleared"
            " away before its end was seen counts as vanished"
        )
    return found + _missing(settings)


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def _missing(settings: KubernetesSettings) -> list[str]:
    needed = {"trainer_image": "jobs run in it"}
    if settings.releases == "plain":
        needed["engine_image"] = "plain servers run in it"
    else:
        needed["chart"] = f"{settings.releases} releases install it"
    if settings.releases == "gitops":
        needed["gitops_repository"] = "releases are committed to it"
    return [
        f"{_variable(name)} is not set; {why}" for name, why in needed.items() if not getattr(settings, name)
    ]


def _passed_on(environ: Mapping[str, str]) -> dict[str, str]:
    named = (name for name in sorted(environ) if name in _PASSED or _OURS.match(name))
    return {name: environ[name] for name in named if not _SECRET.search(name)}


def _variable(name: str) -> str:
    return PREFIX + name.upper()
