"""One attempt: connect to the very address that was checked, post, and see what is answered."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

import msgspec

from services.outbound.addresses import Address, Network, Refused, Resolve, choose, resolve_by_system
from services.outbound.outcome import Result
from shared.web.asking import retry_after

CONNECT_SECONDS = 10.0
WHOLE_SECONDS = 15.0
PORTS = {"https": 443, "http": 80}


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What is posted where. headers: as they are sent."""

    url: str
    headers: Mapping[str, str]
    body: bytes


Post = Callable[[Message], Result]


class Poster:
    """Posts messages. allowed: networks inside that may be spoken to, and without TLS. tls: whom to trust."""

    def __init__(
        self,
        allowed: Sequence[Network] = (),
        *,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve = resolve_by_system,
        seconds: float = WHOLE_SECONDS,
    ) -> None:
        self._allowed = allowed
        self._tls = tls or ssl.create_default_context()
        self._resolve = resolve
        self._seconds = seconds

    def __call__(self, message: Message) -> Result:
        """Never raises for what the receiver or the network does; the result tells it."""
        began = time.monotonic()
        try:
            status, headers = self._exchange(message)
        except Refused as refused:
            return Result(error=str(refused), seconds=time.monotonic() - began)
        except (OSError, UnicodeError, http.client.HTTPException) as error:  # a name may be none for IDNA
            took = time.monotonic() - began
            what = f"no answer within {self._seconds:g} s" if took >= self._seconds else str(error)
            return Result(error=what or type(error).__name__, seconds=took)
        return Result(
            status=status,
            seconds=time.monotonic() - began,
            error=_told(status, headers),
            retry_after=retry_after(headers, datetime.now(UTC)),
        )

    def _exchange(self, message: Message) -> tuple[int, dict[str, str]]:
        parts = urlsplit(message.url)
        host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
        address, inside = choose(host, port, self._allowed, self._resolve)
        if parts.scheme == "http" and not inside:
            raise Refused(f"{message.url} is not https, and {address} is in none of the allowed networks")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection = _Pinned(host, port, address, self._tls if parts.scheme == "https" else None)
        end = threading.Timer(self._seconds, connection.cut)  # a receiver that trickles its answer ends too
        end.start()
        try:
            connection.request("POST", target, message.body, dict(message.headers))
            response = connection.getresponse()
            if connection.is_cut:  # what it had said by then may look like a whole answer
                raise TimeoutError
            return response.status, {name.lower(): value for name, value in response.getheaders()}
        finally:
            end.cancel()
            connection.close()


class _Pinned(http.client.HTTPConnection):
    """A connection to an address; Host header and TLS name are the host's."""

    def __init__(self, host: str, port: int, address: Address, tls: ssl.SSLContext | None) -> None:
        super().__init__(host, port, timeout=CONNECT_SECONDS)
        self.default_port = PORTS["https" if tls else "http"]
        self._address = address
        self._tls = tls
        self.is_cut = False

    def connect(self) -> None:
        """See `http.client.HTTPConnection.connect`. Raises OSError."""
        self.sock = socket.create_connection((str(self._address), self.port), self.timeout)
        if self.is_cut:
            raise TimeoutError
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)

    def cut(self) -> None:
        """End what is going on, from another thread: whoever reads gets an error."""
        self.is_cut = True
        if self.sock is not None:
            try:
                self.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it has ended by itself


def _told(status: int, headers: Mapping[str, str]) -> str:
    if 200 <= status < 300:
        return ""
    if 300 <= status < 400:
        return (
            f"it redirects to {headers.get('location', '?')[:200]}; redirects are not followed: name that URL"
        )
    return f"it answered {status}"
