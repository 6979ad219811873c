"""`kuznia tokens`: who may ask which models."""

from __future__ import annotations

import os
import secrets
from datetime import timedelta
from pathlib import Path

import click
import msgspec

from services.cli.common import installation, json_option, opened, print_json, print_table, when
from services.gateway.tokens import new_token, token_hash
from shared.errors import Reject
from shared.identity import workload_name
from shared.local import LocalPorts
from shared.record import Record
from shared.settings import from_environment


@click.group()
def tokens() -> None:
    """Create, list and revoke the tokens of API clients."""


@tokens.command()
@click.option("--tenant", required=True, help="Whose models it may ask.")
@click.option(
    "--model", "models", multiple=True, help="A model_id it may ask; all of the tenant's, if not given."
)
@click.option("--label", default="", help="Whom or what it is for.")
@click.option(
    "--days", type=click.IntRange(min=1), default=None, help="Days until it expires; never, if not given."
)
@json_option
def create(tenant: str, models: tuple[str, ...], label: str, days: int | None, as_json: bool) -> None:
    """Make a token. It is shown once; only its hash is kept."""
    with opened(from_environment()) as ports:
        expires = ports.clock.now() + timedelta(days=days) if days else None
        token, data = new_token(tenant=tenant, models=models or ("*",), label=label, expires_at=expires)
        identifier = store_token(ports, data)
    if as_json:
        print_json({"id": identifier, "token": token})
    else:
        click.echo(f"{token}\n(id {identifier}; it will not be shown again)")


@tokens.command("list")
@json_option
def list_tokens(as_json: bool) -> None:
    """List tokens, without the tokens."""
    with installation() as (_, ports):
        found = [{"id": r.name, "status": r.status, **r.data} for r in ports.store.list("tokens")]
    for token in found:
        token.pop("hash")
    if as_json:
        print_json(found)
        return
    rows = [
        (t["id"], t["status"], t["tenant"], ", ".join(t["models"]), t["label"], when(t["expires_at"]))
        for t in found
    ]
    print_table("tokens", ("id", "status", "tenant", "models", "label", "expires"), rows)


@tokens.command()
@click.argument("identifier")
def revoke(identifier: str) -> None:
    """Revoke a token by its id; the gateway refuses it within a second."""
    with installation() as (_, ports):
        record = ports.store.load(f"tokens/{identifier}")
        if record.revision == 0:
            raise Reject(f"no token has the id {identifier!r}: `kuznia tokens list` shows them")
        data = {**record.data, "revoked": True}
        now = ports.clock.now()
        ports.store.commit(msgspec.structs.replace(record, status="REVOKED", data=data, updated_at=now))
        click.echo(f"revoked {identifier}")


def _holds(ports: LocalPorts, token: str) -> bool:
    known = ports.store.list("tokens", status="ACTIVE", limit=1_000_000)
    return any(record.data["hash"] == token_hash(token) for record in known)


def store_token(ports: LocalPorts, data: dict[str, object]) -> str:
    """Keep a token's record; its id."""
    identifier = f"t-{secrets.token_hex(4)}"
    now = ports.clock.now()
    record = Record(key=f"tokens/{identifier}", status="ACTIVE", data=data, created_at=now, updated_at=now)
    ports.store.commit(record)
    return identifier


def own_token(ports: LocalPorts, home: Path, tenant: str) -> str:
    """The command line's own token for a tenant, made at the first need, and anew where the one that is kept was
    revoked or is of another registry; a file of mode 0600.
    """
    path = home / "secrets" / f"cli-token-{workload_name(tenant)}"
    kept = path.read_text() if path.exists() else ""
    if kept and _holds(ports, kept):
        return kept
    token, data = new_token(tenant=tenant, label="kuznia chat")
    store_token(ports, data)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(token)
    return token
