"""What an operator decides: approve, reject, roll back, deprecate. Each is an event, with who and why."""

from __future__ import annotations

from datetime import datetime

import click

from events.model_approved import ModelApproved
from events.model_deprecated import ModelDeprecated
from events.model_rejected import ModelRejected
from events.retry_requested import RetryRequested
from events.rollback_requested import RollbackRequested
from services.cli.common import find_run, find_version, installation, person, say, up_or_later
from services.cli.rollout import able, released, take_a_hand
from services.training.usage import spent_hours, used_up
from shared.errors import Reject
from shared.local import LocalPorts
from shared.record import Record


@click.command()
@click.argument("run")
@click.option("--reason", default="", help="Why.")
@click.option(
    "--budget-hours",
    type=click.FloatRange(min=0, min_open=True),
    help="GPU hours of the run from now on, with those that it has used.",
)
def retry(run: str, reason: str, budget_hours: float | None) -> None:
    """Try a failed RUN again, from its newest complete checkpoint.

    A push of the same content is the same run and starts nothing; a config with faults has to be changed.
    """
    with installation() as (settings, ports):
        record = find_run(ports, run)
        if record.status != "FAILED":
            raise Reject(f"{record.name} is {record.status}; only a FAILED run can be tried again")
        _refuse_exhausted(record, budget_hours, ports.clock.now())
        request = RetryRequested(run_id=record.name, by=person(), reason=reason, budget_hours=budget_hours)
        say(ports, request, record.key)
        click.echo(f"trying {record.name} again{up_or_later(settings)}")


@click.command()
@click.argument("model")
@click.option("--role", required=True, help="The hat you wear: model owner, compliance, …")
@click.option("--reason", default="", help="Why.")
def approve(model: str, role: str, reason: str) -> None:
    """Approve the release of MODEL@VERSION, as it is: these weights, this card."""
    with installation() as (settings, ports):
        record = _carded(ports, model)
        say(ports, ModelApproved(**_word(record, role, reason)), record.key)
        click.echo(f"approved {record.name}{up_or_later(settings)}")


@click.command()
@click.argument("model")
@click.option("--role", required=True, help="The hat you wear.")
@click.option("--reason", required=True, help="Why; the owner will read it.")
def reject(model: str, role: str, reason: str) -> None:
    """Refuse the release of MODEL@VERSION."""
    with installation() as (settings, ports):
        record = _carded(ports, model)
        say(ports, ModelRejected(**_word(record, role, reason)), record.key)
        click.echo(f"rejected {record.name}{up_or_later(settings)}")


@click.command()
@click.argument("model_id")
@click.option("--to", "version", default="", help="The version to go to; the one before, if not given.")
@click.option("--reason", default="", help="Why.")
def rollback(model_id: str, version: str, reason: str) -> None:
    """Let an earlier version of MODEL_ID answer again.

    At once where its engine still stands; else what answers now goes on answering until the other one is ready.
    A canary that is under way ends with it; without --to, that is all that happens.
    """
    with installation() as (settings, ports):
        data = released(ports, model_id)
        if data.get("rollout") and not version:
            canary = take_a_hand(ports, model_id, "abort", reason)
            click.echo(f"aborted the canary {model_id}@{canary}{up_or_later(settings)}")
            return
        target = version or data["previous"]
        able(model_id, data, target)
        request = RollbackRequested(model_id=model_id, version=target, by=person(), reason=reason)
        say(ports, request, f"releases/{model_id}")
        click.echo(f"rolling {model_id} back to {target}{up_or_later(settings)}")


@click.command()
@click.argument("model")
@click.option("--reason", required=True, help="Why; clients and auditors will read it.")
def deprecate(model: str, reason: str) -> None:
    """Withdraw MODEL@VERSION: it answers no more, at once."""
    with installation() as (settings, ports):
        record = find_version(ports, model)
        word = ModelDeprecated(
            model_id=record.data["model_id"], version=record.data["version"], by=person(), reason=reason
        )
        say(ports, word, record.key)
        click.echo(f"deprecated {record.name}{up_or_later(settings)}")


def _refuse_exhausted(record: Record, budget_hours: float | None, now: datetime) -> None:
    budget, spent = budget_hours or record.data.get("budget_hours"), spent_hours(record.data, now)
    if budget is not None and spent >= budget:
        raise Reject(used_up(record.name, spent, budget))


def _carded(ports: LocalPorts, model: str) -> Record:
    record = find_version(ports, model)
    if not record.data.get("card_digest"):
        raise Reject(f"{record.name} has no card yet, so there is nothing to judge: it is {record.status}")
    return record


def _word(record: Record, role: str, reason: str) -> dict[str, str]:
    return {
        "model_id": record.data["model_id"],
        "version": record.data["version"],
        "who": person(),
        "role": role,
        "manifest_digest": record.data["manifest_digest"],
        "card_digest": record.data["card_digest"],
        "reason": reason,
    }
