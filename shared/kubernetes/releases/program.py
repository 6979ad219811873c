"""The program helm: started, waited for, and what it says in words that a person understands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.errors import KuzniaError, Reject, Retry, Unknown
from shared.kubernetes.settings import KubernetesSettings

PROGRAM = "helm"
GRACE_SECONDS = 5.0  # told to end, helm writes down that its release failed
NOT_FOUND = re.compile(r"release: not found", re.IGNORECASE)
# What helm says -> which of our words it is, and what to tell a person; helm's own words follow.
_CAUSES: tuple[tuple[str, type[KuzniaError], str], ...] = (
    (r"unknown flag|invalid argument", Reject, "this helm is too old: install helm 4"),
    (
        r"FetchReference.*(refused|time|no such host|: 5\d\d|: 429)",
        Retry,
        "the charts' registry cannot be reached",
    ),
    (r"FetchReference", Reject, "the charts' registry has no such chart, or does not let us in"),
    (
        r"another operation \(install/upgrade/rollback\) is in progress",
        Retry,
        "another helm is at work on this release",
    ),
    (
        r"values don't meet the specifications of the schema",
        Reject,
        "the chart's schema refuses the values; mend KUZNIA_K8S_CHART_VALUES or model.yaml",
    ),
    (
        r"no matches for kind|resource mapping not found",
        Reject,
        "the cluster does not know a kind of object that these values ask for: install it, or turn it off",
    ),
    (
        r"exceeded quota",
        Retry,
        "the namespace's quota does not allow it now",
    ),
    (
        r"namespaces? \S+ not found",
        Reject,
        "the tenant's namespace of servers is not there: add the tenant to the installation",
    ),
    (
        r"is forbidden|\bforbidden\b|unauthorized|must be logged in",
        Reject,
        "the platform's account may not do this in the tenant's namespace: see the roles of charts/kuznia",
    ),
    (
        r"invalid ownership metadata|already exists",
        Reject,
        "an object of this name is there that belongs to somebody else: remove it, or take another name",
    ),
    (
        r"conflicts? (occurred|with)",
        Reject,
        "somebody else changed a field of an object of this release: give it back to helm",
    ),
    (
        r"chart\.yaml file is missing|path \S+ not found|failed to (fetch|download)|repo \S+ not found",
        Reject,
        "the chart cannot be had; KUZNIA_K8S_CHART should be its folder, or oci://…",
    ),
    (
        r"context deadline exceeded|timed out|timeout|context canceled|eof\b",
        Unknown,
        "the cluster did not answer in time",
    ),
    (
        r"unreachable|connection re(fused|set)|no such host|i/o|tls handshake|unable|internal error|too many req",
        Retry,
        "the cluster cannot be reached",
    ),
    (
        r"is invalid|unknown field|error (validating|converting)|execution error at|parse error|unmarshal",
        Reject,
        "the chart makes objects of these values that the cluster refuses",
    ),
)
_NOISE = re.compile(r"^(WARNING|level=WARN|I\d{4} )|^\s*$")


class Failed(KuzniaError):
    """Helm ended with an error, and these were its words."""


class Helm:
    """Each call is a process; none outlives its time."""

    def __init__(self, settings: KubernetesSettings, program: str = PROGRAM) -> None:
        self._program = program
        self._seconds = settings.request_seconds
        self._connection: tuple[str, ...] = ()
        if settings.url:
            self._connection = ("--kube-apiserver", settings.url)
        elif settings.context:
            self._connection = ("--kube-context", settings.context)

    @property
    def seconds(self) -> float:
        """How long one change may take, all in all."""
        return 2 * self._seconds + GRACE_SECONDS

    def change(self, words: Sequence[str], values: Mapping[str, Any] | None = None) -> None:
        """Let it change something. Raises Failed (it said no), Unknown (no answer in time), Reject (no helm)."""
        bounded = [*words, *self._connection, "--timeout", f"{self._seconds:.0f}s"]
        with tempfile.TemporaryDirectory(prefix="kuznia-helm-") as folder:
            if values is not None:
                path = Path(folder) / "values.json"
                path.write_text(json.dumps(values), encoding="utf-8")
                bounded += ["--values", str(path)]
            self._run(bounded, Path(folder))

    def ask(self, words: Sequence[str]) -> Any:
        """What it answers in JSON. Raises Failed, Retry (no answer), Reject (no helm)."""
        with tempfile.TemporaryDirectory(prefix="kuznia-helm-") as folder:
            try:
                return json.loads(self._run([*words, *self._connection, "--output", "json"], Path(folder)))
            except Unknown as error:
                raise Retry(str(error)) from error  # a question that nobody answered changed nothing

    def render(self, words: Sequence[str], values: Mapping[str, Any]) -> str:
        """The manifests of a chart, without a cluster. Raises Reject, Retry."""
        with tempfile.TemporaryDirectory(prefix="kuznia-helm-") as folder:
            path = Path(folder) / "values.json"
            path.write_text(json.dumps(values), encoding="utf-8")
            try:
                return self._run(["template", *words, "--values", str(path)], Path(folder))
            except Failed as error:
                raise understood(str(error)) from error

    def _run(self, words: Sequence[str], home: Path) -> str:
        # Nothing of the user's plugins, repositories and caches; and a place to write in a pod without one.
        own = {name: str(home / name) for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")}
        try:
            process = subprocess.Popen(
                [self._program, *words],
                env={**os.environ, **own, "NO_COLOR": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except FileNotFoundError as error:
            raise Reject("helm is not on PATH: install helm 4, or release by gitops") from error
        out, err = _ended(process, self.seconds - GRACE_SECONDS, words[0])
        if process.returncode:
            raise Failed(err.decode(errors="replace"))
        return out.decode(errors="replace")


def _ended(process: subprocess.Popen[bytes], seconds: float, word: str) -> tuple[bytes, bytes]:
    """What it wrote. Raises Unknown, once it is gone, where it took too long."""
    try:
        return process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.terminate()
    try:
        process.communicate(timeout=GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    raise Unknown(f"helm {word} did not end within {seconds:.0f} s")


def understood(words: str) -> KuzniaError:
    """What helm's stderr means: Retry, Reject or Unknown, with a cause and its own words. Pure."""
    lines = [line.strip() for line in words.splitlines() if not _NOISE.search(line)]
    said = " ".join(lines).removeprefix("Error: ") or "it said nothing"
    for pattern, verdict, cause in _CAUSES:
        if re.search(pattern, said, re.IGNORECASE):
            return verdict(f"{cause} (helm: {said})")
    return Retry(f"helm failed: {said}")
