"""Whether manifests are right: strict schemas of several Kubernetes versions, and what no schema sees.

`faults(documents)` checks a whole set, as one would apply it: a Service is held against the pods of the set, a
scaler against its Deployment. Charts and code of ours are both held to it.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

from tests import kubernetes_pods as pods

VERSIONS = ("1.29", "1.31", "1.33", "1.35", "1.37")
CRDS = Path(__file__).parent / "crds"
CUSTOM = {
    "argoproj.io/v1alpha1/Application": "application_v1alpha1",
    "argoproj.io/v1alpha1/Workflow": "workflow_v1alpha1",
    "gateway.networking.k8s.io/v1/HTTPRoute": "httproute_v1",
    "jobset.x-k8s.io/v1alpha2/JobSet": "jobset_v1alpha2",
    "keda.sh/v1alpha1/ScaledObject": "scaledobject_v1alpha1",
    "monitoring.coreos.com/v1/PodMonitor": "podmonitor_v1",
    "monitoring.googleapis.com/v1/PodMonitoring": "podmonitoring_v1",
}
# No schema of these is here.
UNKNOWN = frozenset(
    {
        "monitoring.coreos.com/v1/ServiceMonitor",
        "networking.gke.io/v1/GCPBackendPolicy",
        "networking.gke.io/v1/HealthCheckPolicy",
    }
)
NEEDS = "kubernetes-validate and jsonschema: make env"
RECOMMENDED = ("name", "instance", "component", "part-of", "managed-by")
Document = Mapping[str, Any]

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?")
_ANNOTATIONS_MAX = 256 * 1024  # bytes, of one object
# Names of these may have dots; all others are DNS labels with us, as they become names of pods and hosts.
_DOTTED = frozenset({"ConfigMap", "Secret", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"})
_SERVICES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")


def available() -> bool:
    """Whether the validator is there; else a test is to be skipped by name, with NEEDS."""
    return importlib.util.find_spec("kubernetes_validate") is not None


def faults(
    documents: Sequence[Document], versions: Sequence[str] = VERSIONS, *, restricted: bool = True
) -> list[str]:
    """All that is wrong with the set, a line each. restricted: pods must keep Pod Security's `restricted` too."""
    found = [fault for document in documents for fault in schema_faults(document, versions)]
    if not found:  # what has not even its shape is not looked at more closely
        found = semantic_faults(documents, restricted=restricted)
    return list(dict.fromkeys(found))


@cache
def _of_kubernetes() -> Any:
    """The validator, here and not above so that a machine without it can skip by name; each schema is read once."""
    utils = importlib.import_module("kubernetes_validate.utils")
    utils.schema_contents, utils.all_versions = cache(utils.schema_contents), cache(utils.all_versions)
    return utils


def schema_faults(document: Document, versions: Sequence[str] = VERSIONS) -> Iterator[str]:
    """What its schema says, for each Kubernetes version; for a custom resource, the schema of its CRD."""
    kind = f"{document.get('apiVersion')}/{document.get('kind')}"
    if kind in CUSTOM:
        for error in _validator(CUSTOM[kind]).iter_errors(document):
            yield f"{title(document)}: {error.json_path}: {error.message[:300]}"
        return
    if kind in UNKNOWN:
        return
    kubernetes_validate = _of_kubernetes()
    for version in versions:
        try:
            kubernetes_validate.validate(dict(document), version, strict=True)
        except kubernetes_validate.ValidationError as error:
            path = ".".join(str(part) for part in error.path)
            yield f"{title(document)}: {path}: {error.message[:300]} (Kubernetes {version})"
        except kubernetes_validate.SchemaNotFoundError as error:
            yield f"{title(document)}: {error.message}"


@cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    schema = json.loads((CRDS / f"{name}.json").read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(_loosened(schema))


def _loosened(schema: Any) -> Any:
    """Where a CRD says so in its own words: a number or a string, and fields that nobody lists."""
    if isinstance(schema, list):
        return [_loosened(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    loose = {key: _loosened(value) for key, value in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        loose.pop("type", None)
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        loose.pop("additionalProperties", None)
    return loose


def semantic_faults(documents: Sequence[Document], *, restricted: bool = True) -> list[str]:
    """What no schema sees, a line each."""
    found = [f"{title(document)} is there twice" for document in _repeated(documents)]
    for document in documents:
        found += [f"{title(document)}: {fault}" for fault in _own_faults(document, restricted)]
        check = _BETWEEN.get(document["kind"])
        if check:
            found += [f"{title(document)}: {fault}" for fault in check(document, documents)]
    return found


def title(document: Document) -> str:
    """`Job team-x/train-r-1`."""
    metadata = document.get("metadata") or {}
    place = "/".join(filter(None, (metadata.get("namespace"), metadata.get("name"))))
    return f"{document.get('kind')} {place}"


def _repeated(documents: Sequence[Document]) -> list[Document]:
    seen = [(document["apiVersion"], title(document)) for document in documents]
    return [document for at, document in enumerate(documents) if seen[at] in seen[:at]]


def _own_faults(document: Document, restricted: bool) -> Iterator[str]:
    metadata = document["metadata"]
    name = metadata.get("name", "")
    pattern = _SUBDOMAIN if document["kind"] in _DOTTED else _LABEL
    if not pattern.fullmatch(name):
        yield f"name {name!r} is no DNS name of this kind"
    if metadata.get("namespace") and not _LABEL.fullmatch(metadata["namespace"]):
        yield f"namespace {metadata['namespace']!r} is no DNS label"
    yield from _metadata_faults(metadata, "metadata")
    missing = [
        word for word in RECOMMENDED if f"app.kubernetes.io/{word}" not in (metadata.get("labels") or {})
    ]
    if missing:
        yield f"label app.kubernetes.io/{'|'.join(missing)} is missing"
    for place, template in pods.templates(document):
        yield from _metadata_faults(template.get("metadata") or {}, f"{place}.metadata")
        yield from (f"{place}: {fault}" for fault in pods.faults(template, restricted=restricted))
    yield from pods.job_faults(document)


def _metadata_faults(metadata: Mapping[str, Any], place: str) -> Iterator[str]:
    for key, value in (metadata.get("labels") or {}).items():
        if not _KEY.fullmatch(key):
            yield f"{place}: label {key!r} is no label's name"
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            yield f"{place}: label {key} is {value!r}, which no label may be"
    annotations = metadata.get("annotations") or {}
    for key, value in annotations.items():
        if not _KEY.fullmatch(key):
            yield f"{place}: annotation {key!r} is no annotation's name"
        if not isinstance(value, str):
            yield f"{place}: annotation {key} is {value!r}; it should be a string"
    size = sum(len(key) + len(str(value).encode()) for key, value in annotations.items())
    if size > _ANNOTATIONS_MAX:
        yield f"{place}: the annotations have {size} bytes; {_ANNOTATIONS_MAX} are allowed"


# What is held against other documents of the set.


def _pods_of(documents: Sequence[Document], of: Document) -> list[Mapping[str, Any]]:
    namespace = of["metadata"].get("namespace")
    return [
        template
        for document in documents
        if document["metadata"].get("namespace") == namespace
        for _, template in pods.templates(document)
    ]


def _matching(
    templates: Sequence[Mapping[str, Any]], labels: Mapping[str, str] | None
) -> list[Mapping[str, Any]]:
    return [template for template in templates if pods.matches(labels or {}, template.get("metadata") or {})]


def _selects_its_own(document: Document, documents: Sequence[Document]) -> Iterator[str]:
    spec = document["spec"]
    labels = (spec.get("selector") or {}).get("matchLabels")
    if not labels:
        yield "selector.matchLabels is empty"
    elif not pods.matches(labels, spec["template"].get("metadata") or {}):
        yield f"selector {labels} does not match its own pods"


def _selects_somebody(field: str) -> Callable[[Document, Sequence[Document]], Iterator[str]]:
    """podSelector, or selector, with matchLabels; empty selects all."""

    def check(document: Document, documents: Sequence[Document]) -> Iterator[str]:
        labels = ((document["spec"].get(field) or {}).get("matchLabels")) or {}
        if labels and not _matching(_pods_of(documents, document), labels):
            yield f"{field} {labels} matches no pod of the set"

    return check


def _service(document: Document, documents: Sequence[Document]) -> Iterator[str]:
    spec = document["spec"]
    ports, selector = spec.get("ports") or [], spec.get("selector")
    if spec.get("type", "ClusterIP") not in _SERVICES:
        yield f"type is {spec['type']!r}; it should be one of {', '.join(_SERVICES)}"
    names = [port.get("name") for port in ports]
    if len(ports) > 1 and (None in names or len(set(names)) < len(names)):
        yield f"its ports are named {names}; each needs a name of its own"
    yield from (
        f"port name {name!r} is no port's name" for name in names if name and not _LABEL.fullmatch(name)
    )
    if not selector:
        yield "has no selector"
        return
    chosen = _matching(_pods_of(documents, document), selector)
    if not chosen:
        yield f"selector {selector} matches no pod of the set"
        return
    for port in ports:
        target = port.get("targetPort", port["port"])
        if not any(target in pods.ports(template) for template in chosen):
            yield f"targetPort {target!r} is no port of its pods"


def _ingress(document: Document, documents: Sequence[Document]) -> Iterator[str]:
    for rule in document["spec"].get("rules") or []:
        for path in rule.get("http", {}).get("paths", []):
            if path.get("pathType") not in ("Prefix", "Exact", "ImplementationSpecific"):
                yield f"pathType is {path.get('pathType')!r}"
            service = path["backend"]["service"]
            port = service["port"].get("number", service["port"].get("name"))
            yield from _leads_to(document, documents, service["name"], port)
    hosts = {rule.get("host") for rule in document["spec"].get("rules") or []}
    for tls in document["spec"].get("tls") or []:
        yield from (
            f"tls names host {host}, and no rule does" for host in tls.get("hosts", []) if host not in hosts
        )


def _route(document: Document, documents: Sequence[Document]) -> Iterator[str]:
    for rule in document["spec"].get("rules") or []:
        for reference in rule.get("backendRefs") or []:
            if reference.get("kind", "Service") == "Service":
                yield from _leads_to(document, documents, reference["name"], reference.get("port"))


def _leads_to(of: Document, documents: Sequence[Document], name: str, port: object) -> Iterator[str]:
    services = [
        document
        for document in documents
        if document["kind"] == "Service"
        and document["metadata"]["name"] == name
        and document["metadata"].get("namespace") == of["metadata"].get("namespace")
    ]
    if not services:
        yield f"leads to Service {name!r}, which is not in the set"
        return
    known = {value for entry in services[0]["spec"]["ports"] for value in (entry["port"], entry.get("name"))}
    if port not in known:
        yield f"leads to port {port!r} of Service {name!r}, which has {sorted(map(str, known - {None}))}"


def _scaler(document: Document, documents: Sequence[Document]) -> Iterator[str]:
    spec = document["spec"]
    target = spec["scaleTargetRef"]
    kind = target.get("kind", "Deployment")
    if not any((d["kind"], d["metadata"]["name"]) == (kind, target["name"]) for d in documents):
        yield f"scales {kind} {target['name']!r}, which is not in the set"
    least = spec.get("minReplicas", spec.get("minReplicaCount", 0 if "triggers" in spec else 1))
    most = spec.get("maxReplicas", spec.get("maxReplicaCount", 100))
    if least > most:
        yield f"wants at least {least} and at most {most} replicas"
    for metric in spec.get("metrics") or []:
        if metric.get("type") not in ("Resource", "Pods", "Object", "External", "ContainerResource"):
            yield f"metric type is {metric.get('type')!r}"
            continue
        part = metric["type"][0].lower() + metric["type"][1:]
        wanted = (metric.get(part) or {}).get("target", {})
        field = {"Utilization": "averageUtilization", "AverageValue": "averageValue", "Value": "value"}
        if wanted.get("type") not in field or field[wanted["type"]] not in wanted:
            yield f"metric {metric['type']}: target {wanted} does not say what its type names"


def _replicas(document: Document, documents: Sequence[Document]) -> Iterator[str]:
    yield from _selects_its_own(document, documents)
    scaled = any(
        other["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")
        and other["spec"]["scaleTargetRef"]["name"] == document["metadata"]["name"]
        for other in documents
    )
    if scaled and "replicas" in document["spec"]:
        yield "says replicas, while a scaler sets them: each apply would undo the scaler"


def _policy(document: Document, documents: Sequence[Document]) -> Iterator[str]:
    yield from _selects_somebody("podSelector")(document, documents)
    kinds = document["spec"].get("policyTypes") or []
    if set(kinds) - {"Ingress", "Egress"} or not kinds:
        yield f"policyTypes is {kinds}; it should be of Ingress, Egress"
    for kind in ("ingress", "egress"):
        if kind in document["spec"] and kind.capitalize() not in kinds:
            yield f"has rules of {kind}, which its policyTypes do not name"


def _service_monitor(document: Document, documents: Sequence[Document]) -> Iterator[str]:
    labels = document["spec"].get("selector", {}).get("matchLabels", {})
    services = [d for d in documents if d["kind"] == "Service" and pods.matches(labels, d["metadata"])]
    if not services:
        yield f"selector {labels} matches no Service of the set"
    known = {port.get("name") for service in services for port in service["spec"]["ports"]}
    for endpoint in document["spec"].get("endpoints") or []:
        if endpoint.get("port") not in known:
            yield f"reads port {endpoint.get('port')!r}, which its Services have not"


def _pod_monitor(document: Document, documents: Sequence[Document]) -> Iterator[str]:
    yield from _selects_somebody("selector")(document, documents)
    labels = document["spec"].get("selector", {}).get("matchLabels", {})
    known = {port for pod in _matching(_pods_of(documents, document), labels) for port in pods.ports(pod)}
    for endpoint in document["spec"].get("endpoints") or document["spec"].get("podMetricsEndpoints") or []:
        if endpoint.get("port") not in known:
            yield f"reads port {endpoint.get('port')!r}, which its pods have not"


_BETWEEN: Mapping[str, Callable[[Document, Sequence[Document]], Iterator[str]]] = {
    "DaemonSet": _selects_its_own,
    "Deployment": _replicas,
    "HTTPRoute": _route,
    "HorizontalPodAutoscaler": _scaler,
    "Ingress": _ingress,
    "NetworkPolicy": _policy,
    "PodDisruptionBudget": _selects_somebody("selector"),
    "PodMonitor": _pod_monitor,
    "PodMonitoring": _pod_monitor,
    "ScaledObject": _scaler,
    "Service": _service,
    "ServiceMonitor": _service_monitor,
    "StatefulSet": _replicas,
}
