"""`kuznia hook`: which repositories may start training, and how their pushes come to us."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import msgspec

from services.cli.common import installation, json_option, opened, print_json, print_table
from services.cli.connection import Connection, connection_options, faults
from services.webhook.forges import FORGES
from shared.errors import Reject
from shared.git import run
from shared.local import LocalPorts
from shared.secrets import (
    drop_old_webhook_secret,
    ensure_webhook_secret,
    rotate_webhook_secret,
)
from shared.settings import from_environment
from shared.standard_webhooks import new_secret

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
@connection_options
def connect(name: str, url: str, **options: Any) -> None:
    """Connect a repository of a forge: NAME as the forge has it (`org/repo`), URL as `git fetch` takes it.

    With --token-file, what becomes of each commit is written back to it as its status.
    """
    settings = from_environment()
    connection = msgspec.convert(options, Connection)
    wrong = faults(name, url, connection)
    if wrong:
        raise Reject("\n".join(wrong))
    with opened(settings) as ports:
        kept = ensure_webhook_secret(settings.home, name, connection.secret)
        data = watched(url, connection.branches, connection.folders)
        keep_repository(ports, name, {**data, **connection.kept(url, settings)})
    _tell(connection, name, kept.decode())


@hook.command()
@click.argument("name")
@click.option(
    "--days", default=7, show_default=True, type=click.IntRange(min=0), help="The old one holds on."
)
@click.option("--drop-old", is_flag=True, help="Make no new one; let the old one hold no longer.")
@click.option("--secret", default="", help="The new one; one is made, if not given.")
def rotate(name: str, days: int, drop_old: bool, secret: str) -> None:
    """Make a new secret for NAME's deliveries and print it; until the old one ends, both hold."""
    with installation() as (settings, ports):
        record = ports.store.load(f"repositories/{name}")
        if record.revision == 0:
            raise Reject(f"no repository is connected as {name!r}: `kuznia hook list` shows them")
        if drop_old:
            known = drop_old_webhook_secret(settings.home, name)
            click.echo(f"the old secret of {name} holds no longer" if known else f"{name} has no old secret")
            return
        until = ports.clock.now() + timedelta(days=days)
        fresh = secret or (new_secret() if record.data.get("forge") == "gitlab" else "")
        made = rotate_webhook_secret(settings.home, name, until, fresh)
    click.echo(made.decode())
    click.echo(f"(the old one holds until {until:%Y-%m-%d %H:%M} UTC; `--drop-old` ends it)", err=True)


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
    keep_repository(ports, name, watched(url, branches, folders))


def watched(url: str, branches: tuple[str, ...], folders: tuple[str, ...]) -> dict[str, Any]:
    """Data of a repository's record. Raises Reject naming every folder that leaves the repository."""
    bad = [folder for folder in folders if folder.startswith("/") or ".." in folder.split("/")]
    if bad:
        raise Reject(
            f"not folders inside the repository: {', '.join(bad)}; give them from its root, such as experiments"
        )
    return {"url": url, "branches": list(branches), "folders": [folder.strip("/") for folder in folders]}


def keep_repository(ports: LocalPorts, name: str, data: dict[str, Any]) -> None:
    """Write a repository's record, whatever it was before."""
    record = ports.store.load(f"repositories/{name}")
    now = ports.clock.now()
    created = record.created_at or now
    ports.store.commit(
        msgspec.structs.replace(record, status="CONNECTED", data=data, created_at=created, updated_at=now)
    )


def _tell(connection: Connection, name: str, secret: str) -> None:
    forge = FORGES[connection.forge]
    click.echo(f"At {name}'s settings at {forge.title}, add a webhook for pushes, as application/json:")
    click.echo(f"  URL     <where this console is reached>{forge.path}\n  secret  {secret}")


def _script(home: Path, name: str) -> str:
    return f"#!/bin/sh\n{MARK}\nexec '{sys.executable}' -m services.cli.deliver '{home}' '{name}'\n"
