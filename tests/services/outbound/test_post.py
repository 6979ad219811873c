"""One attempt over real sockets: to the address that was checked, signed, never redirected, never for ever."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.outbound.addresses import allowed_networks
from services.outbound.post import Message, Poster
from tests.services.other_side import OtherSide, Told, listening

LOCAL = allowed_networks({"KUZNIA_WEBHOOKS_ALLOW": "127.0.0.0/8"})


def message(url: str) -> Message:
    return Message(url=url, headers={"webhook-id": "e-1"}, body=b'{"a":1}')


@pytest.fixture
def receiver() -> Iterator[OtherSide]:
    with listening(OtherSide()) as other:
        yield other


def test_it_is_posted_under_the_hosts_own_name_to_the_one_address(receiver: OtherSide):
    asked: list[tuple[str, int]] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return (
            ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]
        )  # a second question would be answered otherwise

    result = Poster(LOCAL, resolve=resolve)(message(f"http://hooks.example:{receiver.port}/in?x=1"))
    assert (result.status, result.error, result.delivered) == (200, "", True)
    assert result.seconds > 0
    (sent,) = receiver.asked
    assert (sent.method, sent.path, sent.body) == ("POST", "/in?x=1", b'{"a":1}')
    assert sent.headers["host"] == f"hooks.example:{receiver.port}"
    assert sent.headers["webhook-id"] == "e-1"
    assert asked == [("hooks.example", receiver.port)]


def test_nothing_goes_inside_unless_it_is_allowed(receiver: OtherSide):
    result = Poster()(message(receiver.url))
    assert (result.status, receiver.asked) == (0, [])
    assert "KUZNIA_WEBHOOKS_ALLOW" in result.error


def test_a_name_that_turns_inside_is_refused_at_the_attempt(receiver: OtherSide):
    poster = Poster(resolve=lambda _host, _port: ["127.0.0.1"])
    assert "127.0.0.1" in poster(message(f"https://hooks.example:{receiver.port}/")).error
    assert receiver.asked == []


def test_without_tls_nothing_leaves_the_allowed_networks():
    result = Poster(resolve=lambda _host, _port: ["8.8.8.8"])(message("http://hooks.example/"))
    assert "not https" in result.error


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(receiver: OtherSide, status: int):
    receiver.answer = lambda _asked: Told(status, headers={"location": f"{receiver.url}/else"})
    result = Poster(LOCAL)(message(receiver.url))
    assert (result.status, len(receiver.asked)) == (status, 1)
    assert "/else" in result.error


def test_what_is_answered_is_told(receiver: OtherSide):
    receiver.answer = lambda _asked: Told(429, headers={"Retry-After": "120"})
    result = Poster(LOCAL)(message(receiver.url))
    assert (result.status, result.retry_after, result.error) == (429, 120, "it answered 429")


def test_nobody_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    result = Poster(LOCAL)(message(f"http://127.0.0.1:{port}/"))
    assert (result.status, result.delivered) == (0, False)
    assert "refused" in result.error.lower()


def test_a_name_that_there_is_not():
    def resolve(_host: str, _port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    assert "not known" in Poster(LOCAL, resolve=resolve)(message("https://none.example/")).error


def test_a_name_that_can_be_none():
    assert Poster(LOCAL)(message(f"https://{'a' * 70}.example/")).error


@pytest.mark.parametrize("trickle", [b"", b"HTTP/1.1 200 OK\r\n"])
def test_one_that_never_ends_is_cut_off(trickle: bytes):
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hold() -> None:
            peer, _ = server.accept()
            with peer:
                peer.settimeout(5)
                peer.sendall(trickle)
                while not over.wait(0.05):  # headers without end
                    try:
                        peer.sendall(b"x-more: 1\r\n" if trickle else b"")
                    except OSError:
                        return

        thread = threading.Thread(target=hold)
        thread.start()
        port = server.getsockname()[1]
        result = Poster(LOCAL, seconds=0.4)(message(f"http://127.0.0.1:{port}/"))
        over.set()
        thread.join()
    assert result.status == 0
    assert result.error


@pytest.mark.parametrize("garbage", [b"no http at all\r\n\r\n", b"", b"HTTP/1.1 abc\r\n\r\n"])
def test_one_that_speaks_no_http(garbage: bytes):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(garbage)

        thread = threading.Thread(target=answer)
        thread.start()
        result = Poster(LOCAL)(message(f"http://127.0.0.1:{server.getsockname()[1]}/"))
        thread.join()
    assert (result.status, result.delivered) == (0, False)
    assert result.error


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
class TestTls:
    @pytest.fixture
    def certificate(self, tmp_path: Path) -> tuple[Path, Path]:
        key, chain = tmp_path / "key.pem", tmp_path / "chain.pem"
        name = "subjectAltName=DNS:hooks.example"
        arguments = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ]
        arguments += [
            "-keyout",
            str(key),
            "-out",
            str(chain),
            "-days",
            "2",
            "-subj",
            "/CN=hooks",
            "-addext",
            name,
        ]
        subprocess.run(arguments, check=True, capture_output=True)
        return key, chain

    @pytest.fixture
    def secured(self, certificate: tuple[Path, Path]) -> Iterator[OtherSide]:
        other = OtherSide()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate[1], certificate[0])
        other.server.socket = context.wrap_socket(other.server.socket, server_side=True)
        other.server.handle_error = lambda *_: None  # type: ignore[method-assign] - a refused handshake is wanted
        with listening(other):
            yield other

    def poster(self, chain: Path) -> Poster:
        trusted = ssl.create_default_context(cafile=str(chain))
        return Poster(LOCAL, tls=trusted, resolve=lambda _host, _port: ["127.0.0.1"])

    def test_the_certificate_is_the_hosts_not_the_addresss(
        self, secured: OtherSide, certificate: tuple[Path, Path]
    ):
        result = self.poster(certificate[1])(message(f"https://hooks.example:{secured.port}/"))
        assert (result.status, result.error) == (200, "")

    def test_another_name_is_refused(self, secured: OtherSide, certificate: tuple[Path, Path]):
        result = self.poster(certificate[1])(message(f"https://other.example:{secured.port}/"))
        assert (result.status, secured.asked) == (0, [])
        assert "other.example" in result.error

    def test_an_unknown_authority_is_refused(self, secured: OtherSide):
        poster = Poster(LOCAL, resolve=lambda _host, _port: ["127.0.0.1"])
        result = poster(message(f"https://hooks.example:{secured.port}/"))
        assert (result.status, secured.asked) == (0, [])
