"""Requests to answers, without a socket: what the HTTP front and the client in memory both speak to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from shared.kubernetes.fake import discovery
from shared.kubernetes.fake.core import Core, Deletion
from shared.kubernetes.fake.failures import Failure, absent
from shared.kubernetes.fake.faults import CODES, Fault, Faults, NoFaults
from shared.kubernetes.fake.objects import Object, find
from shared.kubernetes.fake.ownership import managed_fields
from shared.kubernetes.fake.patches import APPLY
from shared.kubernetes.fake.routes import Route, Routes
from shared.kubernetes.fake.selectors import matcher
from shared.kubernetes.fake.watching import Feed
from shared.kubernetes.kinds import KINDS, POD, Kind

_STALE_CHANGES = 20
LOST, REFUSED = 0, -1  # no answer: after it was done, and before


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """body: decoded. agent: who asks, where the query names no field manager."""

    method: str
    path: str
    query: Mapping[str, str] = {}
    body: Any = None
    content_type: str = "application/json"
    agent: str = "unknown"


class Answer(msgspec.Struct, frozen=True):
    """code: of HTTP, or LOST, or REFUSED. body: an object, or text. feed: of a watch."""

    code: int
    body: Any = None
    feed: Feed | None = None
    retry_after: int = 0


class Outputs(Protocol):
    """What containers have written."""

    def read(self, pod: Object, container: str, *, previous: bool) -> str: ...


class ApiServer:
    """One API server over one core. outputs: logs of pods."""

    def __init__(self, core: Core, outputs: Outputs, kinds: Sequence[Kind] = KINDS) -> None:
        self.core = core
        self.routes = Routes(kinds)
        self.faults: Faults = NoFaults()
        self._outputs = outputs

    def handle(self, request: Request) -> Answer:
        """The answer; failures are answers too."""
        try:
            found = discovery.answer(request.path, self.routes.kinds)
            if found is not None:
                return Answer(200, found)
            route = self.routes.find(request.path)
            return self._guarded(request, route) if route else _nowhere()
        except Failure as failure:
            return Answer(failure.code, failure.status(), retry_after=failure.retry_after)

    def _guarded(self, request: Request, route: Route) -> Answer:
        verb = _verb(request, route)
        fault = self.faults.hit(verb, route.kind.plural, route.name)
        if fault in CODES:
            raise Failure(
                int(fault), f"injected: {verb} of {route.kind.plural}", retry_after=int(fault == "429")
            )
        if fault == "refused":
            return Answer(REFUSED)
        try:
            answer = self._act(verb, request, route, fault)
        except Failure:
            if fault == "lost":
                return Answer(LOST)
            raise
        return Answer(LOST) if fault == "lost" else answer

    def _act(self, verb: str, request: Request, route: Route, fault: Fault) -> Answer:
        if verb in {"list", "watch"}:
            return self._collection(verb, request, route, fault)
        if verb == "log":
            return Answer(200, self._log(route, request.query))
        if route.subresource == "eviction":
            return self._evict(route)
        act: Callable[[Request, Route], Answer] = getattr(self, f"_{verb}", _not_allowed)
        return act(request, route)

    def _collection(self, verb: str, request: Request, route: Route, fault: Fault) -> Answer:
        query = request.query
        matches = matcher(query.get("labelSelector", ""), query.get("fieldSelector", ""))
        if fault == "gone":
            raise Failure(410, "injected: too old resource version", reason="Expired")
        if verb == "watch":
            feed = Feed(self.core, route.kind, route.namespace, matches)
            feed.begin(query)
            feed.dropped = fault == "dropped"
            return Answer(200, feed=feed)
        revision = self.core.revision
        if fault == "stale":
            revision = max(self.core.log.oldest, revision - _STALE_CHANGES)
            items = self.core.as_of(revision, route.kind, route.namespace, matches)
        else:
            items = self.core.list(route.kind, route.namespace, matches)
        body = {
            "kind": f"{route.kind.kind}List",
            "apiVersion": route.kind.api_version,
            "metadata": {"resourceVersion": str(revision)},
            "items": list(items),
        }
        return Answer(200, body)

    def _get(self, _request: Request, route: Route) -> Answer:
        obj = self.core.read(route.ref)
        if route.subresource == "scale":
            return Answer(200, _scale(obj))
        return Answer(200, self._shown(obj))

    def _create(self, request: Request, route: Route) -> Answer:
        if not isinstance(request.body, dict):
            raise Failure(400, "the body is no object")
        if _dry(request):
            return Answer(201, request.body)
        return Answer(201, self.core.create(route.kind, route.namespace, request.body))

    def _update(self, request: Request, route: Route) -> Answer:
        status = route.subresource == "status"
        if route.subresource == "scale":
            spec = {**self.core.read(route.ref)["spec"], "replicas": request.body["spec"]["replicas"]}
            obj = {**self.core.read(route.ref), "spec": spec}
            return Answer(200, _scale(self.core.replace(route.ref, obj, manager=_manager(request))))
        return Answer(
            200, self.core.replace(route.ref, request.body, status=status, manager=_manager(request))
        )

    def _patch(self, request: Request, route: Route) -> Answer:
        core, manager, status = self.core, _manager(request), route.subresource == "status"
        if route.subresource == "scale":
            core.patch(route.ref, request.body, request.content_type, manager=manager)
            return Answer(200, _scale(core.read(route.ref)))
        there = core.find(route.ref) is not None
        if _dry(request):
            return Answer(200, core.find(route.ref) or request.body)
        if request.content_type == APPLY:
            force = request.query.get("force") == "true"
            made = core.apply(route.ref, request.body, manager, force=force, status=status)
            return Answer(200 if there else 201, self._shown(made))
        patched = core.patch(route.ref, request.body, request.content_type, status=status, manager=manager)
        return Answer(200, self._shown(patched))

    def _delete(self, request: Request, route: Route) -> Answer:
        if not route.name:
            matches = matcher(request.query.get("labelSelector", ""), request.query.get("fieldSelector", ""))
            for obj in self.core.list(route.kind, route.namespace, matches):
                name = obj["metadata"]["name"]
                self.core.delete(Route(route.kind, route.namespace, name).ref, _deletion(request))
            return Answer(200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})
        gone = self.core.delete(route.ref, _deletion(request))
        return Answer(200, gone)

    def _evict(self, route: Route) -> Answer:
        pod = self.core.read(route.ref)
        disrupted = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
            "lastTransitionTime": self.core.stamp(),
        }
        conditions = [*(find(pod, ("status", "conditions")) or ()), disrupted]
        status = {**pod["status"], "conditions": conditions}
        self.core.replace(route.ref, {**pod, "status": status}, status=True)
        self.core.delete(route.ref)
        return Answer(201, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})

    def _log(self, route: Route, query: Mapping[str, str]) -> str:
        pod = self.core.read(route.ref)
        names = [container["name"] for container in pod["spec"]["containers"]]
        container = query.get("container") or names[0]
        known = [*names, *(each["name"] for each in pod["spec"].get("initContainers") or ())]
        if route.kind != POD or container not in known:
            raise Failure(400, f"container {container} is not valid for pod {route.name}")
        if not find(pod, ("spec", "nodeName")):
            raise Failure(400, f'container "{container}" in pod "{route.name}" is waiting to start: Pending')
        text = self._outputs.read(pod, container, previous=query.get("previous") == "true")
        if "tailLines" in query:
            lines = int(query["tailLines"])
            text = "".join(text.splitlines(keepends=True)[-lines:]) if lines else ""
        return text[-int(query["limitBytes"]) :] if "limitBytes" in query else text

    def _shown(self, obj: Object) -> Object:
        owners = self.core.said(obj)
        if not owners:
            return obj
        at = obj["metadata"]["creationTimestamp"]
        fields = managed_fields(owners, obj["apiVersion"], at)
        return {**obj, "metadata": {**obj["metadata"], "managedFields": fields}}


def _verb(request: Request, route: Route) -> str:
    if request.method == "GET":
        if route.subresource == "log":
            return "log"
        watching = request.query.get("watch") in {"1", "true"}
        return "watch" if watching else ("get" if route.name else "list")
    verbs = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
    if request.method not in verbs or (route.name and request.method == "POST" and not route.subresource):
        raise Failure(405, "the server does not allow this method on the requested resource")
    if not route.name and request.method in {"PUT", "PATCH"}:
        raise absent(route.kind.plural, "")
    return verbs[request.method]


def _nowhere() -> Answer:
    return Answer(404, Failure(404, "the server could not find the requested resource").status())


def _not_allowed(_request: Request, _route: Route) -> Answer:
    raise Failure(405, "the server does not allow this method on the requested resource")


def _manager(request: Request) -> str:
    return request.query.get("fieldManager") or request.agent.split("/")[0]


def _dry(request: Request) -> bool:
    return request.query.get("dryRun") == "All"


def _deletion(request: Request) -> Deletion:
    body = request.body or {}
    grace = body.get("gracePeriodSeconds", request.query.get("gracePeriodSeconds"))
    conditions = body.get("preconditions") or {}
    return Deletion(
        grace=None if grace is None else int(grace),
        propagation=body.get("propagationPolicy") or request.query.get("propagationPolicy") or "Background",
        uid=conditions.get("uid") or "",
        revision=conditions.get("resourceVersion") or "",
    )


def _scale(obj: Object) -> Object:
    metadata = {key: obj["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": obj["spec"].get("replicas", 1)},
        "status": {"replicas": (obj.get("status") or {}).get("replicas", 0)},
    }
