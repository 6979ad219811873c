"""A fake cluster under a clock that is set by hand, and short ways to ask it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from shared.kubernetes.fake.cluster import FakeCluster
from shared.kubernetes.fake.patches import APPLY, MERGE
from shared.kubernetes.fake.server import Answer, Request


class Hands:
    """`now` moves only by `pass_`."""

    def __init__(self, **more: Any) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)
        self.cluster = FakeCluster(lambda: self.now, **more)
        self.cluster.node("node-0", gpus="8")

    def pass_(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.cluster.settle()

    def ask(
        self, method: str, path: str, body: Any = None, type_: str = "application/json", **query: str
    ) -> Answer:
        request = Request(
            method=method, path=path, query=query, body=body, content_type=type_, agent="tests/1"
        )
        return self.cluster.server.handle(request)

    def get(self, path: str, **query: str) -> Any:
        answer = self.ask("GET", path, **query)
        assert answer.code == 200, answer.body
        return answer.body

    def create(self, path: str, body: Any, code: int = 201) -> Any:
        answer = self.ask("POST", path, body)
        assert answer.code == code, answer.body
        return answer.body

    def merge(self, path: str, body: Any, code: int = 200, **query: str) -> Any:
        answer = self.ask("PATCH", path, body, MERGE, **query)
        assert answer.code == code, answer.body
        return answer.body

    def apply(self, path: str, body: Any, manager: str, code: int = 200, *, force: bool = False) -> Any:
        answer = self.ask("PATCH", path, body, APPLY, fieldManager=manager, force=str(force).lower())
        assert answer.code == code, answer.body
        return answer.body

    def delete(self, path: str, code: int = 200, **options: Any) -> Any:
        answer = self.ask("DELETE", path, options or None)
        assert answer.code == code, answer.body
        return answer.body


CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
JOBS = "/apis/batch/v1/namespaces/default/jobs"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def config_map(name: str = "settings", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def template(restart: str, **container: Any) -> dict[str, Any]:
    spec = {"restartPolicy": restart, "containers": [{"name": "main", "image": "trainer:1", **container}]}
    return {"metadata": {"labels": {"app": "it"}}, "spec": spec}


def pod(name: str = "one", **spec: Any) -> dict[str, Any]:
    whole = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "trainer:1"}], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": whole}


def job(name: str = "fit", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": template("Never"), **spec},
    }


def deployment(name: str = "web", replicas: int = 1, **container: Any) -> dict[str, Any]:
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": "it"}},
        "template": template("Always", **container),
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
