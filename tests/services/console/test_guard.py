"""Who may ask, what every answer carries, and that faults keep their shape."""

from __future__ import annotations

import json
import logging
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi import APIRouter

from services.console.app import create_app
from services.console.web.guard import allowed_names, host_name
from shared.errors import Retry, Unknown

PATHS = ["/", "/docs", "/openapi.json", "/api/v1/models", "/nope", "/api/v1/models?limit=x", "/console.css"]


@pytest.fixture
def another(world, serve):
    """A console with other arguments over the same world."""

    def begin(*, router=None, **arguments):
        app = create_app(world.ports, **arguments)
        if router:
            app.include_router(router)
        return serve(app)

    return begin


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8500", "LOCALHOST", "[::1]:8500", "localhost."])
def test_names_we_go_by(client, host):
    assert client.get("/api/v1/models", host=host).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8500", "localhost.evil.example", "", "[", "0.0.0.0"]
)
def test_a_rebound_name_is_refused_in_the_one_shape(client, host):
    for path in ("/", "/api/v1/models", "/docs"):
        answer = client.get(path, host=host)
        assert answer.status == 421
        assert set(answer.json["error"]) == {"what", "where", "mend"}
        assert "127.0.0.1" in answer.json["error"]["mend"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_two_host_headers_or_none_are_refused(client):
    for hosts in (b"Host: localhost\r\nHost: evil.example\r\n", b""):
        with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
            connection.sendall(b"GET /api/v1/models HTTP/1.0\r\n" + hosts + b"\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert b" 400 " in answer.split(b"\r\n", 1)[0]


def test_probes_may_ask_under_any_name(client):
    for path in ("/healthz", "/readyz", "/api/v1/healthz", "/api/v1/readyz"):
        assert client.get(path, host="10.1.2.3:8500").json == {"status": "ok"}
    assert client.get("/version", host="10.1.2.3:8500").status == 421


def test_an_operator_adds_names_and_a_signed_door_is_open_to_all(another):
    router = APIRouter()
    router.get("/hooks/github")(lambda: {"heard": True})
    client = another(router=router, allowed_hosts=["Forge.example.org:443"], open_paths=["/hooks"])
    assert client.get("/api/v1/models", host="forge.example.org").status == 200
    assert client.get("/api/v1/models", host="other.example.org").status == 421
    assert client.get("/hooks/github", host="anything.example").json == {"heard": True}
    assert client.get("/hooksome", host="anything.example").status == 421


def test_a_star_lets_everybody_ask(another):
    assert another(allowed_hosts=["*"]).get("/api/v1/models", host="any.example").status == 200


def test_wildcard_addresses_are_no_names():
    assert allowed_names("0.0.0.0", []) == {"127.0.0.1", "localhost", "::1"}
    assert "192.0.2.7" in allowed_names("192.0.2.7", [])
    assert host_name("fe80::1") == "fe80::1"


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_is_strict(client, path):
    headers = client.get(path, accept="text/html").headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'")
    assert "unsafe" not in policy
    assert "script-src" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "cache-control" in headers


def test_head_is_a_get_without_its_body(client):
    got, head = client.get("/api/v1/models"), client.get("/api/v1/models", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written(client, method):
    for path in ("/", "/api/v1/models", "/api/v1/models/team-x.llm-qa.v1"):
        answer = client.get(path, method=method)
        assert (answer.status, set(answer.json["error"])) == (405, {"what", "where", "mend"})
        assert answer.headers["allow"] == "GET"


def test_errors_are_pages_for_browsers_and_json_for_programs(client):
    page = client.get("/runs/%3Cscript%3E", accept="text/html,*/*")
    assert (page.status, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "&lt;script&gt;" in page.text
    assert "<script>" not in page.text
    assert client.get("/runs/none").json["error"]["where"] == "runs/none"
    assert client.get("/api/v1/runs/none", accept="text/html").json["error"]["where"] == "runs/none"


@pytest.mark.parametrize("error", [Retry("the disk is full"), Unknown("no answer in time")])
def test_a_store_that_cannot_answer_now_is_503(another, world, monkeypatch, error):
    def fail(*_arguments, **_options):
        raise error

    monkeypatch.setattr(world.store, "list", fail)
    client = another()
    for path in ("/api/v1/models", "/readyz"):
        answer = client.get(path)
        assert (answer.status, answer.json["error"]["what"]) == (503, str(error))
        assert int(answer.headers["retry-after"]) >= 1
    assert client.get("/healthz").status == 200
    assert client.get("/", accept="text/html").status == 503


def test_a_fault_of_our_own_tells_no_secrets(another, world, monkeypatch, caplog):
    def fail(*_arguments, **_options):
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(world.bus, "event", fail)
    with caplog.at_level(logging.CRITICAL, logger="uvicorn.error"):
        answer = another().get("/api/v1/events/x")
    assert answer.status == 500
    assert "RuntimeError" in answer.json["error"]["what"]
    assert b"hunter2" not in answer.body


def test_many_askers_share_a_few_connections_to_the_store(another, world):
    client = another()
    before = len(world.database._readers)
    with ThreadPoolExecutor(16) as askers:
        answers = list(askers.map(lambda _: client.get("/api/v1/models").status, range(64)))
    assert set(answers) == {200}
    assert len(world.database._readers) - before <= 2


def test_what_the_version_says(client):
    version = client.get("/api/v1/version").json
    assert (version["name"], version["api"]) == ("kuznia", "v1")
    assert json.dumps(version) == json.dumps(client.get("/version").json)
