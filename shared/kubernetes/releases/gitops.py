"""Releases by commits: a folder a release in a deploy repository, which Argo CD makes true in the cluster."""

from __future__ import annotations

import json
import time
from urllib.parse import urlsplit

from shared.errors import Reject
from shared.kubernetes.manifests.labels import spec_digest, tenant_of
from shared.kubernetes.releases.application import (
    FACTS,
    Release,
    files_of,
    folder_of,
    message_of,
    removal_message,
)
from shared.kubernetes.releases.argo import Argo
from shared.kubernetes.releases.chart import chart_digest, is_folder, operator_values
from shared.kubernetes.releases.program import Helm
from shared.kubernetes.releases.repository import DeployRepository
from shared.kubernetes.releases.secret import Keys
from shared.kubernetes.releases.values import release_name, values_of
from shared.kubernetes.settings import KubernetesSettings
from shared.ports.cluster import Workload

LOOK_SECONDS = 15.0


class GitopsReleaser:
    """A `Releaser`. helm renders a chart that lies on this machine; of one in a registry Argo CD does."""

    def __init__(
        self, settings: KubernetesSettings, keys: Keys, repository: DeployRepository, helm: Helm, argo: Argo
    ) -> None:
        _refuse_credentials(settings.gitops_repository)
        self._settings = settings
        self._keys = keys
        self._repository = repository
        self._helm = helm
        self._argo = argo
        self._lately: dict[
            str, tuple[str, float]
        ] = {}  # by name: which workload was found committed, and when

    def apply(self, workload: Workload) -> None:
        """As `Releaser.apply`: one commit, or none where the repository has it already.

        Asked again while nothing runs yet, it looks at Argo CD, and raises Reject once that has failed or is late.
        """
        settings, spec = self._settings, spec_digest(workload)
        known, seen = self._lately.get(workload.name, ("", 0.0))
        if known == spec and time.monotonic() - seen < LOOK_SECONDS:
            return  # whoever waits for it asks every second
        namespace = settings.namespace_of(tenant_of(workload), "server")
        folder = folder_of(workload, settings)
        self._refuse_another(workload, folder)
        release = self._release(workload, namespace)
        self._keys.give(workload.name, namespace)
        if not self._repository.put(folder, files_of(release, settings), message_of(release)):
            self._argo.require(workload, self._repository.changed(folder))
        self._lately[workload.name] = (spec, time.monotonic())

    def stop(self, name: str, namespace: str) -> None:
        """As `Releaser.stop`: one commit that removes it; Argo CD then takes away what it made."""
        self._lately.pop(name, None)
        for folder in self._repository.folders(self._settings.gitops_path.strip("/"), name):
            self._repository.remove(folder, removal_message(name))
        self._keys.take(name, namespace)

    def key(self, name: str) -> str:
        """As `Releaser.key`."""
        return self._keys.of(name)

    def _release(self, workload: Workload, namespace: str) -> Release:
        chart = self._settings.chart
        values = values_of(workload, self._settings, operator_values(self._settings))
        digest, manifests = chart_digest(chart), ""
        if is_folder(chart):
            words = [release_name(workload.name), chart, "--namespace", namespace, "--skip-tests"]
            manifests = self._helm.render(words, values)
        return Release(workload=workload, values=values, chart=digest, manifests=manifests)

    def _refuse_another(self, workload: Workload, folder: str) -> None:
        facts = self._repository.read(folder).get(FACTS)
        if facts is None:
            return
        known = json.loads(facts).get("spec_digest")
        if known != spec_digest(workload):
            raise Reject(
                f"another workload is released as {workload.name}: stop it first, or take another name "
                f"(the repository has {known}, this one is {spec_digest(workload)})"
            )


def _refuse_credentials(url: str) -> None:
    """The URL stands in every Application, where anybody who reads the repository reads it."""
    parts = urlsplit(url) if "://" in url else None
    if parts is not None and (parts.password or (parts.username and parts.scheme.startswith("http"))):
        raise Reject(
            "KUZNIA_K8S_GITOPS_REPOSITORY holds credentials: leave them to git "
            "(a credential helper, or an SSH key), and write the URL without them"
        )
