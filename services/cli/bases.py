"""`kuznia bases`: the base models of this machine, and those that a hub has for it."""

from __future__ import annotations

import click

from services.cli.common import json_option, print_json, print_table
from shared.forge.models import BaseModel, everything
from shared.hub import client
from shared.hub.snapshot import bring
from shared.settings import from_environment

SCHEME = "hf://"


@click.group()
def bases() -> None:
    """The base models that are trained from and served."""


@bases.command("list")
@json_option
def list_(as_json: bool) -> None:
    """What is on this machine: name, revision, licence, digest, folder."""
    found = everything(from_environment().models)
    if as_json:
        print_json(found)
        return
    rows = [(one.name, one.revision[:12], one.licence, one.digest[:19], str(one.path)) for one in found]
    print_table("base models", ("base model", "revision", "licence", "digest", "folder"), rows)


@bases.command()
@click.argument("model")
@json_option
def fetch(model: str, as_json: bool) -> None:
    """Fetch MODEL, `organisation/name` or `hf://organisation/name@revision`, so that pods need not ask the hub.

    Revision: a commit, a tag or a branch; `main` where none is said. HF_ENDPOINT names a mirror or proxy; HF_TOKEN
    or HF_TOKEN_PATH (a file) opens what is gated. A fetch that was cut off goes on where it was.
    """
    name, _, revision = model.removeprefix(SCHEME).partition("@")
    found: BaseModel = bring(client.from_environment(), from_environment().models, name, revision)
    if as_json:
        print_json(found)
    else:
        click.echo(f"{found.name}@{found.revision} lies in {found.path} ({found.digest})")
