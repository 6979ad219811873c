"""Who may use what, and where a name leads: for any names, any routes, any tokens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from services.gateway.auth import admit, presented
from services.gateway.errors import ApiError
from services.gateway.ports import Placement, Route, Token
from services.gateway.records import snapshot_of
from services.gateway.resolve import resolve, visible
from services.gateway.tokens import PREFIX, new_token, token_hash

T = TypeVar("T")
NOW = datetime(2026, 11, 1, tzinfo=UTC)
tenants = st.sampled_from(["team-x", "team-y", "team-x.sub"])
models = st.builds("{}.{}.v{}".format, tenants, st.sampled_from(["llm-qa", "b", "b.v1"]), st.integers(0, 12))
versions = st.sampled_from(["0.1.0", "1.0.0", "1.1.0", "abc"])
states = st.sampled_from(
    ["candidate", "starting", "ready", "live", "draining", "stopped", "failed", "refused"]
)
placements = st.builds(
    Placement, state=states, address=st.sampled_from(["", "127.0.0.1:1"]), cleared=st.booleans()
)
routes = st.builds(
    Route,
    model_id=models,
    tenant=tenants,
    live=versions | st.just(""),
    versions=st.dictionaries(versions, placements, max_size=3),
)
tokens = st.builds(
    Token,
    id=st.just("t"),
    hash=st.text("0123456789abcdef", min_size=4, max_size=4),
    tenant=tenants,
    models=st.lists(models | st.just("*"), max_size=3).map(tuple),
    revoked=st.booleans(),
    expires_at=st.none() | st.datetimes(timezones=st.just(UTC) | st.none()),
)
names = (
    models
    | st.builds("{}@{}".format, models, versions)
    | st.builds("{}/{}".format, tenants, models)
    | st.text()
)


@given(st.lists(routes, max_size=6), tokens, names)
def test_a_name_leads_only_where_the_token_may_go_and_something_answers(
    found: list[Route], token: Token, name: str
):
    snapshot = snapshot_of(found, [])
    target = _tried(lambda: resolve(name, token, snapshot), 404, 503)
    if target is None:
        return
    assert target.route.tenant == token.tenant
    assert "*" in token.models or target.route.model_id in token.models
    assert target.placement.serves
    assert target.placement.state in ("live", "ready")
    assert "@" in name or target.version == target.route.live
    assert "@" not in name or target.version == name.partition("@")[2]


@given(st.lists(routes, max_size=6), tokens, names)
def test_what_is_not_yours_looks_as_if_it_were_not_there(found: list[Route], token: Token, name: str):
    mine = [route for route in found if token.may_use(route)]
    assume(len({route.model_id for route in found}) == len(found))
    assert _outcome(name, token, found) == _outcome(name, token, mine)


@given(st.lists(routes, max_size=6, unique_by=lambda route: route.model_id), tokens)
def test_every_model_listed_can_be_asked_by_its_name(found: list[Route], token: Token):
    snapshot = snapshot_of(found, [])
    for target in visible(token, snapshot):
        assert resolve(target.route.model_id, token, snapshot) == target


def test_the_plain_family_name_leads_to_the_highest_major_that_answers():
    up = {"1.0.0": Placement(state="live", address="a:1")}
    found = [Route(model_id=f"t.m.v{major}", tenant="t", live="1.0.0", versions=up) for major in (2, 10, 9)]
    found.append(Route(model_id="t.m.v11", tenant="t"))
    token = Token(id="t", hash="h", tenant="t")
    snapshot = snapshot_of(found, [token])
    assert resolve("t.m", token, snapshot).route.model_id == "t.m.v10"
    assert resolve("t/m", token, snapshot).route.model_id == "t.m.v10"
    assert resolve("t/m.v9", token, snapshot).route.model_id == "t.m.v9"
    with pytest.raises(ApiError) as caught:
        resolve("t.m.v11", token, snapshot)
    assert (caught.value.status, caught.value.headers) == (503, ((b"retry-after", b"1"),))


@given(
    st.lists(tokens, max_size=5, unique_by=lambda token: token.hash), st.text("0123456789abcdef", max_size=4)
)
def test_only_a_valid_token_is_admitted(known: list[Token], digest: str):
    by_hash = snapshot_of([], known).tokens
    token = _tried(lambda: admit(digest, by_hash, NOW), 401)
    if token is None:
        held = by_hash.get(digest)
        assert held is None or held.revoked or held.expires_at is not None
        return
    assert token.hash == digest
    assert not token.revoked
    assert token.expires_at is None or token.expires_at.replace(tzinfo=UTC) > NOW


@given(st.binary())
def test_no_header_crashes_the_door(authorization: bytes):
    digest = _tried(lambda: presented(authorization), 401)
    assert digest is None or authorization.strip().lower().startswith(b"bearer ")
    assert digest is None or len(digest) == 64


def test_a_new_token_is_known_again_by_its_hash_alone():
    token, data = new_token(
        tenant="team-x", models=["a.b.v1"], label="laptop", expires_at=NOW + timedelta(days=1)
    )
    other, _ = new_token(tenant="team-x")
    assert token.startswith(PREFIX)
    assert len(token) == len(PREFIX) + 43
    assert token != other
    assert token not in str(data)
    assert data == {
        "hash": presented(f"bearer {token}".encode()),
        "tenant": "team-x",
        "models": ["a.b.v1"],
        "label": "laptop",
        "expires_at": "2026-11-02T00:00:00+00:00",
        "revoked": False,
    }
    assert data["hash"] == token_hash(token)


def test_a_token_that_makes_no_sense_is_refused_with_all_its_faults():
    with pytest.raises(ValueError, match=r"tenant is empty.*models is empty.*has no time zone"):
        new_token(tenant="", models=[], expires_at=datetime(2026, 1, 1))


def _outcome(name: str, token: Token, found: list[Route]) -> object:
    try:
        return resolve(name, token, snapshot_of(found, []))
    except ApiError as error:
        return error.body, error.headers


def _tried(work: Callable[[], T], *refusals: int) -> T | None:
    try:
        return work()
    except ApiError as error:
        if error.status not in refusals:
            raise
        return None
