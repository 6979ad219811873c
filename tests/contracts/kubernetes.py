"""The clusters on Kubernetes that the contract of `shared.ports.cluster` is held against.

`kubernetes`: our API server in memory, whose pods are processes of this machine. `kubernetes-http`: the same behind
HTTP, spoken to by the official client. `kind`: a cluster of yours, in which pods see no files of this machine:

    printf 'FROM python:3.11-slim\\nCOPY scripted_pod.py /pods/\\nENV PYTHONPATH=/pods\\n' > Dockerfile
    docker build -t scripted:1 . && kind load docker-image scripted:1
    KUZNIA_KIND_CONTEXT=kind-kind KUZNIA_KIND_IMAGE=scripted:1 pytest -m kind tests/contracts/test_cluster.py
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from events.envelope import Event
from shared.kubernetes.api import Api, RestApi
from shared.kubernetes.cluster import KubernetesCluster
from shared.kubernetes.fake.cluster import FakeCluster
from shared.kubernetes.fake.processes import ProcessRuntime
from shared.kubernetes.fake.service import FakeService
from shared.kubernetes.fake.transport import MemoryTransport
from shared.kubernetes.making import PlainReleaser
from shared.kubernetes.settings import KubernetesSettings
from shared.local.clock import SystemClock

TENANT = "acme"
NAMESPACES = ("kuznia", TENANT, f"{TENANT}-api")
CONTEXT, IMAGE = "KUZNIA_KIND_CONTEXT", "KUZNIA_KIND_IMAGE"
STEP_SECONDS = 0.02
Publish = Callable[[Sequence[Event]], None]
Environment = Mapping[str, str]


def settings(**more: str) -> KubernetesSettings:
    """Of a fake: whoever is asked for by its pod's address answers."""
    chosen = {"trainer_image": "scripted:1", "engine_image": "scripted:1", "address": "pod", **more}
    return KubernetesSettings(**chosen, watch_seconds=5)  # type: ignore[arg-type]


def opened(api: Api, options: KubernetesSettings, publish: Publish) -> KubernetesCluster:
    """Started."""
    cluster = KubernetesCluster(api, options, PlainReleaser(api, options), publish, SystemClock())
    cluster.start()
    return cluster


def furnished(cluster: FakeCluster) -> None:
    """What whoever installs the platform has made."""
    cluster.node("node-0", gpus="8")
    for name in NAMESPACES:
        cluster.namespace(name)


@contextmanager
def stepped(cluster: FakeCluster) -> Iterator[None]:
    """Its controllers run meanwhile."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(STEP_SECONDS):
            cluster.settle()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def in_memory(folder: Path, environment: Environment, publish: Publish) -> Iterator[KubernetesCluster]:
    runtime = ProcessRuntime(folder / "kubelet", environment)
    fake = FakeCluster(SystemClock().now, runtime)
    furnished(fake)
    with stepped(fake):
        cluster = opened(RestApi(MemoryTransport(fake, wait=0.2)), settings(), publish)
        yield cluster
        cluster.close()
    runtime.close()


def over_http(folder: Path, environment: Environment, publish: Publish) -> Iterator[KubernetesCluster]:
    service = FakeService(folder / "kubelet", environment)
    furnished(service.cluster)
    service.start()
    options = settings(url=service.url)
    cluster = opened(import_module("shared.kubernetes.client").open_api(options), options, publish)
    yield cluster
    cluster.close()
    service.close()


def kind(_folder: Path, _environment: Environment, publish: Publish) -> Iterator[KubernetesCluster]:
    image = os.environ[IMAGE]
    options = settings(context=os.environ[CONTEXT], trainer_image=image, engine_image=image)
    api = import_module("shared.kubernetes.client").open_api(options)
    for name in NAMESPACES:
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        for account in ("trainer", "engine"):
            metadata = {"name": account, "namespace": name}
            api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    cluster = opened(api, options, publish)
    yield cluster
    for status in cluster.list():
        cluster.stop(status.name)
        while (now := cluster.status(status.name)) and now.phase not in {"succeeded", "failed"}:
            cluster.tend(status.name)
        cluster.forget(status.name)
    cluster.close()
