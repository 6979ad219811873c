"""The official client as a transport. It takes seconds to import, and is imported only where it is used."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import urllib3
from kubernetes import config
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException

from shared.errors import Retry
from shared.kubernetes.api import Call, Object, Response, RestApi, Unreached
from shared.kubernetes.settings import KubernetesSettings

_CONNECT_SECONDS = 5.0
_POOL = 32
_AGENT = "kuznia"
_UNSENT = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.NameResolutionError,
    urllib3.exceptions.SSLError,
)


def open_api(settings: KubernetesSettings) -> RestApi:
    """Raises Retry where there is no cluster to speak to."""
    return RestApi(ClientTransport(_client(settings)), settings.request_seconds)


class ClientTransport:
    """Identity, tokens and TLS are the client's; the calls are ours. Used by any thread."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._streams: set[urllib3.HTTPResponse] = set()
        self._closed = False

    def send(self, call: Call) -> Response:
        """See `Transport.send`."""
        try:
            answer = self._request(call)
            content = answer.read()
        except (urllib3.exceptions.HTTPError, ApiException, OSError) as error:
            raise _unreached(error) from error
        return Response(
            code=answer.status, body=_decoded(content, answer.headers), after=_after(answer.headers)
        )

    def stream(self, call: Call) -> Iterator[Response | Object]:
        """See `Transport.stream`."""
        try:
            answer = self._request(call)
            if answer.status != 200:
                content = answer.read()
                yield Response(code=answer.status, body=_decoded(content, answer.headers))
                return
            with self._held(answer.response):
                yield from _lines(answer.response)
        except json.JSONDecodeError as error:  # a proxy's own words, or the half of a line
            raise Unreached(f"the watch says what is no JSON: {error}", sent=True) from error
        except (urllib3.exceptions.HTTPError, ApiException, OSError) as error:
            raise _unreached(error) from error

    def close(self) -> None:
        """End what streams, whoever reads it, and let go of all connections."""
        with self._lock:
            self._closed = True
            for stream in self._streams:
                with suppress(OSError, ValueError, RuntimeError):  # it has just ended
                    stream.shutdown()
        self._client.close()

    @contextmanager
    def _held(self, stream: urllib3.HTTPResponse) -> Iterator[None]:
        with self._lock:
            if self._closed:
                stream.close()
                raise Unreached("the connection is closed", sent=False)
            self._streams.add(stream)
        try:
            yield
        finally:
            with self._lock:
                self._streams.discard(stream)
            stream.close()

    def _request(self, call: Call) -> Any:
        method, url, headers, body, _ = self._client.param_serialize(
            call.method,
            call.path,
            query_params=list(call.query.items()),
            header_params={"Accept": "application/json", "Content-Type": call.content_type},
            body=call.body,
            auth_settings=["BearerToken"],
        )
        timeout = (min(_CONNECT_SECONDS, call.seconds), call.seconds)
        return self._client.call_api(method, url, headers, body, _request_timeout=timeout)


def _client(settings: KubernetesSettings, environ: Mapping[str, str] = os.environ) -> ApiClient:
    configuration = Configuration()
    if settings.url:
        configuration.host = settings.url.rstrip("/")
    else:
        try:
            if environ.get("KUBERNETES_SERVICE_HOST") and not (settings.context or environ.get("KUBECONFIG")):
                config.load_incluster_config(client_configuration=configuration)
            else:
                config.load_kube_config(context=settings.context or None, client_configuration=configuration)
        except (config.ConfigException, OSError) as error:
            raise Retry(
                f"no Kubernetes cluster is known: {error}; set KUBECONFIG or KUZNIA_K8S_URL"
            ) from error
    configuration.retries = False  # who calls decides, in our words
    configuration.connection_pool_maxsize = _POOL
    client = ApiClient(configuration)
    client.user_agent = _AGENT
    return client


def _lines(answer: urllib3.HTTPResponse) -> Iterator[Object]:
    rest = b""
    for part in answer.stream(amt=None, decode_content=True):
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            if line.strip():
                yield json.loads(line)


def _decoded(content: bytes, headers: Mapping[str, str]) -> Any:
    if "json" in headers.get("Content-Type", ""):
        try:
            return json.loads(content)
        except ValueError:  # of a proxy in between
            pass
    return content.decode(errors="replace")


def _after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("Retry-After", "")
    return float(text) if text.isdigit() else None


def _unreached(error: Exception) -> Unreached:
    text = str(error).splitlines()[0] if str(error) else ""
    return Unreached(f"{type(error).__name__}: {text}", sent=not isinstance(error, _UNSENT))
