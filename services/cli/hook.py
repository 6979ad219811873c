"""`kuznia hook`: which repositories may start training, and how their pushes come to us."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from services.cli.common import installation, json_option, opened, print_json, print_table
from services.webhook.http import PATH
from shared.errors import Reject
from shared.git import run
from shared.local import LocalPorts
from shared.record import Record
from shared.secrets import ensure_webhook_secret
from shared.settings import from_environment

MARK = "# made by `kuznia hook install`"


@click.group()
def hook() -> None:
    """Connect the Git repositories whose pushes start training."""


@hook.command()
@click.argument("repository", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--name", default="", help="What it is called here; its folder's name, if not given.")
@click.option(
    "--branch", "branches", multiple=True, default=("main",), show_default=True, help="Watched branches."
)
@click.option(
    "--folder", "folders", multiple=True, help="Watched folders; the whole repository, if not given."
)
def install(repository: Path, name: str, branches: tuple[str, ...], folders: tuple[str, ...]) -> None:
    """Let pushes to a local Git REPOSITORY start training, by a post-receive hook."""
    settings = from_environment()
    path = repository.resolve()
    hooks = Path(run(["-C", str(path), "rev-parse", "--path-format=absolute", "--git-path", "hooks"]).strip())
    target = hooks / "post-receive"
    if target.exists() and MARK not in target.read_text():
        raise Reject(
            f"{target} is there already and is not ours: call `{sys.executable} -m services.cli.deliver"
            f" {settings.home} {name or path.name}` from it, with its standard input"
        )
    registered = name or path.name.removesuffix(".git")
    with opened(settings) as ports:
        ensure_webhook_secret(settings.home, registered)
        connect_repository(ports, registered, str(path), branches, folders)
    hooks.mkdir(exist_ok=True)
    target.write_text(_script(settings.home, registered))
    target.chmod(0o755)
    click.echo(f"pushes to {path} ({', '.join(branches)}) start training, as repository {registered!r}")


@hook.command()
@click.argument("name")
@click.argument("url")
@click.option(
    "--branch", "branches", multiple=True, default=("main",), show_default=True, help="Watched branches."
)
@click.option(
    "--folder", "folders", multiple=True, help="Watched folders; the whole repository, if not given."
)
@click.option("--secret", default="", help="The webhook's secret; one is made, if not given.")
def connect(name: str, url: str, branches: tuple[str, ...], folders: tuple[str, ...], secret: str) -> None:
    """Connect a GitHub repository: NAME as GitHub has it (`org/repo`), URL as `git fetch` takes it."""
    settings = from_environment()
    with opened(settings) as ports:
        kept = ensure_webhook_secret(settings.home, name, secret)
        connect_repository(ports, name, url, branches, folders)
    click.echo(f"At {name}'s settings, add a webhook: push events, content type application/json,")
    click.echo(f"  payload URL  <where this console is reached>{PATH}\n  secret       {kept.decode()}")


@hook.command("list")
@json_option
def list_repositories(as_json: bool) -> None:
    """List connected repositories."""
    with installation() as (_, ports):
        found = [{"name": r.name, "status": r.status, **r.data} for r in ports.store.list("repositories")]
    if as_json:
        print_json(found)
        return
    rows = [
        (r["name"], r["status"], ", ".join(r["branches"]), ", ".join(r["folders"]) or "all", r["url"])
        for r in found
    ]
    print_table("repositories", ("repository", "status", "branches", "folders", "url"), rows)


def connect_repository(
    ports: LocalPorts, name: str, url: str, branches: tuple[str, ...], folders: tuple[str, ...]
) -> None:
    """Keep what is watched. Raises Reject naming every folder that leaves the repository."""
    bad = [folder for folder in folders if folder.startswith("/") or ".." in folder.split("/")]
    if bad:
        raise Reject(
            f"not folders inside the repository: {', '.join(bad)}; give them from its root, such as experiments"
        )
    record = ports.store.load(f"repositories/{name}")
    now = ports.clock.now()
    data = {"url": url, "branches": list(branches), "folders": [folder.strip("/") for folder in folders]}
    created = record.created_at or now
    wanted: Record = msgspec.structs.replace(
        record, status="CONNECTED", data=data, created_at=created, updated_at=now
    )
    ports.store.commit(wanted)


def _script(home: Path, name: str) -> str:
    return f"#!/bin/sh\n{MARK}\nexec '{sys.executable}' -m services.cli.deliver '{home}' '{name}'\n"
