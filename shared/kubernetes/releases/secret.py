"""The Secret with the key of one server: made by the API, so that it lies in no file, history or command line."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, Protocol

from shared.kubernetes.kinds import SECRET, Ref
from shared.kubernetes.releases.values import SECRET_KEY, secret_name


class Objects(Protocol):
    """What is needed of the API: `shared.kubernetes.api.Api` has it."""

    def apply(self, manifest: dict[str, Any]) -> Any: ...
    def delete(self, ref: Ref, grace_seconds: int | None = None) -> Any: ...


class Keys:
    """key: of a server, by its name; `shared.engine_key` derives it, and the gateway derives the same."""

    def __init__(self, objects: Objects, key: Callable[[str], str]) -> None:
        self._objects = objects
        self._key = key

    def give(self, name: str, namespace: str) -> None:
        """Make the Secret, or make it right. Raises Retry, Reject, Unknown, as the API does."""
        self._objects.apply(manifest(name, namespace, self._key(name)))

    def of(self, name: str) -> str:
        """The key itself, for those who ask that server."""
        return self._key(name)

    def take(self, name: str, namespace: str) -> None:
        """Take it away; absent is success. Raises as `give`."""
        self._objects.delete(Ref(SECRET, namespace, secret_name(name)))


def manifest(name: str, namespace: str, key: str) -> dict[str, Any]:
    """The Secret of one server."""
    labels = {
        "app.kubernetes.io/instance": name,
        "app.kubernetes.io/component": "engine",
        "app.kubernetes.io/part-of": "kuznia",
        "app.kubernetes.io/managed-by": "kuznia",
        "kuznia.dev/release": name,
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": secret_name(name), "namespace": namespace, "labels": labels},
        "type": "Opaque",
        "data": {SECRET_KEY: base64.b64encode(key.encode()).decode()},
    }
