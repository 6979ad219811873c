"""The API of Kubernetes as we use it: plain dicts, our four words for failures, no client of anybody's.

What carries a call is a `Transport`: the official client (`shared.kubernetes.client`), or a cluster in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn, Protocol

import msgspec
from msgspec.structs import replace

from shared.errors import Conflict, Reject, Retry, Unknown
from shared.kubernetes.kinds import POD, Kind, Ref, ref_of

MANAGER = "kuznia"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON = "application/json"
Object = dict[str, Any]
Query = Mapping[str, str]
NONE: Query = MappingProxyType({})
_HINTS: Mapping[int, str] = {
    401: "the credentials are not taken: KUBECONFIG, or the pod's service account",
    403: "is it allowed? charts/kuznia grants the role",
    404: "is its namespace or its custom resource there? charts/kuznia and docs/deploy-gke.md make them",
    429: "the API server is busy",
}
_DENIED = "denied the request"  # as admission webhooks and policies have it told
_STRICT = "unknown field"
_OLD = "what defines this kind in the cluster is older than what is asked of it: docs/deploy-gke.md names versions"
_REFUSED = frozenset({400, 405, 406, 413, 415, 422})
_UNDONE = frozenset({401, 403, 404, 429, 503})  # answered before anything was done


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """seconds: within which an answer is wanted; of a watch, within which the next word is."""

    method: str
    path: str
    query: Mapping[str, str] = {}
    body: Any = None
    content_type: str = JSON
    seconds: float = 30


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """body: decoded, or text. after: seconds to wait, of a Retry-After."""

    code: int
    body: Any = None
    after: float | None = None


class Unreached(Exception):
    """No answer. sent: the call may have arrived."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class Transport(Protocol):
    """Carries calls. Raises Unreached."""

    def send(self, call: Call) -> Response: ...
    def stream(self, call: Call) -> Iterator[Response | Object]:
        """Of a watch: an answer that is no watch, or its words one by one. It ends where the server ends it."""
        ...

    def close(self) -> None: ...


class Gone(Retry):
    """What a watch wanted to go on from is forgotten: list again."""


class Absent(Retry):
    """What was asked for lies nowhere: of a list, the cluster does not know the kind."""


class Listed(msgspec.Struct, frozen=True):
    """revision: from which a watch goes on."""

    items: Sequence[Object]
    revision: str


class Api(Protocol):
    """All raise Retry (not now), Reject (never), Unknown (a write whose answer never came).

    A list raises Absent where the cluster does not know the kind.
    """

    def apply(self, manifest: Object) -> Object: ...
    def create(self, manifest: Object) -> Object: ...
    def read(self, ref: Ref) -> Object | None: ...
    def list(self, kind: Kind, namespace: str = "", labels: str = "", fields: str = "") -> Listed: ...
    def watch(
        self, kind: Kind, revision: str, labels: str, seconds: float, namespace: str = ""
    ) -> Iterator[tuple[str, Object]]: ...
    def delete(self, ref: Ref, grace_seconds: int | None = None) -> None: ...
    def merge(self, ref: Ref, patch: Object) -> Object | None: ...
    def logs(self, namespace: str, pod: str, container: str, tail: int) -> str | None: ...
    def close(self) -> None: ...


class RestApi:
    """See `Api`."""

    def __init__(self, transport: Transport, seconds: float = 30) -> None:
        self._transport = transport
        self._seconds = seconds

    def apply(self, manifest: Object) -> Object:
        """Server-side apply: makes it, or makes it as the manifest says. Fields of others stay theirs."""
        ref = ref_of(manifest)
        query = {"fieldManager": MANAGER, "force": "true", "fieldValidation": "Strict"}
        return self._write(f"apply {ref}", self._call("PATCH", ref.path, query, manifest, APPLY))

    def create(self, manifest: Object) -> Object:
        """Raises Conflict where it is there already."""
        ref = ref_of(manifest)
        query = {"fieldManager": MANAGER, "fieldValidation": "Strict"}
        path = ref.kind.path(ref.namespace)
        return self._write(f"create {ref}", self._call("POST", path, query, manifest))

    def read(self, ref: Ref) -> Object | None:
        """None where it is not there."""
        answer = self._read(f"read {ref}", self._call("GET", ref.path), absent=True)
        return answer.body if answer.code == 200 else None

    def list(self, kind: Kind, namespace: str = "", labels: str = "", fields: str = "") -> Listed:
        """All that the selectors select, in all namespaces where none is named."""
        query = {"labelSelector": labels, "fieldSelector": fields}
        call = self._call("GET", kind.path(namespace), {key: value for key, value in query.items() if value})
        body = self._read(f"list {kind.plural}", call).body
        named = {"apiVersion": kind.api_version, "kind": kind.kind}  # which the items of a list lack
        return Listed([{**named, **item} for item in body["items"]], str(body["metadata"]["resourceVersion"]))

    def watch(
        self, kind: Kind, revision: str, labels: str, seconds: float, namespace: str = ""
    ) -> Iterator[tuple[str, Object]]:
        """Type and object of each change, until the server ends it, or so many seconds are over.

        Raises Gone where the revision is too old, Retry where the connection breaks.
        """
        query = {
            "watch": "1",
            "resourceVersion": revision,
            "labelSelector": labels,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(max(1, int(seconds))),
        }
        what, call = f"watch {kind.plural}", self._call("GET", kind.path(namespace), query)
        try:
            for word in self._transport.stream(replace(call, seconds=seconds + self._seconds)):
                if isinstance(word, Response):
                    _refuse(what, word, unanswered=Retry)
                if word["type"] == "ERROR":
                    status = word["object"]
                    _refuse(what, Response(code=int(status.get("code", 500)), body=status), unanswered=Retry)
                yield word["type"], word["object"]
        except Unreached as error:
            raise Retry(f"{what}: {error}") from error

    def delete(self, ref: Ref, grace_seconds: int | None = None) -> None:
        """With what it owns, in the background; absent is success."""
        body: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        self._sent(f"delete {ref}", self._call("DELETE", ref.path, body=body), absent=True)

    def merge(self, ref: Ref, patch: Object) -> Object | None:
        """Merge patch; None where it is not there. Raises Conflict where the patch names another resourceVersion."""
        answer = self._sent(
            f"patch {ref}",
            self._call("PATCH", ref.path, {"fieldManager": MANAGER}, patch, MERGE),
            absent=True,
        )
        return answer.body if answer.code != 404 else None

    def logs(self, namespace: str, pod: str, container: str, tail: int) -> str | None:
        """The last lines that the container wrote; None where there are none to be had."""
        query = {"container": container, "tailLines": str(tail)}
        call = self._call("GET", POD.path(namespace, pod, "log"), query)
        try:
            answer = self._read(f"logs of pod {pod}", call, absent=True)
        except Reject:  # its container has not begun
            return None
        return str(answer.body) if answer.code == 200 else None

    def close(self) -> None:
        """Watches end, and nothing can be asked any more."""
        self._transport.close()

    def _call(
        self, method: str, path: str, query: Query = NONE, body: Any = None, content_type: str = JSON
    ) -> Call:
        return Call(
            method=method, path=path, query=query, body=body, content_type=content_type, seconds=self._seconds
        )

    def _read(self, what: str, call: Call, *, absent: bool = False) -> Response:
        try:
            answer = self._transport.send(call)
        except Unreached as error:
            raise Retry(f"{what}: {error}") from error
        if answer.code != 200 and not (absent and answer.code == 404):
            _refuse(what, answer, unanswered=Retry)
        return answer

    def _write(self, what: str, call: Call) -> Object:
        body: Object = self._sent(what, call).body
        return body

    def _sent(self, what: str, call: Call, *, absent: bool = False) -> Response:
        try:
            answer = self._transport.send(call)
        except Unreached as error:
            raise (Unknown if error.sent else Retry)(f"{what}: {error}") from error
        if answer.code not in {200, 201, 202} and not (absent and answer.code == 404):
            _refuse(what, answer, unanswered=Unknown)
        return answer


def _refuse(what: str, answer: Response, *, unanswered: type[Retry | Unknown]) -> NoReturn:
    """Raise our word for what the API server said."""
    told = answer.body.get("message", "") if isinstance(answer.body, dict) else str(answer.body or "")
    text = f"{what}: {answer.code} {told}".strip()
    code = answer.code
    if code == 409:
        raise Conflict(text)
    if code == 410:
        raise Gone(text)
    if code in _REFUSED:
        raise Reject(text + (f" ({_OLD})" if _STRICT in told else ""))
    if code == 403 and _DENIED in told:  # a policy's verdict of the object, not of our account
        raise Reject(text)
    hint = f" ({_HINTS[code]})" if code in _HINTS and "quota" not in told else ""
    if code in _UNDONE:
        raise (Absent if code == 404 else Retry)(text + hint, after=answer.after)
    raise unanswered(text)
