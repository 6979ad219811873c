"""Who may ask, and what every answer carries.

A page of another site can make a browser's name point at 127.0.0.1 (DNS rebinding); the Host header then still
holds that name, so only names we go by are answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.console.errors import ApiError
from services.console.web.errors import error_answer

LOOPBACK = ("127.0.0.1", "localhost", "::1")
WILDCARDS = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - these are left out, not bound
PROBES = ("/healthz", "/readyz", "/api/v1/healthz", "/api/v1/readyz")  # a kubelet asks by the pod's address
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-cache",
}


class Guard:
    """ASGI middleware. names: hosts we go by, without port, `*` for any. open_paths: asked under any name."""

    def __init__(self, app: ASGIApp, *, names: frozenset[str], open_paths: Sequence[str]) -> None:
        self._app = app
        self._names = names
        self._open = (*PROBES, *open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers itself where the host is not ours; else adds the headers. HEAD is asked as GET."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = [value for name, value in scope["headers"] if name == b"host"]
        refusal = None if self._is_open(scope["path"]) else self._refusal(headers)
        app = refusal or self._app
        if scope["method"] == "HEAD":
            await app({**scope, "method": "GET"}, receive, _bodiless(_dressed(send)))
        else:
            await app(scope, receive, _dressed(send))

    def _is_open(self, path: str) -> bool:
        return any(path == known or path.startswith(f"{known}/") for known in self._open)

    def _refusal(self, hosts: list[bytes]) -> Response | None:
        if len(hosts) != 1:
            what, mend = f"the request has {len(hosts)} Host headers", "send exactly one"
            return error_answer(ApiError(400, what, where="header: Host", mend=mend))
        name = host_name(hosts[0].decode("latin-1"))
        if name in self._names or "*" in self._names:
            return None
        known = ", ".join(sorted(self._names))
        return error_answer(
            ApiError(
                421,
                f"this console does not go by the name {name[:100]!r}",
                where="header: Host",
                mend=f"ask by one of {known}; behind a proxy, add its name to the allowed hosts",
            )
        )


def allowed_names(host: str, more: Iterable[str]) -> frozenset[str]:
    """The names we go by: loopback's, the one we listen on, and those an operator adds."""
    names = {host_name(name) for name in (*LOOPBACK, host, *more)}
    return frozenset(names - WILDCARDS)


def host_name(value: str) -> str:
    """A Host header without port and brackets, in lower case.

    >>> host_name("[::1]:8500"), host_name("Forge.example.org.:80"), host_name("::1")
    ('::1', 'forge.example.org', '::1')
    """
    text = value.strip().lower()
    if text.startswith("["):
        return text[1:].split("]", 1)[0]
    if text.count(":") == 1:
        text = text.split(":", 1)[0]
    return text.rstrip(".")


def _dressed(send: Send) -> Send:
    async def dressed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return dressed


def _bodiless(send: Send) -> Send:
    async def bodiless(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return bodiless
