"""Which parts an installation stands on: KUZNIA_PROFILE is `local` (the default) or `gcp`.

Where its pods run is chosen apart from that: KUZNIA_CLUSTER is `process` (the default) or `kubernetes`. Parts are
imported only where they are used.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from shared.hosts.door import Door
from shared.hosts.driver import Observer, unobserved
from shared.ports.artifacts import Artifacts
from shared.ports.bus import Bus
from shared.ports.clock import Clock
from shared.ports.cluster import Cluster
from shared.ports.store import Store
from shared.service import Ports, Service
from shared.settings import Settings, SettingsError, from_environment

VARIABLE = "KUZNIA_PROFILE"
SERVICES_VARIABLE = "KUZNIA_SERVICES"
CLUSTER_VARIABLE = "KUZNIA_CLUSTER"
LOCAL, GCP = "local", "gcp"
PROCESS, KUBERNETES = "process", "kubernetes"
_ASSEMBLIES = {LOCAL: "shared.local.assembly", GCP: "shared.google.assembly"}


class Opened(Protocol):
    """What a profile opens; close it when done."""

    @property
    def bus(self) -> Bus: ...
    @property
    def store(self) -> Store: ...
    @property
    def artifacts(self) -> Artifacts: ...
    @property
    def clock(self) -> Clock: ...
    def close(self) -> None: ...


class Host(Protocol):
    """What runs services."""

    def subscribe(self) -> None: ...
    def start(self) -> None: ...
    def close(self) -> None: ...


def profile(environ: Mapping[str, str] = os.environ) -> str:
    """The name of the profile. Raises SettingsError."""
    name = environ.get(VARIABLE) or LOCAL
    if name not in _ASSEMBLIES:
        raise SettingsError(f"{VARIABLE} is {name!r}; it should be {' or '.join(_ASSEMBLIES)}")
    return name


def open_ports(settings: Settings, services: Sequence[str] = ()) -> Any:
    """The ports of the profile, as its own assembly opens them (`Opened`, and what only that profile has).

    services: whose deliveries are to be lent here; empty means everybody's. Raises SettingsError, Reject, Retry.
    """
    name = profile()
    assembly = importlib.import_module(_ASSEMBLIES[name])
    return assembly.open_ports(settings, services) if name == GCP else assembly.open_ports(settings)


def installed(settings: Settings) -> bool:
    """Whether there is an installation to look at: a home, or a project somewhere else."""
    return profile() == GCP or settings.database.exists()


def chosen(services: Mapping[str, Service], environ: Mapping[str, str] = os.environ) -> Mapping[str, Service]:
    """Which services this process runs: KUZNIA_SERVICES, names with commas, or `none`; unset: all of them."""
    wanted = environ.get(SERVICES_VARIABLE)
    if not wanted:
        return services
    names = [] if wanted == "none" else [name.strip() for name in wanted.split(",")]
    unknown = [name for name in names if name not in services]
    if unknown:
        raise SettingsError(
            f"{SERVICES_VARIABLE} names {', '.join(unknown)}; there are {', '.join(services)}, or none"
        )
    return {name: services[name] for name in names}


def open_cluster(settings: Settings, opened: Opened) -> Any:
    """Where pods run. Who starts it supervises; others only write down what is to run. Raises SettingsError."""
    if cluster_kind() == KUBERNETES:
        assembly = importlib.import_module("shared.kubernetes.assembly")
        return assembly.open_cluster(settings, opened.bus.publish, opened.clock)
    module = importlib.import_module("shared.local.cluster.process_cluster")
    return module.ProcessCluster(
        settings.cluster, opened.bus.publish, pod_environment(settings), opened.clock
    )


def cluster_kind(environ: Mapping[str, str] = os.environ) -> str:
    """`process`: of this machine; or `kubernetes`. Raises SettingsError."""
    kind = environ.get(CLUSTER_VARIABLE) or PROCESS
    if kind not in (PROCESS, KUBERNETES):
        raise SettingsError(f"{CLUSTER_VARIABLE} is {kind!r}; it should be {PROCESS} or {KUBERNETES}")
    return kind


def pod_environment(settings: Settings) -> dict[str, str]:
    """What pods see: our environment, and where this installation lies."""
    return {**os.environ, "KUZNIA_HOME": str(settings.home), "XDG_CACHE_HOME": str(settings.cache.parent)}


def open_host(
    services: Mapping[str, Service], ports: Ports, opened: Any, observer: Observer = unobserved
) -> Host:
    """What runs services on these ports: writes in company where they lie in one file, threads where they are far."""
    host: Host
    if profile() == GCP:
        host = importlib.import_module("shared.hosts.pull").PullHost(services, ports, opened.bus, observer)
    else:
        embedded = importlib.import_module("shared.hosts.embedded")
        host = embedded.EmbeddedHost(services, ports, opened.bus, observer, opened.company)
    return host


def ports_of(settings: Settings, opened: Opened, cluster: Cluster | None = None) -> Ports:
    """What effects may use."""
    return Ports(
        store=opened.store,
        artifacts=opened.artifacts,
        cluster=cluster or open_cluster(settings, opened),
        clock=opened.clock,
        settings=settings,
    )


def open_door(services: Mapping[str, Service], observer: Observer = unobserved) -> Door:
    """Where events are pushed to these services. Raises SettingsError: only the profile gcp is pushed to."""
    if profile() != GCP:
        raise SettingsError(f"{VARIABLE} is {LOCAL}; events are pushed in the profile {GCP} only")
    settings = from_environment()
    opened = open_ports(settings, tuple(services))
    fault = importlib.import_module("shared.google.assembly").push_fault()
    return Door(services, ports_of(settings, opened), opened.bus, fault, observer)
