"""What the server refuses: all faults of an object at once, as 422."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from shared.kubernetes.fake.failures import invalid
from shared.kubernetes.fake.objects import Object, find, quantity
from shared.kubernetes.fake.selectors import selects

_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SERVICE = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_VALUE = re.compile(r"(([A-Za-z0-9][A-Za-z0-9_.-]*)?[A-Za-z0-9])?")
_QUALIFIED = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_MOST_ANNOTATIONS = 256 * 1024
_MOST_DATA = 1024 * 1024
_RBAC = "rbac.authorization.k8s.io"
# What cannot be changed once it is there.
_FIXED: Mapping[str, Sequence[Sequence[str]]] = {
    "Job": (
        ("spec", "selector"),
        ("spec", "template"),
        ("spec", "completionMode"),
        ("spec", "podFailurePolicy"),
        ("spec", "backoffLimitPerIndex"),
    ),
    "Deployment": (("spec", "selector"),),
    "Pod": (("spec", "containers"), ("spec", "volumes"), ("spec", "restartPolicy")),
    "Service": (("spec", "clusterIP"),),
}


def admit(obj: Object, before: Object | None) -> None:
    """Raises Failure (422) naming all that is wrong with it, or that it changes what cannot be."""
    found = [*_metadata(obj), *_SPECS.get(obj["kind"], _nothing)(obj), *_changes(obj, before)]
    if found:
        raise invalid(obj["kind"], obj["metadata"].get("name", ""), found)


def _metadata(obj: Object) -> Iterator[str]:
    metadata, name = obj["metadata"], str(obj["metadata"].get("name", ""))
    pattern = {"Service": _SERVICE, "Namespace": _LABEL}.get(obj["kind"], _SUBDOMAIN)
    if not obj["apiVersion"].startswith(_RBAC) and (not pattern.fullmatch(name) or len(name) > 253):
        yield f'metadata.name: Invalid value: "{name}": it must be a DNS name ({pattern.pattern})'
    for key, value in (metadata.get("labels") or {}).items():
        if not _QUALIFIED.fullmatch(key):
            yield f'metadata.labels: Invalid value: "{key}": it must be a qualified name'
        if not isinstance(value, str) or len(value) > 63 or not _VALUE.fullmatch(value):
            yield f"metadata.labels: Invalid value: {value!r} of {key}: at most 63 letters, digits, '-', '_', '.'"
    annotations = metadata.get("annotations") or {}
    yield from (
        f"metadata.annotations.{key}: Invalid value: it must be text"
        for key, value in annotations.items()
        if not isinstance(value, str)
    )
    if sum(len(f"{key}{value}".encode()) for key, value in annotations.items()) > _MOST_ANNOTATIONS:
        yield f"metadata.annotations: Too long: may not be more than {_MOST_ANNOTATIONS} bytes"


def _template(template: Object, where: str, restarts: Sequence[str]) -> Iterator[str]:
    spec = template.get("spec") or {}
    annotations = find(template, ("metadata", "annotations")) or {}
    if sum(len(f"{key}{value}".encode()) for key, value in annotations.items()) > _MOST_ANNOTATIONS:
        yield f"{where}.metadata.annotations: Too long: may not be more than {_MOST_ANNOTATIONS} bytes"
    if spec.get("restartPolicy") not in restarts:
        yield (
            f'{where}.spec.restartPolicy: Unsupported value: "{spec.get("restartPolicy")}": '
            f"supported values: {', '.join(restarts)}"
        )
    if not spec.get("containers"):
        yield f"{where}.spec.containers: Required value"
    volumes = [volume.get("name") for volume in spec.get("volumes") or ()]
    yield from (f"{where}.spec.volumes: Duplicate value: {name!r}" for name in _twice(volumes))
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    yield from (
        f"{where}.spec.containers: Duplicate value: {name!r}"
        for name in _twice([container.get("name") for container in containers])
    )
    for container in containers:
        yield from _container(container, f"{where}.spec.containers[{container.get('name')}]", volumes)


def _container(container: Object, where: str, volumes: Sequence[Any]) -> Iterator[str]:
    if not _LABEL.fullmatch(str(container.get("name", ""))):
        yield f"{where}.name: Invalid value: it must be a DNS label"
    if not container.get("image"):
        yield f"{where}.image: Required value"
    for mount in container.get("volumeMounts") or ():
        if mount.get("name") not in volumes:
            yield f'{where}.volumeMounts: Not found: "{mount.get("name")}"'
    for variable in container.get("env") or ():
        if not isinstance(variable.get("value", ""), str):
            yield f"{where}.env[{variable.get('name')}].value: Invalid value: it must be text"
    for kind, amounts in (container.get("resources") or {}).items():
        for name, amount in (amounts or {}).items() if isinstance(amounts, dict) else ():
            try:
                quantity(amount)
            except ValueError as error:
                yield f"{where}.resources.{kind}.{name}: Invalid value: {error}"


def _pod(pod: Object) -> Iterator[str]:
    yield from _template(pod, "", ("Always", "OnFailure", "Never"))


def _job(job: Object) -> Iterator[str]:
    spec = job["spec"]
    never = "podFailurePolicy" in spec or "backoffLimitPerIndex" in spec
    yield from _template(spec["template"], "spec.template", ("Never",) if never else ("Never", "OnFailure"))
    if "backoffLimitPerIndex" in spec and spec["completionMode"] != "Indexed":
        yield "spec.backoffLimitPerIndex: Invalid value: requires indexed completion mode"
    for rule in find(spec, ("podFailurePolicy", "rules")) or ():
        codes = rule.get("onExitCodes")
        if rule.get("action") not in ("FailJob", "FailIndex", "Ignore", "Count"):
            yield f"spec.podFailurePolicy.rules.action: Unsupported value: {rule.get('action')!r}"
        if codes and codes.get("operator") == "In" and 0 in codes.get("values", ()):
            yield "spec.podFailurePolicy.rules.onExitCodes.values: Invalid value: 0: must not be 0 for the In operator"
        if codes and codes.get("values") != sorted(set(codes.get("values", ()))):
            yield "spec.podFailurePolicy.rules.onExitCodes.values: Invalid value: must be ordered, without duplicates"


def _deployment(deployment: Object) -> Iterator[str]:
    spec = deployment["spec"]
    yield from _template(spec["template"], "spec.template", ("Always",))
    labels = find(spec, ("template", "metadata", "labels")) or {}
    if not spec.get("selector"):
        yield "spec.selector: Required value"
    elif not selects(spec["selector"], labels):
        yield f"spec.template.metadata.labels: Invalid value: {labels}: `selector` does not match template `labels`"


def _service(service: Object) -> Iterator[str]:
    if not service["spec"].get("ports") and service["spec"].get("clusterIP") != "None":
        yield "spec.ports: Required value"


def _data(obj: Object) -> Iterator[str]:
    held = [*(obj.get("data") or {}).items(), *(obj.get("binaryData") or {}).items()]
    if not all(isinstance(value, str) for _, value in held):
        yield "data: Invalid value: values must be text"
    elif sum(len(value.encode()) for _, value in held) > _MOST_DATA:
        yield f"[]: Too long: may not be more than {_MOST_DATA} bytes"


def _changes(obj: Object, before: Object | None) -> Iterator[str]:
    if before is None:
        return
    for path in _FIXED.get(obj["kind"], ()):
        was = find(before, path)
        if was is not None and was != find(obj, path):
            yield f"{'.'.join(path)}: Invalid value: field is immutable"


def _nothing(_obj: Object) -> Iterator[str]:
    return iter(())


def _twice(names: Sequence[Any]) -> list[Any]:
    return sorted({name for name in names if names.count(name) > 1}, key=str)


_SPECS: Mapping[str, Callable[[Object], Iterator[str]]] = {
    "Pod": _pod,
    "Job": _job,
    "Deployment": _deployment,
    "Service": _service,
    "ConfigMap": _data,
    "Secret": _data,
}
