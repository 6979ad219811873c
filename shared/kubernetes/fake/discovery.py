"""What an API server says of itself: its version, its groups and resources, and as much of OpenAPI as clients ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.kubernetes.fake.objects import Object
from shared.kubernetes.kinds import Kind

VERSION = ("1", "34")
_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_ALL = frozenset({"pods", "services", "deployments", "jobs", "cronjobs"})  # `kubectl get all`
_SCALED = frozenset({"deployments"})


def answer(path: str, kinds: Sequence[Kind]) -> Object | str | None:
    """The document at the path, or None where none of these lies there."""
    path = path.rstrip("/") or "/"
    if path in {"/healthz", "/readyz", "/livez"}:
        return "ok"
    parts = path.split("/")[1:]
    found: Object | None = None
    if path == "/version":
        found = _version()
    elif path == "/api":
        found = {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    elif path == "/apis":
        found = {
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": [_group(name, kinds) for name in _groups(kinds)],
        }
    elif parts[0] == "api" and len(parts) == 2:
        found = _resources("", parts[1], kinds)
    elif parts[0] == "apis" and len(parts) == 2 and parts[1] in _groups(kinds):
        found = {"kind": "APIGroup", "apiVersion": "v1", **_group(parts[1], kinds)}
    elif parts[0] == "apis" and len(parts) == 3:
        found = _resources(parts[1], parts[2], kinds)
    elif parts[0] == "openapi":
        found = _openapi(parts[1:], kinds)
    return found


def _version() -> Object:
    major, minor = VERSION
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{major}.{minor}.0+kuznia",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "linux/amd64",
    }


def _groups(kinds: Sequence[Kind]) -> list[str]:
    return sorted({kind.group for kind in kinds if kind.group})


def _group(name: str, kinds: Sequence[Kind]) -> Object:
    versions = [
        {"groupVersion": f"{name}/{version}", "version": version}
        for version in sorted({kind.version for kind in kinds if kind.group == name})
    ]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def _resources(group: str, version: str, kinds: Sequence[Kind]) -> Object | None:
    served = [kind for kind in kinds if (kind.group, kind.version) == (group, version)]
    if not served:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": served[0].api_version,
        "resources": [resource for kind in served for resource in _entries(kind)],
    }


def _entries(kind: Kind) -> list[Object]:
    entry = {
        "name": kind.plural,
        "singularName": kind.kind.lower(),
        "namespaced": kind.namespaced,
        "kind": kind.kind,
    }
    whole = {**entry, "verbs": _VERBS, "shortNames": list(kind.short)}
    parts: list[Object] = [whole | ({"categories": ["all"]} if kind.plural in _ALL else {})]
    if kind.status:
        parts.append(
            {
                **entry,
                "name": f"{kind.plural}/status",
                "singularName": "",
                "verbs": ["get", "patch", "update"],
            }
        )
    if kind.plural == "pods":
        parts.append({**entry, "name": "pods/log", "singularName": "", "verbs": ["get"]})
        eviction = {"kind": "Eviction", "group": "policy", "version": "v1", "verbs": ["create"]}
        parts.append({**entry, "name": "pods/eviction", "singularName": "", **eviction})
    if kind.plural in _SCALED:
        scale = {
            "kind": "Scale",
            "group": "autoscaling",
            "version": "v1",
            "verbs": ["get", "patch", "update"],
        }
        parts.append({**entry, "name": f"{kind.plural}/scale", "singularName": "", **scale})
    return parts


def _openapi(parts: Sequence[str], kinds: Sequence[Kind]) -> Object | None:
    """Version 3 in so far as kubectl and helm learn from it that fields are validated here, not there."""
    if parts == ["v2"]:
        return {
            "swagger": "2.0",
            "info": {"title": "Kubernetes", "version": "v1.34.0"},
            "paths": {},
            "definitions": {},
        }
    if parts == ["v3"]:
        paths = sorted({_place(kind) for kind in kinds})
        return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}"} for path in paths}}
    served = [kind for kind in kinds if list(parts) == ["v3", *_place(kind).split("/")]]
    if not served:
        return None
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.34.0"},
        "paths": {_named(kind): {"patch": _patch(kind)} for kind in served},
        "components": {"schemas": {f"kuznia.{kind.kind}": _schema(kind) for kind in served}},
    }


def _place(kind: Kind) -> str:
    return f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"


def _named(kind: Kind) -> str:
    return kind.path("{namespace}" if kind.namespaced else "", "{name}")


def _gvk(kind: Kind) -> Object:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _patch(kind: Kind) -> Object:
    parameters: list[Any] = [
        {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
        for name in ("dryRun", "fieldManager", "fieldValidation", "force")
    ]
    return {
        "operationId": f"patch{kind.kind}",
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": _gvk(kind),
    }


def _schema(kind: Kind) -> Object:
    return {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "x-kubernetes-group-version-kind": [_gvk(kind)],
    }
