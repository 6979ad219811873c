"""A bucket's word brought by Google: its OIDC token is looked at, and what is none of its sender is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from services.cli.senders import add, rotate
from services.ingress.google import Google, faults
from services.ingress.receive import Answer, Ingress, Place
from shared.errors import Retry
from shared.record import Record
from shared.settings import Settings
from tests.services.ingress.test_ingress import BUCKET, FOLDER, RUN, Door, TestStorage
from tests.shared.google.test_tokens import ACCOUNT, Issuer

AUDIENCE = "https://kuznia.example/events"
NAME = f"{FOLDER}/checkpoints/step-48/manifest.json"


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def door(tmp_path: Path) -> Door:
    """A bucket may speak by Google's token; another sender has a token of ours."""
    made = Door(tmp_path)
    data = {"account": ACCOUNT, "audience": AUDIENCE, "events": ["checkpoint-written"], "sources": [BUCKET]}
    made.store.commit(Record(key="senders/bucket", status="ACTIVE", data=data))
    TestStorage().manifest(made, NAME.removesuffix("/manifest.json"), final=False)
    return made


def post(door: Door, authorization: str, google: Google) -> Answer:
    """As Eventarc does: binary mode."""
    raw = TestStorage().raw(NAME)
    names = ("id", "source", "type", "subject", "time", "specversion")
    headers = {"authorization": authorization, "content-type": "application/json"}
    headers |= {f"ce-{name}": raw[name] for name in names}
    settings = Settings(home=Path(), cache=Path())
    place = Place(
        store=door.store, bus=door.bus, artifacts=door.artifacts, clock=door.clock, settings=settings
    )
    return Ingress(place, google).receive(headers, json.dumps(raw["data"]).encode())


def signed_by(issuer: Issuer) -> Google:
    return Google(lambda: {"key-1": issuer.certificate})


def test_a_manifest_that_was_written_is_a_checkpoint(door: Door, issuer: Issuer):
    answer = post(door, issuer.token(aud=AUDIENCE), signed_by(issuer))
    assert answer.status == 202, answer.body
    (event,) = door.bus.events
    assert (event.name, event.subject, event.data["step"]) == ("checkpoint-written", f"runs/{RUN}", 48)


@pytest.mark.parametrize(
    "changes",
    [{"aud": "https://else.example"}, {"email": "other@acme.iam.gserviceaccount.com"}, {"exp": 1, "iat": 0}],
)
def test_a_token_for_others_of_others_or_of_yesterday(door: Door, issuer: Issuer, changes: dict[str, Any]):
    answer = post(door, issuer.token(**{"aud": AUDIENCE, **changes}), signed_by(issuer))
    assert (answer.status, door.bus.events) == (401, [])


def test_a_token_that_somebody_else_signed(door: Door, issuer: Issuer):
    assert post(door, Issuer().token(aud=AUDIENCE), signed_by(issuer)).status == 401


def test_a_sender_that_was_revoked(door: Door, issuer: Issuer):
    known = door.store.load("senders/bucket")
    door.store.commit(Record(key=known.key, status="REVOKED", data=known.data, revision=known.revision))
    assert post(door, issuer.token(aud=AUDIENCE), signed_by(issuer)).status == 401


def test_certificates_that_cannot_be_had_mean_later(door: Door, issuer: Issuer):
    def none() -> dict[str, str]:
        raise Retry("no way to Google")

    assert post(door, issuer.token(aud=AUDIENCE), Google(none)).status == 503


def test_no_token_of_ours_opens_what_is_googles(door: Door, issuer: Issuer):
    for token in ("Bearer kze_bucket_", "Bearer kze_bucket_x", "Bearer ", ""):
        assert post(door, token, signed_by(issuer)).status == 401


def test_faults_are_told():
    assert faults(ACCOUNT, AUDIENCE) == []
    assert len(faults("ann@example.com", "")) == 2


def test_it_is_let_in_without_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KUZNIA_HOME", str(tmp_path / "home"))
    words = ["bucket", "--event", "checkpoint-written", "--source", BUCKET, "--google-account", ACCOUNT]
    done = CliRunner().invoke(add, [*words, "--audience", AUDIENCE, "--json"])
    assert json.loads(done.stdout) == {"name": "bucket", "account": ACCOUNT, "audience": AUDIENCE}
    assert "none to rotate" in str(CliRunner().invoke(rotate, ["bucket"]).exception)
    assert "no service account" in str(
        CliRunner().invoke(add, ["x", *words[1:-1], "ann@example.com"]).exception
    )
