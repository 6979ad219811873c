"""`kuznia demo`: the main job on this machine, told as a story. Everything in it is real; nothing is prepared."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from services.cli.chain import Chain
from services.cli.chat import Talk
from services.cli.load import Load
from services.cli.tokens import own_token
from services.cli.watch import follow
from services.lock import Endpoints, running
from shared.errors import Reject
from shared.forge.environment import require
from shared.identity import run_id
from shared.local import LocalPorts
from shared.profiles import open_ports
from shared.settings import Settings, from_environment

MARKER = "demo"
TENANT, MODEL = "team-x", "llm-qa"
EXPERIMENT = f"experiments/{MODEL}"
MODEL_ID = f"{TENANT}.{MODEL}.v1"
START_SECONDS = 60.0
ROLLBACK_SECONDS = 300.0
AUTHOR = {"NAME": "Kuznia demo", "EMAIL": "demo@localhost"}
console = Console(highlight=False)


@click.command()
def demo() -> None:
    """See the whole chain on this machine, told as a story.

    Push, train, validate, card, deploy, ask, replace, roll back.

    It makes KUZNIA_HOME (`.kuznia` here) anew; an installation that is not a demo's is left alone.
    """
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM)
    )  # so that the platform ends with us
    settings = from_environment()
    require(settings.cache)
    _clear(settings)
    with _platform(settings) as endpoints:
        _tell(Story(settings, endpoints))


class Story:
    """The demo's state: where things are, and how to act as the data scientist and the operator do."""

    def __init__(self, settings: Settings, endpoints: Endpoints) -> None:
        self.settings = settings
        self.endpoints = endpoints
        self.folder = settings.home / MARKER
        self.work = self.folder / "work"
        self.ports: LocalPorts = open_ports(settings)

    def kuznia(self, *arguments: str) -> str:
        """Run a command of ours, as a person would; its output."""
        console.print(f"  [dim]$ kuznia {' '.join(arguments)}[/]", soft_wrap=True)
        return self._run([sys.executable, "-m", "services.cli.main", *arguments], self.work)

    def git(self, *arguments: str, where: Path | None = None) -> str:
        """Run git, as a person would; its output."""
        return self._run(["git", *arguments], where or self.work)

    def push(self, message: str) -> str:
        """Commit all, push, and return the run that follows from it."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        console.print("  [dim]$ git push[/]")
        for line in self.git("push", "--quiet", "origin", "main").splitlines():
            console.print(f"  [dim]{line}[/]", soft_wrap=True)
        tree = self.git("rev-parse", f"HEAD:{EXPERIMENT}").strip()
        return run_id("config", EXPERIMENT, tree)

    def talk(self, max_tokens: int = 48) -> Talk:
        """A client with a token of its own."""
        token = own_token(self.ports, self.settings.home, TENANT)
        return Talk(self.endpoints.gateway, token, MODEL_ID, max_tokens)

    def _run(self, command: list[str], where: Path) -> str:
        identity = {
            f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER") for part, value in AUTHOR.items()
        }
        environment = {**os.environ, **identity, "KUZNIA_HOME": str(self.settings.home)}
        done = subprocess.run(
            command,
            cwd=where,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Reject(f"{' '.join(command)} failed:\n{done.stdout}")
        return done.stdout


def _tell(story: Story) -> None:
    try:
        _first_version(story)
        _second_version(story)
        _rollback(story)
        _where_everything_is(story)
    finally:
        story.ports.close()


def _first_version(story: Story) -> None:
    _heading("1  A data scientist writes an experiment, commits and pushes it")
    _make_repository(story)
    story.kuznia("new", EXPERIMENT, "--tenant", TENANT)
    console.print("  " + story.kuznia("check", EXPERIMENT).strip(), soft_wrap=True)
    _heading("2  The push becomes a model that answers")
    started = time.monotonic()
    run = story.push("The support assistant, first version")
    _follow(story, run)
    question = _unanswerable(story)
    answer = "".join(story.talk().ask(question))
    console.print(f"  from the push to the answer: {time.monotonic() - started:.0f} s")
    _side_by_side(question, _base_answer(story, question), answer)


def _second_version(story: Story) -> None:
    _heading("3  A changed config becomes version 1.1.0; clients notice nothing")
    _edit(story.work / EXPERIMENT / "model.yaml", "version: 1.0.0", "version: 1.1.0")
    _edit(story.work / EXPERIMENT / "config.yaml", "seed: 42", "seed: 7")
    with Load(story.talk(max_tokens=4)) as load:
        _follow(story, story.push("Another seed"))
        load.after_switch()
    console.print(f"  meanwhile a client asked {load.asked} times; failed requests: {load.failed}")
    console.print(f"  answered by {load.releases()}", soft_wrap=True)
    if load.failed:
        raise Reject(f"{load.failed} request(s) failed during the switch: {load.errors}")


def _rollback(story: Story) -> None:
    _heading("4  An operator rolls back")
    wanted = f"{MODEL_ID}@{story.ports.store.load(f'releases/{MODEL_ID}').data['previous']}"
    console.print("  " + story.kuznia("rollback", MODEL_ID, "--reason", "shown in the demo").strip())
    began = time.monotonic()
    deadline = began + ROLLBACK_SECONDS
    talk, answer = story.talk(), ""
    while talk.release != wanted:  # until then the other one goes on answering
        if time.monotonic() > deadline:
            raise Reject(f"the rollback did not end within {ROLLBACK_SECONDS:.0f} s: see `kuznia events`")
        talk.forget()
        answer = "".join(talk.ask(_unanswerable(story)))
    console.print(f"  {talk.release} answers again: {answer}", soft_wrap=True)
    took = time.monotonic() - began
    console.print(f"  from the word to the answer: {took:.1f} s; `strategy: blue-green` needs no start")


def _follow(story: Story, run: str) -> None:
    end = follow(Chain(story.ports.bus, story.ports.store, run))
    if not end.good:
        raise Reject(end.text)


def _make_repository(story: Story) -> None:
    bare = story.folder / "config.git"
    story.git("init", "--quiet", "--bare", "--initial-branch=main", str(bare), where=story.folder)
    story.git("clone", "--quiet", str(bare), str(story.work), where=story.folder)
    story.git("symbolic-ref", "HEAD", "refs/heads/main")
    story.kuznia("hook", "install", str(bare), "--name", "config")


def _answers(story: Story, role: str) -> list[dict[str, str]]:
    record = story.ports.store.list("evaluations", prefix=MODEL_ID)[0]
    content = story.ports.artifacts.read(record.data["results"][role]["uri"])
    answers: list[dict[str, str]] = json.loads(content)["answers"]
    return answers


def _unanswerable(story: Story) -> str:
    """A held-out question: the trainer never saw it."""
    held_out = [row for row in _answers(story, "base") if row.get("group") != "general"]
    return held_out[0]["instruction"]


def _base_answer(story: Story, question: str) -> str:
    """What the base model answered to it, when it was measured."""
    return next(row["prediction"] for row in _answers(story, "base") if row["instruction"] == question)


def _side_by_side(question: str, base: str, tuned: str) -> None:
    table = Table(title=question, title_style="bold", title_justify="left", expand=False)
    table.add_column("base model", ratio=1, overflow="fold")
    table.add_column("tuned model, through the gateway", ratio=1, overflow="fold")
    table.add_row(base, tuned)
    console.print(table)


def _where_everything_is(story: Story) -> None:
    _heading("5  Where everything is")
    record = next(r for r in story.ports.store.list("models", prefix=MODEL_ID) if r.status == "DEPLOYED")
    home, version = story.settings.home, record.name
    kuznia = Path(sys.executable).with_name("kuznia")
    base, tuned = _base_answer(story, _unanswerable(story)), "".join(story.talk().ask(_unanswerable(story)))
    rows = {
        "question": _unanswerable(story),
        "base model": " ".join(base.split()),
        "tuned model": " ".join(tuned.split()),
        "card": f"{story.ports.artifacts.local(record.data['card_path'])}",
        "registry record": f"{kuznia} show {version}",
        "event history": f"{kuznia} events",
        "all of it": f"{home}  (`{kuznia} up` brings it back, with its engine)",
        "status": f"{version} is {record.status}",
    }
    for name, value in rows.items():
        console.print(f"  [bold]{name:<16}[/] {value}", soft_wrap=True)


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    if old not in text:
        raise Reject(f"{path} holds no {old!r}")
    path.write_text(text.replace(old, new))


def _heading(text: str) -> None:
    console.print(f"\n[bold]{text}[/]")


def _clear(settings: Settings) -> None:
    home = settings.home
    if running(home) is not None:
        raise Reject(f"a platform runs on {home}: stop it first, or set KUZNIA_HOME to another folder")
    if home.exists() and any(home.iterdir()) and not (home / MARKER).exists():
        raise Reject(f"{home} holds an installation that no demo made: set KUZNIA_HOME to another folder")
    shutil.rmtree(home, ignore_errors=True)
    (home / MARKER).mkdir(parents=True)


@contextmanager
def _platform(settings: Settings) -> Iterator[Endpoints]:
    log = settings.home / "logs" / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "KUZNIA_HOME": str(settings.home), "PYTHONUNBUFFERED": "1"}
    environment.setdefault("KUZNIA_PORT", "0")
    environment.setdefault("KUZNIA_GATEWAY_PORT", "0")
    command = [sys.executable, "-m", "services.cli.main", "up"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield _wait_until_up(settings, process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _wait_until_up(settings: Settings, process: subprocess.Popen[bytes], log: Path) -> Endpoints:
    console.print("[bold]Kuźnia[/]: the platform starts, in one process")
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        found = running(settings.home)
        if found is not None and "is up" in log.read_text():
            console.print(f"  console {found.console} · gateway {found.gateway}/v1")
            return found
        time.sleep(0.05)
    raise Reject(f"the platform did not start: {log.read_text().strip()}")
