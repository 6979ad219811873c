"""What is current is what the registry's own REST API says."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.deployment.pod.current import current
from services.deployment.pod.fetch import Registry
from shared.errors import Reject, Retry
from tests.services.deployment.pod.registry import MODEL, Forge
from tests.services.deployment.pod.stored import BASE, FILES


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    made = Forge(tmp_path)
    yield made
    made.close()


def test_the_live_version_or_the_one_that_is_named(forge: Forge):
    with pytest.raises(Retry, match=r"no version of team-x.qa.v1 is live yet"):
        current(forge.url, MODEL)
    forge.live("1.1.0")
    found = current(f"{forge.url}/", MODEL)
    assert (found.version, found.manifest_digest) == ("1.1.0", forge.digests["1.1.0"])
    assert (found.url, found.base_model) == (forge.stored.path("next").as_uri(), BASE)
    assert current(forge.url, MODEL, "1.0.0").manifest_digest == forge.digests["1.0.0"]


def test_what_the_registry_has_not_is_told_in_its_words(forge: Forge):
    with pytest.raises(Reject, match=r"no model is called team-x.other.v1"):
        current(forge.url, "team-x.other.v1")
    with pytest.raises(Reject, match=r"no version 9.9.9 of team-x.qa.v1 is registered"):
        current(forge.url, MODEL, "9.9.9")


def test_the_weights_are_those_that_the_registry_names(forge: Forge):
    forge.live("1.1.0")
    stored = forge.stored
    stored.fetch(forge.asked())
    assert stored.here() == FILES | {"more": b"1.1.0"}
    receipt = json.loads((stored.folder.parent / "current.json").read_text())
    assert (receipt["version"], receipt["manifest_digest"]) == ("1.1.0", forge.digests["1.1.0"])


def test_another_base_model_is_told(forge: Forge):
    registry = Registry(url=forge.url, model_id=MODEL, version="1.0.0")
    blank = forge.stored.part(url="", manifest_digest="")
    with pytest.raises(Reject, match=f"model.base.id is org/other, and this adapter was trained on {BASE}"):
        forge.stored.fetch(forge.stored.asked(blank, registry=registry, base_model="org/other"))


class Odd(http.server.BaseHTTPRequestHandler):
    """Answers what its path says: `/<status>/<body>`."""

    def do_GET(self) -> None:
        _, status, body, *_ = self.path.split("/")
        self.send_response(int(status))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def odd() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), Odd)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "error", "words"),
    [
        ("/200/[]", Reject, "none of a registry"),
        (
            "/200/{}",
            Reject,
            "none of a registry: 'artifact_path'",
        ),
        ("/404/{}", Reject, "is this the console's address"),
        ("/503/{}", Retry, "the registry answered 503"),
        ("/200/<html>", Retry, "is no JSON"),
    ],
)
def test_who_is_no_registry_is_seen(odd: str, path: str, error: type[Exception], words: str):
    with pytest.raises(error, match=words):
        current(odd + path, MODEL, "1.0.0")


def test_nobody_there_is_waited_for():
    with pytest.raises(Retry, match=r"no answer"):
        current("http://127.0.0.1:9", MODEL)
