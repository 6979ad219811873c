from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from tests import kubernetes_checks as checks

LABELS = {f"app.kubernetes.io/{word}": "x" for word in checks.RECOMMENDED}
CONTAINER: dict[str, Any] = {
    "name": "main",
    "image": "registry.example/x:1",
    "command": ["x"],
    "ports": [{"name": "http", "containerPort": 8000}],
    "env": [{"name": "A", "value": "1"}],
    "readinessProbe": {"httpGet": {"path": "/", "port": "http"}},
    "resources": {"limits": {"memory": "2Gi", "nvidia.com/gpu": "1"}, "requests": {"memory": "1Gi"}},
    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    },
}
POD: dict[str, Any] = {
    "metadata": {"labels": LABELS},
    "spec": {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [CONTAINER],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    },
}


def the(kind: str, spec: dict[str, Any], version: str = "v1") -> dict[str, Any]:
    metadata = {"name": "x", "namespace": "team-x", "labels": dict(LABELS)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def plain(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """No part of it is another part too."""
    return json.loads(json.dumps(documents))


def whole() -> list[dict[str, Any]]:
    job_pod = deepcopy(POD)
    job_pod["spec"]["restartPolicy"] = "Never"
    rules = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [1, 2]}},
    ]
    return plain(
        [
            the("Deployment", {"selector": {"matchLabels": LABELS}, "template": POD}, "apps/v1"),
            the("Service", {"selector": LABELS, "ports": [{"port": 80, "targetPort": "http"}]}),
            the(
                "HorizontalPodAutoscaler",
                {
                    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"},
                    "maxReplicas": 3,
                    "metrics": [
                        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}
                    ],
                },
                "autoscaling/v2",
            ),
            the(
                "Ingress",
                {"rules": [{"host": "a.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "x", "port": {"number": 80}}}}]}}]},
                "networking.k8s.io/v1",
            ),
            the("NetworkPolicy", {"podSelector": {"matchLabels": LABELS}, "policyTypes": ["Ingress"], "ingress": []}, "networking.k8s.io/v1"),
            the("Job", {"template": job_pod, "podFailurePolicy": {"rules": rules}}, "batch/v1"),
        ]
    )  # fmt: skip


DEPLOYMENT, SERVICE, SCALER, INGRESS, POLICY, JOB = range(6)


def container(documents: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = documents[DEPLOYMENT]["spec"]["template"]["spec"]["containers"][0]
    return found


def pod(documents: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = documents[DEPLOYMENT]["spec"]["template"]["spec"]
    return found


def rules(documents: list[dict[str, Any]]) -> Any:
    return documents[JOB]["spec"]["podFailurePolicy"]["rules"]


Spoil = Callable[[list[dict[str, Any]]], object]
MISTAKES: dict[str, Spoil] = {
    "no DNS name": lambda all_: all_[JOB]["metadata"].update(name="Train_1"),
    "is there twice": lambda all_: all_.append(deepcopy(all_[SERVICE])),
    "which no label may be": lambda all_: all_[SERVICE]["metadata"]["labels"].update(a="not a label"),
    "is missing": lambda all_: all_[SERVICE]["metadata"].update(labels={}),
    "does not match its own pods": lambda all_: all_[DEPLOYMENT]["spec"]["selector"]["matchLabels"].update(a="b"),
    "matches no pod of the set": lambda all_: all_[SERVICE]["spec"].update(selector={"a": "b"}),
    "targetPort 'web'": lambda all_: all_[SERVICE]["spec"]["ports"][0].update(targetPort="web"),
    "scales Deployment 'y'": lambda all_: all_[SCALER]["spec"]["scaleTargetRef"].update(name="y"),
    "says replicas": lambda all_: all_[DEPLOYMENT]["spec"].update(replicas=2),
    "does not say what its type names": lambda all_: all_[SCALER]["spec"]["metrics"][0]["resource"]["target"].update(type="Value"),
    "pathType is 'prefix'": lambda all_: all_[INGRESS]["spec"]["rules"][0]["http"]["paths"][0].update(pathType="prefix"),
    "leads to Service 'y'": lambda all_: all_[INGRESS]["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"].update(name="y"),
    "leads to port 81": lambda all_: all_[INGRESS]["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"].update(port={"number": 81}),
    "policyTypes": lambda all_: all_[POLICY]["spec"].update(policyTypes=["ingress"]),
    "mounts 'cache', which is no volume": lambda all_: container(all_)["volumeMounts"].append({"name": "cache", "mountPath": "/c"}),
    "is mounted nowhere": lambda all_: pod(all_)["volumes"].append({"name": "shm", "emptyDir": {}}),
    "medium is 'RAM'": lambda all_: pod(all_)["volumes"][0]["emptyDir"].update(medium="RAM"),
    "asks port 'metrics'": lambda all_: container(all_)["readinessProbe"]["httpGet"].update(port="metrics"),
    "env has A more than once": lambda all_: container(all_)["env"].append({"name": "A", "value": "2"}),
    "neither a tag": lambda all_: container(all_).update(image="registry.example/x:latest"),
    "imagePullPolicy is 'IfMissing'": lambda all_: container(all_).update(imagePullPolicy="IfMissing"),
    "requests 3Gi of memory": lambda all_: container(all_)["resources"]["requests"].update(memory="3Gi"),
    "requests and limits must be equal": lambda all_: container(all_)["resources"]["requests"].update({"nvidia.com/gpu": "2"}),
    "is no quantity": lambda all_: container(all_)["resources"]["limits"].update(memory="2 GB"),
    "may run as root": lambda all_: pod(all_)["securityContext"].pop("runAsNonRoot"),
    "no seccomp profile": lambda all_: pod(all_)["securityContext"].pop("seccompProfile"),
    "may gain privileges": lambda all_: container(all_)["securityContext"].pop("allowPrivilegeEscalation"),
    "may write to its root": lambda all_: container(all_)["securityContext"].pop("readOnlyRootFilesystem"),
    "does not drop ALL": lambda all_: container(all_)["securityContext"].pop("capabilities"),
    "automountServiceAccountToken": lambda all_: pod(all_).pop("automountServiceAccountToken"),
    "all of the grace": lambda all_: container(all_).update(lifecycle={"preStop": {"exec": {"command": ["sleep 60"]}}}),
    "toleration effect is 'No'": lambda all_: pod(all_).update(tolerations=[{"key": "a", "operator": "Exists", "effect": "No"}]),
    "restartPolicy of a Job": lambda all_: all_[JOB]["spec"]["template"]["spec"].pop("restartPolicy"),
    "action is 'Fail'": lambda all_: rules(all_)[1].update(action="Fail"),
    "there is no container 'trainer'": lambda all_: rules(all_)[1]["onExitCodes"].update(containerName="trainer"),
    "not in order": lambda all_: rules(all_)[1]["onExitCodes"].update(values=[2, 1]),
    "status of a condition is 'Yes'": lambda all_: rules(all_)[0]["onPodConditions"][0].update(status="Yes"),
    "backoffLimitPerIndex without": lambda all_: all_[JOB]["spec"].update(backoffLimitPerIndex=3),
}  # fmt: skip


def test_what_is_right_has_no_fault():
    assert checks.semantic_faults(whole()) == []


@pytest.mark.parametrize("said", MISTAKES)
def test_a_mistake_is_seen_and_named(said: str):
    documents = whole()
    MISTAKES[said](documents)
    found = checks.semantic_faults(documents)
    assert [fault for fault in found if said in fault], found


class TestSchemas:
    @pytest.fixture(autouse=True)
    def validator(self, capability: Callable[[str, bool, str], None]):
        capability("kubernetes-validate", checks.available(), checks.NEEDS)

    def test_what_is_right_is_right_in_every_version(self):
        assert checks.faults(whole()) == []

    @pytest.mark.parametrize(
        ("path", "value"),
        [("backoffLimits", 3), ("backoffLimit", "three"), ("template", None)],
        ids=["unknown", "type", "missing"],
    )
    def test_a_schema_is_strict(self, path: str, value: Any):
        job = whole()[JOB]
        job["spec"] |= {path: value} if value else {}
        job["spec"].pop(path if value is None else "", None)
        found = checks.faults([job], ["1.33"])
        assert [fault for fault in found if fault.startswith("Job team-x/x: spec")], found

    @pytest.mark.parametrize("kind", sorted(checks.CUSTOM))
    def test_a_custom_resource_is_held_against_its_own(self, kind: str):
        version, _, name = kind.rpartition("/")
        found = list(checks.schema_faults(the(name, {"unheardOf": 1}, version)))
        assert [fault for fault in found if "unheardOf" in fault or "required" in fault], found
