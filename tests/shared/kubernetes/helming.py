"""A cluster for real helm to talk to: our API server, what it was asked, and a releaser to it."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.kubernetes.fake.core import Core
from shared.kubernetes.fake.http import HttpFront
from shared.kubernetes.fake.server import Answer, ApiServer, Request
from shared.kubernetes.kinds import DEPLOYMENT, SECRET, Ref
from shared.kubernetes.kinds import NAMESPACE as NAMESPACES
from shared.kubernetes.releases.helm import HelmReleaser
from shared.kubernetes.releases.program import Helm
from shared.kubernetes.settings import KubernetesSettings
from tests.shared.kubernetes.releasing import NAME, NAMESPACE, Objects, keys, settings


class NoOutputs:
    def read(self, pod: dict[str, Any], container: str, *, previous: bool) -> str:
        raise FileNotFoundError(container)


class Counting:
    """The API server, which tells what it was asked, and lets a test get in the way."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self.requests: list[Request] = []
        self.before: Callable[[Request], Answer | None] = lambda _request: None

    def handle(self, request: Request) -> Answer:
        self.requests.append(request)
        return self.before(request) or self._server.handle(request)


class FixedClock:
    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Cluster:
    """A cluster with the tenant's namespace of servers, and a releaser to it."""

    def __init__(self, helm: str) -> None:
        self.core = Core(lambda: datetime.now(UTC))
        self.api = Counting(ApiServer(self.core, NoOutputs()))
        self.front = HttpFront(self.api, threading.Condition(threading.RLock()))  # type: ignore[arg-type]
        self.front.start()
        self.core.create(NAMESPACES, "", {"metadata": {"name": NAMESPACE}})
        self.objects, self.clock, self.program = Objects(), FixedClock(), helm

    def settings(self, **more: Any) -> KubernetesSettings:
        return settings(url=self.front.url, **more)

    def releaser(self, **more: Any) -> HelmReleaser:
        chosen = self.settings(**more)
        return HelmReleaser(chosen, keys(self.objects), self.clock, Helm(chosen, self.program))

    def helm(self, *words: str) -> str:
        command = [self.program, *words, "--namespace", NAMESPACE, "--kube-apiserver", self.front.url]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def deployment(self) -> dict[str, Any] | None:
        return self.core.find(Ref(DEPLOYMENT, NAMESPACE, NAME))

    def revisions(self) -> list[str]:
        """Status of each revision, oldest first."""
        found = self.core.selected(SECRET, NAMESPACE, "owner=helm")
        labels = [secret["metadata"]["labels"] for secret in found]
        return [label["status"] for label in sorted(labels, key=lambda label: int(label["version"]))]


@contextmanager
def served(helm: str) -> Iterator[Cluster]:
    """One, for as long as it is needed."""
    found = Cluster(helm)
    yield found
    found.front.close()
