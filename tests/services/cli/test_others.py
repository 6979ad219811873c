"""Commands about other systems: repositories of forges, subscribers, senders; on a fresh home."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner

from services.cli.connection import default_api
from services.cli.hook import hook
from services.cli.senders import senders
from services.cli.webhooks import webhooks
from services.ingress.senders import admitted
from services.outbound.courier import secret_name
from shared.errors import Reject
from shared.local import LocalPorts, open_ports
from shared.record import Record
from shared.secrets import webhook_secret, webhook_secrets
from shared.settings import Settings
from shared.standard_webhooks import key
from tests.memory import START

URL = "https://93.184.216.34/in"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KUZNIA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KUZNIA_USER", "zofia")
    monkeypatch.delenv("KUZNIA_WEBHOOKS_ALLOW", raising=False)
    return tmp_path / "home"


def run(group: click.Group, *words: str) -> Any:
    """What is printed, read if --json is among the words."""
    result = CliRunner().invoke(group, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout) if "--json" in words else result.stdout


def refused(group: click.Group, *words: str) -> str:
    with pytest.raises(Reject) as raised:
        CliRunner().invoke(group, list(words), catch_exceptions=False)
    return str(raised.value)


def opened(home: Path) -> LocalPorts:
    return open_ports(Settings(home=home, cache=home))


def record(home: Path, key: str) -> Record:
    ports = opened(home)
    try:
        return ports.store.load(key)
    finally:
        ports.close()


class TestHook:
    def connect(self, *words: str) -> str:
        told: str = run(hook, "connect", "org/repo", "https://git.example/org/repo.git", *words)
        return told

    @pytest.mark.parametrize("forge", ["github", "gitlab", "gitea", "forgejo", "bitbucket"])
    def test_a_forge_is_told_of_by_its_own_way(self, home: Path, forge: str):
        told = self.connect("--forge", forge)
        assert f"/webhooks/{forge}" in told
        assert webhook_secret(home, "org/repo").decode() in told
        assert record(home, "repositories/org/repo").data["forge"] == forge

    def test_a_token_stays_in_its_file(self, home: Path, tmp_path: Path):
        token = tmp_path / "token"
        token.write_text("tok-1")
        self.connect("--token-file", str(token), "--hook-id", "7", "--console", "https://kuznia.example")
        data = record(home, "repositories/org/repo").data
        assert data["token_file"] == str(token)
        assert (data["hook_id"], data["console"]) == (7, "https://kuznia.example")
        assert data["api"] == "https://git.example/api/v3"
        assert "tok-1" not in json.dumps(data)

    def test_all_faults_at_once(self, home: Path, tmp_path: Path):
        token = tmp_path / "token"
        token.write_text("tok-1")
        words = [
            "--forge",
            "gitea",
            "--token-file",
            str(token),
            "--api",
            "http://git.example/api/v1",
            "--hook-id",
            "7",
        ]
        told = refused(hook, "connect", "repo", "https://git.example/repo.git", *words)
        assert [part in told for part in ("full name", "not https", "--hook-id")] == [True] * 3
        assert not home.exists()

    @pytest.mark.parametrize(
        ("forge", "url", "api"),
        [
            ("github", "https://github.com/o/r.git", "https://api.github.com"),
            ("github", "git@github.com:o/r.git", "https://api.github.com"),
            ("github", "https://ghe.example/o/r", "https://ghe.example/api/v3"),
            ("gitlab", "https://gitlab.com/o/r.git", "https://gitlab.com/api/v4"),
            ("gitea", "https://git.example/o/r.git", "https://git.example/api/v1"),
            ("forgejo", "ssh://git@codeberg.org/o/r.git", "https://codeberg.org/api/v1"),
            ("bitbucket", "https://bitbucket.org/o/r.git", "https://api.bitbucket.org/2.0"),
            ("bitbucket", "https://bb.example/scm/o/r.git", "https://bb.example/rest"),
            ("github", "/srv/git/r.git", ""),
        ],
    )
    def test_where_the_api_lies(self, forge: str, url: str, api: str):
        assert default_api(forge, url) == api

    def test_a_secret_is_rotated_and_the_old_one_dropped(self, home: Path):
        self.connect()
        old = webhook_secret(home, "org/repo")
        new = run(hook, "rotate", "org/repo").splitlines()[0].encode()
        assert webhook_secrets(home, "org/repo", START) == (new, old)
        assert "no longer" in run(hook, "rotate", "org/repo", "--drop-old")
        assert webhook_secrets(home, "org/repo", START) == (new,)

    def test_gitlabs_is_a_signing_token(self, home: Path):
        self.connect("--forge", "gitlab")
        new = run(hook, "rotate", "org/repo").splitlines()[0]
        assert new.startswith("whsec_")
        assert len(key(new.encode())) == 32

    def test_of_an_unknown_repository(self, home: Path):
        self.connect()
        assert "hook list" in refused(hook, "rotate", "org/other")


class TestWebhooks:
    def add(self, *words: str) -> dict[str, str]:
        added: dict[str, str] = run(webhooks, "add", URL, "--json", *(words or ("--tenant", "*")))
        return added

    def test_added_listed_removed(self, home: Path):
        added = self.add("--tenant", "team-x", "--events", "model-deployed, model-rejected")
        secret = home / "secrets" / secret_name(added["id"])
        assert secret.read_text() == added["secret"]
        (one,) = run(webhooks, "list", "--json")
        assert (one["id"], one["url"], one["tenants"], one["by"]) == (added["id"], URL, ["team-x"], "zofia")
        assert one["events"] == ["model-deployed", "model-rejected"]
        assert added["secret"] not in json.dumps(one)
        run(webhooks, "remove", added["id"])
        assert record(home, f"subscribers/{added['id']}").status == "REMOVED"
        assert not secret.exists()

    def test_all_faults_at_once(self, home: Path):
        told = refused(webhooks, "add", "ftp://x", "--events", "model-dreamt")
        assert [part in told for part in ("https://", "model-dreamt", "--tenant")] == [True] * 3

    def test_an_address_inside_is_told_at_once(self, home: Path):
        result = CliRunner().invoke(webhooks, ["add", "https://127.0.0.1/x", "--tenant", "*"])
        assert result.exit_code == 0
        assert "KUZNIA_WEBHOOKS_ALLOW" in result.stderr

    def test_a_secret_is_rotated(self, home: Path):
        added = self.add()
        assert run(webhooks, "rotate", added["id"]).strip() != added["secret"]
        assert "gone" in run(webhooks, "rotate", added["id"], "--drop-old")
        assert "webhooks list" in refused(webhooks, "rotate", "s-none")

    def test_deliveries_are_listed_and_brought_again(self, home: Path):
        added = self.add()
        ports = opened(home)
        for number, status in enumerate(("PENDING", "FAILED"), start=1):
            attempt = {"at": START.isoformat(), "status": 500, "milliseconds": 12, "error": "it answered 500"}
            data = {
                "subscriber": added["id"], "event": f"e-{number}", "name": "model-deployed", "subject": "models/a",
                "time": START.isoformat(), "tries": 10, "attempts": [attempt],
            }  # fmt: skip
            ports.store.commit(
                Record(
                    key=f"deliveries/{added['id']}/e-{number}", status="PENDING", data=data, updated_at=START
                )
            )
            if status == "FAILED":
                known = ports.store.load(f"deliveries/{added['id']}/e-{number}")
                ports.store.commit(_as(known, "FAILED"))
        ports.close()
        told = run(webhooks, "deliveries", "--json", "--status", "FAILED")
        assert [(one["id"], one["attempts"][0]["status"]) for one in told] == [(f"{added['id']}/e-2", 500)]
        assert f"{added['id']}/e-1" in run(webhooks, "deliveries", "--subscriber", added["id"])
        assert "1 to be delivered again" in run(webhooks, "redeliver", "--failed", added["id"])
        assert record(home, f"deliveries/{added['id']}/e-2").status == "PENDING"
        assert "1 to be" in run(webhooks, "redeliver", f"{added['id']}/e-2")
        assert "there is no delivery" in refused(webhooks, "redeliver", "s-1/e-9")
        assert "name a delivery" in refused(webhooks, "redeliver")

    def test_one_that_was_gone_is_told_again(self, home: Path):
        added = self.add()
        ports = opened(home)
        ports.store.commit(_as(ports.store.load(f"subscribers/{added['id']}"), "GONE"))
        ports.close()
        run(webhooks, "resume", added["id"])
        assert record(home, f"subscribers/{added['id']}").status == "ACTIVE"


class TestSenders:
    WORDS = ("--event", "model-approved", "--source", "//review.example")

    def add(self) -> str:
        token: str = run(senders, "add", "review", *self.WORDS, "--json")["token"]
        return token

    def admits(self, home: Path, token: str) -> bool:
        ports = opened(home)
        try:
            return isinstance(admitted(ports.store, f"Bearer {token}", ports.clock.now()), Record)
        finally:
            ports.close()

    def test_added_listed_revoked_added_again(self, home: Path):
        token = self.add()
        assert self.admits(home, token)
        (one,) = run(senders, "list", "--json")
        assert one == {
            "name": "review",
            "status": "ACTIVE",
            "events": ["model-approved"],
            "sources": ["//review.example"],
        }
        assert "rotate" in refused(senders, "add", "review", *self.WORDS)
        run(senders, "revoke", "review")
        assert not self.admits(home, token)
        again = self.add()
        assert (self.admits(home, again), self.admits(home, token)) == (True, False)

    def test_rotated(self, home: Path):
        old = self.add()
        new = run(senders, "rotate", "review").strip()
        assert (self.admits(home, old), self.admits(home, new)) == (True, True)
        run(senders, "rotate", "review", "--drop-old")
        assert (self.admits(home, old), self.admits(home, new)) == (False, True)

    def test_all_faults_at_once(self, home: Path):
        told = refused(senders, "add", "Review!", "--event", "push-received", "--source", "/kuznia/webhook")
        assert len(told.splitlines()) == 3

    def test_the_token_is_not_kept(self, home: Path):
        token = self.add()
        assert token not in json.dumps(record(home, "senders/review").data)

    def test_unknown_ones(self, home: Path):
        self.add()
        for word in ("rotate", "revoke"):
            assert "senders list" in refused(senders, word, "nobody")


def _as(known: Record, status: str) -> Record:
    return msgspec.structs.replace(known, status=status)
