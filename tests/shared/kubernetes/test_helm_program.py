"""Helm as a program: that it is waited for and no longer, and what its words mean. A script stands in for it."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from shared.errors import KuzniaError, Reject, Retry, Unknown
from shared.kubernetes.releases import program
from shared.kubernetes.releases.program import Failed, Helm, understood
from tests.shared.kubernetes.releasing import settings

STATUS = "Error: UPGRADE FAILED: "


def standin(folder: Path, script: str) -> str:
    path = folder / "helm"
    path.write_text(f"#!{sys.executable} -S\nimport json, os, sys, time\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_a_change_gets_its_values_in_a_file_and_where_the_cluster_is(tmp_path: Path):
    told = tmp_path / "told.json"
    script = f"""
words = sys.argv[1:]
values = json.load(open(words[words.index("--values") + 1]))
kept = {{name: os.environ[name] for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")}}
json.dump([words, values, kept], open({str(told)!r}, "w"))
"""
    helm = Helm(settings(url="http://127.0.0.1:1", request_seconds=5.0), standin(tmp_path, script))
    helm.change(["upgrade", "a"], {"model": {"id": "m"}})
    words, values, homes = json.loads(told.read_text())
    assert words[:6] == ["upgrade", "a", "--kube-apiserver", "http://127.0.0.1:1", "--timeout", "5s"]
    assert values == {"model": {"id": "m"}}
    assert not any(Path(home).exists() for home in homes.values()), "what helm wrote for itself is gone"


def test_a_context_of_the_users_is_named(tmp_path: Path):
    helm = Helm(settings(context="gke"), standin(tmp_path, "print(json.dumps(sys.argv[1:]))"))
    assert helm.ask(["status", "a"]) == ["status", "a", "--kube-context", "gke", "--output", "json"]


def test_no_answer_in_time_is_unknown_and_the_program_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(program, "GRACE_SECONDS", 0.2)
    pid = tmp_path / "pid"
    script = f"""
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open({str(pid)!r}, "w").write(str(os.getpid()))
time.sleep(60)
"""
    helm = Helm(settings(request_seconds=0.5), standin(tmp_path, script))
    began = time.monotonic()
    with pytest.raises(Unknown, match="helm upgrade did not end within 1 s"):
        helm.change(["upgrade", "a"])
    assert time.monotonic() - began < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_a_question_without_an_answer_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(program, "GRACE_SECONDS", 0.2)
    helm = Helm(settings(request_seconds=0.1), standin(tmp_path, "time.sleep(60)"))
    with pytest.raises(Retry, match="did not end"):
        helm.ask(["status", "a"])


def test_no_helm(tmp_path: Path):
    with pytest.raises(Reject, match="helm is not on PATH: install helm 4"):
        Helm(settings(), str(tmp_path / "none")).ask(["status", "a"])


def test_its_error_is_its_stderr(tmp_path: Path):
    helm = Helm(settings(), standin(tmp_path, "sys.exit('Error: release: not found')"))
    with pytest.raises(Failed, match="release: not found"):
        helm.ask(["status", "a"])
    with pytest.raises(Retry, match="helm failed: release: not found"):
        helm.render(["a"], {})


@pytest.mark.parametrize(
    ("words", "verdict", "cause"),
    [
        (
            "another operation (install/upgrade/rollback) is in progress",
            Retry,
            "another helm is at work on this release",
        ),
        (
            ("values don't meet the specifications of the schema(s) in the following chart(s):\nllama-factory-api:\n"
            "- at '/engine': value must be one of 'vllm', 'llamafactory'"),
            Reject,
            "the chart's schema refuses the values",
        ),
        (
            ('unable to build kubernetes objects from release manifest: resource mapping not found for name: "a" '
            'namespace: "t-api" from "": no matches for kind "PodMonitoring" in version "monitoring.googleapis.com/v1"'),
            Reject,
            "does not know a kind of object",
        ),
        (
            ('secrets is forbidden: User "system:serviceaccount:kuznia:deployment" cannot list resource "secrets" in '
            'API group "" in the namespace "team-x-api"'),
            Reject,
            "the platform's account may not do this",
        ),
        (
            'pods "a" is forbidden: exceeded quota: tenant, requested: pods=1, used: pods=50, limited: pods=50',
            Retry,
            "the namespace's quota does not allow it now",
        ),
        ('create: failed to create: namespaces "team-x-api" not found', Reject, "add the tenant"),
        (
            ('Service "a" in namespace "t-api" exists and cannot be imported into the current release: invalid '
            "ownership metadata"),
            Reject,
            "belongs to somebody else",
        ),
        (
            ('conflict occurred while applying object t-api/a apps/v1, Kind=Deployment: Apply failed with 1 conflict: '
            'conflict with "kubectl-edit" using apps/v1: .spec.replicas'),
            Reject,
            "somebody else changed a field",
        ),
        (
            ('kubernetes cluster unreachable: Get "http://127.0.0.1:1/version": dial tcp 127.0.0.1:1: connect: '
            "connection refused"),
            Retry,
            "the cluster cannot be reached",
        ),
        ("client rate limiter Wait returned an error: context deadline exceeded", Unknown, "did not answer in time"),
        ('path "charts/none" not found', Reject, "the chart cannot be had"),
        ("unknown flag: --rollback", Reject, "install helm 4"),
        (
            'Deployment.apps "a" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0',
            Reject,
            "the cluster refuses",
        ),
        (
            "execution error at (llama-factory-api/templates/deployment.yaml:1:4): 1 of the values cannot be used",
            Reject,
            "the cluster refuses",
        ),
        (
            ('failed to perform "FetchReference" on source: Get "https://r.example/v2/c/manifests/1": dial tcp: '
            "connect: connection refused"),
            Retry,
            "the charts' registry cannot be reached",
        ),
        ('failed to perform "FetchReference" on source: r.example/c:1: not found', Reject, "has no such chart"),
        ("something that nobody has seen before", Retry, "helm failed: "),
    ],
)  # fmt: skip
def test_its_words_become_a_cause(words: str, verdict: type[KuzniaError], cause: str):
    found = understood(f"WARNING: Kubernetes configuration file is group-readable\n\n{STATUS}{words}\n")
    assert type(found) is verdict
    assert cause in str(found)
    assert words.splitlines()[-1] in str(found)
    assert "group-readable" not in str(found)


def test_it_says_nothing():
    assert "it said nothing" in str(understood("\n"))
