"""`kuznia hook`, and what the hook itself runs at each push."""

from __future__ import annotations

import http.server
import json
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.cli import deliver
from services.cli.hook import MARK
from services.webhook.receive import Receiver
from shared.local import open_ports
from shared.ports.bus import Query
from shared.secrets import webhook_secret
from shared.settings import Settings
from tests.repository import Repository
from tests.services.cli.prepared import read, refused, told

pytestmark = pytest.mark.usefixtures("git")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KUZNIA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", "--bare", str(tmp_path / "config.git")], check=True)
    subprocess.run(
        ["git", "-C", str(tmp_path / "config.git"), "symbolic-ref", "HEAD", "refs/heads/main"], check=True
    )
    return tmp_path / "config.git"


class TestInstall:
    def test_a_repository_is_connected_with_a_hook_and_a_secret(self, bare: Path, home: Path):
        text = told(
            "hook", "install", str(bare), "--branch", "main", "--branch", "next", "--folder", "experiments/"
        )
        assert "start training, as repository 'config'" in text
        script = bare / "hooks" / "post-receive"
        assert MARK in script.read_text()
        assert stat.S_IMODE(script.stat().st_mode) == 0o755
        assert webhook_secret(home, "config")
        (found,) = read("hook", "list")
        assert found["name"] == "config"
        assert found["status"] == "CONNECTED"
        assert (found["url"], found["branches"], found["folders"]) == (
            str(bare),
            ["main", "next"],
            ["experiments"],
        )

    def test_twice_is_once_and_the_later_word_holds(self, bare: Path, home: Path):
        told("hook", "install", str(bare))
        secret = webhook_secret(home, "config")
        told("hook", "install", str(bare), "--branch", "next")
        (found,) = read("hook", "list")
        assert found["branches"] == ["next"]
        assert webhook_secret(home, "config") == secret

    def test_in_a_repository_with_a_work_tree_too(self, tmp_path: Path):
        repository = Repository(tmp_path / "plain")
        told("hook", "install", str(repository.path), "--name", "mine")
        assert (repository.path / ".git" / "hooks" / "post-receive").exists()
        assert [found["name"] for found in read("hook", "list")] == ["mine"]

    def test_somebody_else_s_hook_is_left_alone(self, bare: Path):
        script = bare / "hooks" / "post-receive"
        script.parent.mkdir(exist_ok=True)
        script.write_text("#!/bin/sh\necho mine\n")
        said = refused("hook", "install", str(bare))
        assert "is there already and is not ours: call" in said
        assert "services.cli.deliver" in said
        assert script.read_text() == "#!/bin/sh\necho mine\n"

    def test_a_folder_that_is_no_repository(self, tmp_path: Path):
        (tmp_path / "plain").mkdir()
        assert "not a git repository" in refused("hook", "install", str(tmp_path / "plain"))

    @pytest.mark.parametrize("folder", ["../other", "/etc", "a/../../b"])
    def test_a_folder_outside_the_repository(self, bare: Path, folder: str):
        said = refused("hook", "install", str(bare), "--folder", folder, "--folder", "fine")
        assert f"not folders inside the repository: {folder}" in said
        assert not (bare / "hooks" / "post-receive").exists()

    def test_the_table(self, bare: Path):
        told("hook", "install", str(bare))
        text = told("hook", "list")
        assert "repository" in text
        assert "config" in text
        assert "CONNECTED" in text


class TestConnect:
    def test_a_repository_of_a_forge(self, home: Path):
        text = told(
            "hook", "connect", "org/config", "https://git.example/org/config.git", "--secret", "s3cret"
        )
        assert "/webhooks/github" in text
        assert "s3cret" in text
        assert webhook_secret(home, "org/config") == b"s3cret"
        assert [found["url"] for found in read("hook", "list")] == ["https://git.example/org/config.git"]

    def test_without_one_a_secret_is_made(self, home: Path):
        text = told("hook", "connect", "org/config", "https://git.example/org/config.git")
        assert webhook_secret(home, "org/config").decode() in text

    def test_a_name_that_no_forge_has(self):
        assert "'config' is no full name" in refused("hook", "connect", "config", "https://git.example/x.git")


class Console:
    """A console that is up, as far as the hook sees: it keeps what is posted, by way of the real receiver."""

    def __init__(self, home: Path) -> None:
        settings = Settings(home=home, cache=home / "cache")
        self.local = open_ports(settings)
        receiver = Receiver(self.local.store, self.local.bus, self.local.clock, settings)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = receiver.receive(headers, body)
                self.send_response(answer.status)
                self.end_headers()
                self.wfile.write(json.dumps(answer.body).encode())

            def log_message(self, *args: Any) -> None:
                """Quiet."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        note = {"pid": 1, "console": f"http://127.0.0.1:{self.server.server_port}", "gateway": ""}
        (home / "endpoints.json").write_text(json.dumps(note))

    def pushes(self) -> list[dict[str, Any]]:
        return [logged.event.data for logged in self.local.bus.log(Query(name="push-received"))]

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
        self.local.close()


class TestPush:
    """Real pushes to a repository with the hook in it."""

    @pytest.fixture
    def clone(self, bare: Path, tmp_path: Path) -> Repository:
        told("hook", "install", str(bare))
        clone = Repository(tmp_path / "clone")
        clone.git("remote", "add", "origin", str(bare))
        return clone

    @pytest.fixture
    def console(self, clone: Repository, home: Path) -> Iterator[Console]:
        console = Console(home)
        yield console
        console.close()

    def push(self, clone: Repository, *words: str) -> str:
        done = subprocess.run(
            ["git", "push", "--quiet", "origin", *words],
            cwd=clone.path,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stderr

    def test_a_push_reaches_the_webhook_signed(self, clone: Repository, console: Console):
        commit = clone.commit({"a": "1"})
        assert "kuznia: refs/heads/main: accepted" in self.push(clone, "main")
        (push,) = console.pushes()
        assert (push["repository"], push["branch"], push["before"], push["after"]) == (
            "config", "main", "0" * 40, commit,
        )  # fmt: skip

    def test_every_branch_and_tag_is_told_and_only_watched_ones_are_kept(
        self, clone: Repository, console: Console
    ):
        clone.commit({"a": "1"})
        clone.git("branch", "feature")
        clone.git("tag", "v1")
        said = self.push(clone, "main", "feature", "v1")
        assert "refs/heads/main: accepted" in said
        assert "branch feature is not watched" in said
        assert "tags start nothing" in said
        assert [push["branch"] for push in console.pushes()] == ["main"]

    def test_while_the_platform_is_down_the_push_happens_all_the_same(self, clone: Repository, bare: Path):
        commit = clone.commit({"a": "1"})
        said = self.push(clone, "main")
        assert "the platform is not up; the push is kept in Git and will be found" in said
        heads = subprocess.run(
            ["git", "-C", str(bare), "rev-parse", "main"], capture_output=True, text=True, check=True
        )
        assert heads.stdout.strip() == commit

    def test_a_platform_that_does_not_answer_stops_no_push(
        self, clone: Repository, home: Path, console: Console
    ):
        note = {"pid": 1, "console": "http://127.0.0.1:9", "gateway": ""}
        (home / "endpoints.json").write_text(json.dumps(note))
        clone.commit({"a": "1"})
        assert "the platform does not answer" in self.push(clone, "main")

    def test_a_refusal_is_shown(self, clone: Repository, home: Path, console: Console):
        clone.commit({"a": "1"})
        for path in (home / "secrets").glob("webhook-*"):
            path.unlink()
        assert "refused (404)" in self.push(clone, "main")

    def test_what_it_reads_is_what_git_writes(self, home: Path, capsys: pytest.CaptureFixture[str]):
        assert deliver.main([str(home), "config"], ["a b refs/heads/main"]) == 0
        assert "the platform is not up" in capsys.readouterr().out
