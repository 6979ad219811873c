"""Opens the cluster on Kubernetes, as the environment says."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from events.envelope import Event
from shared.engine_key import engine_key
from shared.kubernetes.api import Api
from shared.kubernetes.client import open_api
from shared.kubernetes.cluster import KubernetesCluster
from shared.kubernetes.making import PlainReleaser
from shared.kubernetes.releases.argo import Argo
from shared.kubernetes.releases.gitops import GitopsReleaser
from shared.kubernetes.releases.helm import HelmReleaser
from shared.kubernetes.releases.program import Helm
from shared.kubernetes.releases.releaser import Releaser
from shared.kubernetes.releases.repository import DeployRepository
from shared.kubernetes.releases.secret import Keys
from shared.kubernetes.settings import KubernetesSettings, from_environment
from shared.ports.clock import Clock
from shared.settings import Settings


def open_cluster(
    settings: Settings,
    publish: Callable[[Sequence[Event]], None],
    clock: Clock,
    environ: Mapping[str, str] = os.environ,
) -> KubernetesCluster:
    """Raises SettingsError, Retry (no cluster is known)."""
    options = from_environment(environ)
    api = open_api(options)
    return KubernetesCluster(api, options, open_releaser(settings, options, api, clock), publish, clock)


def open_releaser(settings: Settings, options: KubernetesSettings, api: Api, clock: Clock) -> Releaser:
    """What makes servers, as KUZNIA_K8S_RELEASES says. Raises Reject."""
    if options.releases == "plain":
        return PlainReleaser(api, options)
    keys = Keys(api, lambda name: engine_key(settings.home, name))
    if options.releases == "helm":
        return HelmReleaser(options, keys, clock, Helm(options))
    mirror = settings.home / "git" / "releases.git"
    repository = DeployRepository(
        options.gitops_repository, options.gitops_branch, mirror, options.request_seconds
    )
    return GitopsReleaser(options, keys, repository, Helm(options), Argo(api, clock))
