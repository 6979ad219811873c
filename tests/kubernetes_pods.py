"""What no schema sees of a pod: mounts without volumes, ports without owners, words that nobody understands."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Map = Mapping[str, Any]

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_PORT = re.compile(r"(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?")
_IMAGE = re.compile(r"[a-z0-9][\w.:/-]*(:(?!latest$)[\w][\w.-]{0,127}|@sha256:[0-9a-f]{64})")
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|[kMGTPE]|[KMGTPE]i)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_UNITS = {"m": 1e-3, "": 1.0} | {
    unit: 1000.0 ** (at + 1) for at, unit in enumerate(("k", "M", "G", "T", "P", "E"))
} | {f"{unit}i": 1024.0 ** (at + 1) for at, unit in enumerate("KMGTPE")}  # fmt: skip
_CHOICES: Mapping[str, frozenset[str]] = {
    "restartPolicy": frozenset({"Always", "OnFailure", "Never"}),
    "dnsPolicy": frozenset({"ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"}),
    "preemptionPolicy": frozenset({"Never", "PreemptLowerPriority"}),
    "imagePullPolicy": frozenset({"Always", "IfNotPresent", "Never"}),
    "terminationMessagePolicy": frozenset({"File", "FallbackToLogsOnError"}),
}
_HOST = ("hostNetwork", "hostPID", "hostIPC")
_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected",
            "secret", "name"}  # fmt: skip
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
_HANDLERS = {"httpGet", "tcpSocket", "exec", "grpc"}


def templates(document: Map) -> list[tuple[str, Map]]:
    """(where, pod template) of all pods that a document makes."""
    kind, spec = document["kind"], document.get("spec") or {}
    if kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"):
        return [("template", spec["template"])]
    if kind == "Pod":
        return [("pod", document)]
    if kind == "CronJob":
        return [("jobTemplate", spec["jobTemplate"]["spec"]["template"])]
    if kind == "JobSet":
        return [
            (f"replicatedJobs.{job['name']}", job["template"]["spec"]["template"])
            for job in spec["replicatedJobs"]
        ]
    if kind == "Workflow":
        return [
            (f"templates.{one['name']}", _of_workflow(spec, one))
            for one in spec["templates"]
            if "container" in one
        ]
    return []


def _of_workflow(spec: Map, template: Map) -> Map:
    """The pod that Argo makes of a container template; its own containers are not ours to judge."""
    metadata = dict(spec.get("podMetadata") or {})
    for part in ("labels", "annotations"):
        metadata[part] = {**metadata.get(part, {}), **(template.get("metadata") or {}).get(part, {})}
    named = (
        "nodeSelector",
        "tolerations",
        "serviceAccountName",
        "automountServiceAccountToken",
        "securityContext",
    )
    pod = {key: template.get(key, spec.get(key)) for key in named if key in template or key in spec}
    pod["containers"] = [{"name": "main", **template["container"]}]
    pod["initContainers"] = template.get("initContainers") or []
    pod["volumes"] = [*(spec.get("volumes") or []), *(template.get("volumes") or [])]
    pod["restartPolicy"] = "Never"
    return {"metadata": metadata, "spec": pod}


def matches(labels: Map, metadata: Map) -> bool:
    """Whether matchLabels select an object with this metadata."""
    own = metadata.get("labels") or {}
    return all(own.get(key) == value for key, value in labels.items())


def ports(template: Map) -> set[object]:
    """Names and numbers of a pod's ports."""
    return {
        value
        for container in containers(template)
        for port in container.get("ports") or []
        for value in (port["containerPort"], port.get("name"))
    }


def containers(template: Map) -> list[Map]:
    """All containers, those before the others first."""
    spec = template["spec"]
    return [*(spec.get("initContainers") or []), *spec["containers"]]


def faults(template: Map, *, restricted: bool = True) -> Iterator[str]:
    """All that is wrong with a pod, a line each."""
    spec, every = template["spec"], containers(template)
    yield from _words(spec, "pod")
    yield from _twice("containers", [container["name"] for container in every])
    yield from _volumes(spec, every)
    for container in every:
        where = f"container {container['name']}"
        yield from (f"{where}: {fault}" for fault in _container(container, spec))
    yield from _tolerations(spec)
    yield from _spread(template)
    if restricted:
        yield from _restricted(spec, every)


def quantity(value: object) -> float:
    """`1.5Gi` in bytes, `250m` in cores. Raises ValueError."""
    found = _QUANTITY.fullmatch(str(value))
    if not found:
        raise ValueError(f"{value!r} is no quantity")
    return float(found[1]) * _UNITS[found[2] or ""]


def _words(part: Map, where: str) -> Iterator[str]:
    for field, values in _CHOICES.items():
        if field in part and part[field] not in values:
            yield f"{where}: {field} is {part[field]!r}; it should be one of {sorted(values)}"


def _twice(what: str, names: Sequence[object]) -> Iterator[str]:
    again = sorted(str(name) for name, count in Counter(names).items() if count > 1)
    if again:
        yield f"{what} has {', '.join(again)} more than once"


def _volumes(spec: Map, every: Sequence[Map]) -> Iterator[str]:
    names = [volume["name"] for volume in spec.get("volumes") or []]
    yield from _twice("volumes", names)
    yield from (f"volume name {name!r} is no DNS label" for name in names if not _LABEL.fullmatch(name))
    mounted = {mount["name"] for container in every for mount in container.get("volumeMounts") or []}
    yield from (f"volume {name!r} is mounted nowhere" for name in names if name not in mounted)
    for volume in spec.get("volumes") or []:
        kinds = set(volume) - {"name"}
        if len(kinds) != 1:
            yield f"volume {volume['name']!r} is of {len(kinds)} kinds: {sorted(kinds)}"
        medium = (volume.get("emptyDir") or {}).get("medium", "")
        if medium not in ("", "Memory"):
            yield f"volume {volume['name']!r}: medium is {medium!r}; it should be Memory, or absent"


def _container(container: Map, spec: Map) -> Iterator[str]:
    if not _LABEL.fullmatch(container["name"]):
        yield "its name is no DNS label"
    yield from _words(container, "it")
    if not _IMAGE.fullmatch(container.get("image", "")):
        yield f"image {container.get('image')!r} has neither a tag of its own nor a digest"
    names = {volume["name"] for volume in spec.get("volumes") or []}
    mounts = container.get("volumeMounts") or []
    yield from (f"mounts {m['name']!r}, which is no volume" for m in mounts if m["name"] not in names)
    yield from _twice("volumeMounts", [mount["mountPath"] for mount in mounts])
    yield from (
        f"mountPath {m['mountPath']!r} is not absolute" for m in mounts if not m["mountPath"].startswith("/")
    )
    yield from _variables(container)
    yield from _ports(container)
    yield from _resources(container.get("resources") or {})
    yield from _life(container, spec)


def _variables(container: Map) -> Iterator[str]:
    env = container.get("env") or []
    yield from _twice("env", [variable["name"] for variable in env])
    for variable in env:
        if not _VARIABLE.fullmatch(variable["name"]):
            yield f"env {variable['name']!r} is no variable's name"
        if "value" in variable and "valueFrom" in variable:
            yield f"env {variable['name']} has a value and a source"
        if len(variable.get("valueFrom") or {"one": 1}) != 1:
            yield f"env {variable['name']} has not one source"


def _ports(container: Map) -> Iterator[str]:
    known = container.get("ports") or []
    names = [port["name"] for port in known if "name" in port]
    yield from _twice("ports", names)
    yield from (f"port name {name!r} is no port's name" for name in names if not _PORT.fullmatch(name))
    yield from (
        f"port protocol is {port['protocol']!r}"
        for port in known
        if port.get("protocol", "TCP") not in ("TCP", "UDP", "SCTP")
    )
    mine = {*names, *(port["containerPort"] for port in known)}
    for probe in _PROBES:
        said = container.get(probe)
        if said is None:
            continue
        if len(_HANDLERS & set(said)) != 1:
            yield f"{probe} asks in {len(_HANDLERS & set(said))} ways; it should be one"
        asked = (said.get("httpGet") or said.get("tcpSocket") or {}).get("port")
        if asked is not None and asked not in mine:
            yield f"{probe} asks port {asked!r}, which it has not"


def _resources(resources: Map) -> Iterator[str]:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for name, value in [*limits.items(), *requests.items()]:
        try:
            quantity(value)
        except ValueError as error:
            yield f"resources: {name}: {error}"
            return
    for name, value in requests.items():
        if name in limits and quantity(value) > quantity(limits[name]):
            yield f"resources: it requests {value} of {name}, and its limit is {limits[name]}"
    for name, value in requests.items():
        if "/" in name and quantity(limits.get(name, "0")) != quantity(value):
            yield f"resources: {name} is extended: requests and limits must be equal"


def _life(container: Map, spec: Map) -> Iterator[str]:
    stop = (container.get("lifecycle") or {}).get("preStop") or {}
    slept = (stop.get("sleep") or {}).get("seconds", 0)
    words = " ".join((stop.get("exec") or {}).get("command", []))
    slept = slept or int((re.search(r"\bsleep (\d+)", words) or [0, 0])[1])
    if slept and slept >= spec.get("terminationGracePeriodSeconds", 30):
        yield f"preStop sleeps {slept} s, which is all of the grace"


def _tolerations(spec: Map) -> Iterator[str]:
    for one in spec.get("tolerations") or []:
        if one.get("operator", "Equal") not in ("Equal", "Exists"):
            yield f"toleration operator is {one['operator']!r}"
        if one.get("operator") == "Exists" and one.get("value"):
            yield "a toleration with operator Exists has a value"
        if one.get("effect", "NoSchedule") not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
            yield f"toleration effect is {one['effect']!r}"


def _spread(template: Map) -> Iterator[str]:
    spec, metadata = template["spec"], template.get("metadata") or {}
    for one in spec.get("topologySpreadConstraints") or []:
        if one.get("whenUnsatisfiable") not in ("DoNotSchedule", "ScheduleAnyway"):
            yield f"whenUnsatisfiable is {one.get('whenUnsatisfiable')!r}"
        if not matches((one.get("labelSelector") or {}).get("matchLabels") or {}, metadata):
            yield "a topology spread does not count its own pods"


def _restricted(spec: Map, every: Sequence[Map]) -> Iterator[str]:
    """The Pod Security Standard `restricted`, and a read-only root besides."""
    whole = spec.get("securityContext") or {}
    yield from (f"{field} is set" for field in _HOST if spec.get(field))
    if spec.get("automountServiceAccountToken") is not False:
        yield "automountServiceAccountToken is not false"
    for volume in spec.get("volumes") or []:
        yield from (f"volume kind {kind!r} is not allowed" for kind in set(volume) - _VOLUMES)
    for container in every:
        own = {**whole, **(container.get("securityContext") or {})}
        where = f"container {container['name']}"
        if own.get("runAsNonRoot") is not True or own.get("runAsUser") == 0:
            yield f"{where} may run as root"
        if (own.get("seccompProfile") or {}).get("type") not in ("RuntimeDefault", "Localhost"):
            yield f"{where} has no seccomp profile"
        if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
            yield f"{where} may gain privileges"
        if "ALL" not in (own.get("capabilities") or {}).get("drop", []):
            yield f"{where} does not drop ALL capabilities"
        if own.get("readOnlyRootFilesystem") is not True:
            yield f"{where} may write to its root"


def job_faults(document: Map) -> Iterator[str]:
    """What a Job must be besides: its policy understood, its pods not restarted in place."""
    if document["kind"] == "Job":
        yield from _job(document["spec"])
    if document["kind"] == "JobSet":
        for job in document["spec"]["replicatedJobs"]:
            yield from (f"replicatedJobs.{job['name']}: {fault}" for fault in _job(job["template"]["spec"]))


def _job(spec: Map) -> Iterator[str]:
    pod = spec["template"]["spec"]
    if pod.get("restartPolicy") not in ("Never", "OnFailure"):
        yield f"restartPolicy of a Job is {pod.get('restartPolicy')!r}"
    if spec.get("completionMode", "NonIndexed") not in ("NonIndexed", "Indexed"):
        yield f"completionMode is {spec['completionMode']!r}"
    if spec.get("podReplacementPolicy", "Failed") not in ("Failed", "TerminatingOrFailed"):
        yield f"podReplacementPolicy is {spec['podReplacementPolicy']!r}"
    if "backoffLimitPerIndex" in spec and spec.get("completionMode") != "Indexed":
        yield "backoffLimitPerIndex without completionMode Indexed"
    rules = (spec.get("podFailurePolicy") or {}).get("rules") or []
    if rules and pod.get("restartPolicy") != "Never":
        yield "a podFailurePolicy needs restartPolicy Never"
    if rules and spec.get("podReplacementPolicy", "Failed") != "Failed":
        yield "with a podFailurePolicy podReplacementPolicy can only be Failed"
    for rule in rules:
        yield from _rule(rule, {container["name"] for container in pod["containers"]}, spec)


def _rule(rule: Map, names: set[str], spec: Map) -> Iterator[str]:
    if rule["action"] not in ("FailJob", "FailIndex", "Ignore", "Count"):
        yield f"podFailurePolicy: action is {rule['action']!r}"
    if rule["action"] == "FailIndex" and "backoffLimitPerIndex" not in spec:
        yield "podFailurePolicy: FailIndex needs backoffLimitPerIndex"
    if ("onExitCodes" in rule) == ("onPodConditions" in rule):
        yield "podFailurePolicy: a rule has exit codes or conditions"
    codes = rule.get("onExitCodes")
    if codes:
        values = codes["values"]
        if codes["operator"] not in ("In", "NotIn"):
            yield f"podFailurePolicy: operator is {codes['operator']!r}"
        if values != sorted(set(values)) or not 1 <= len(values) <= 255:
            yield "podFailurePolicy: exit codes are not in order, or more than 255"
        if codes["operator"] == "In" and 0 in values:
            yield "podFailurePolicy: exit code 0 is no failure"
        if codes.get("containerName") not in {None, *names}:
            yield f"podFailurePolicy: there is no container {codes['containerName']!r}"
    for condition in rule.get("onPodConditions") or []:
        if condition.get("status") not in ("True", "False", "Unknown"):
            yield f"podFailurePolicy: status of a condition is {condition.get('status')!r}"
