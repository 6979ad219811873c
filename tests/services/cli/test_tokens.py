"""`kuznia tokens`: shown once, kept as a hash, revoked by id."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.cli.tokens import own_token
from shared.local import LocalPorts, open_ports
from shared.settings import Settings
from tests.services.cli.prepared import kuznia, read, refused, told


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KUZNIA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_token_is_shown_once_and_kept_as_a_hash(home: Path):
    made = read("tokens", "create", "--tenant", "team-x", "--label", "the shop")
    (listed,) = read("tokens", "list")
    assert (listed["id"], listed["tenant"], listed["label"], listed["status"]) == (
        made["id"], "team-x", "the shop", "ACTIVE",
    )  # fmt: skip
    assert listed["models"] == ["*"]
    assert listed["expires_at"] is None
    assert "hash" not in listed
    content = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert made["token"].encode() not in content


def test_scoped_and_for_a_while():
    read(
        "tokens",
        "create",
        "--tenant",
        "team-x",
        "--model",
        "team-x.a.v1",
        "--model",
        "team-x.b.v1",
        "--days",
        "30",
    )
    (listed,) = read("tokens", "list")
    assert listed["models"] == ["team-x.a.v1", "team-x.b.v1"]
    left = datetime.fromisoformat(listed["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=29) < left <= timedelta(days=30)


def test_for_people():
    text = told("tokens", "create", "--tenant", "team-x")
    assert "it will not be shown again" in text
    assert "team-x" in told("tokens", "list")


def test_each_is_another():
    made = [read("tokens", "create", "--tenant", "team-x") for _ in range(5)]
    assert len({one["token"] for one in made}) == len({one["id"] for one in made}) == 5


def test_revoked_by_its_id():
    made = read("tokens", "create", "--tenant", "team-x")
    assert told("tokens", "revoke", made["id"]) == f"revoked {made['id']}\n"
    (listed,) = read("tokens", "list")
    assert (listed["status"], listed["revoked"]) == ("REVOKED", True)


def test_an_unknown_id():
    read("tokens", "create", "--tenant", "team-x")
    assert "no token has the id 't-none'" in refused("tokens", "revoke", "t-none")


def test_a_tenant_has_to_be_named_and_days_are_at_least_one():
    assert kuznia("tokens", "create").exit_code == 2
    assert kuznia("tokens", "create", "--tenant", "x", "--days", "0").exit_code == 2


def test_the_command_line_s_own_is_made_once_for_a_tenant(home: Path):
    ports: LocalPorts = open_ports(Settings(home=home, cache=home / "cache"))
    first, again = own_token(ports, home, "team-x"), own_token(ports, home, "team-x")
    other = own_token(ports, home, "team-y")
    assert first == again != other
    assert len(ports.store.list("tokens")) == 2
    ports.close()
    files = list((home / "secrets").glob("cli-token-*"))
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o600, 0o600]


def test_its_own_is_made_anew_once_it_was_revoked(home: Path):
    ports = open_ports(Settings(home=home, cache=home))
    first = own_token(ports, home, "team-x")
    ports.close()
    (listed,) = read("tokens", "list")
    told("tokens", "revoke", listed["id"])
    ports = open_ports(Settings(home=home, cache=home))
    again = own_token(ports, home, "team-x")
    assert again != first
    assert own_token(ports, home, "team-x") == again
    ports.close()
