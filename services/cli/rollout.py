"""What an operator does to a rollout: deploy a version, look at a canary, take a hand in it. Each is an event."""

from __future__ import annotations

from typing import Any, Literal

import click
import msgspec

from events.deploy_requested import DeployRequested
from events.rollout_requested import RolloutRequested
from services.cli.common import (
    installation,
    json_option,
    person,
    print_json,
    print_table,
    say,
    up_or_later,
    when,
)
from services.deployment.plan import Strategy, plan_of
from services.deployment.rollout import Rollout
from services.deployment.versions import gates_open
from shared.errors import Reject
from shared.local import LocalPorts

Action = Literal["pause", "resume", "promote", "abort"]
STRATEGIES: tuple[Strategy, ...] = ("replace", "blue-green", "canary")
STANDS = frozenset({"standing", "ready"})


@click.command()
@click.argument("model_id")
@click.option("--version", required=True, help="The version that is to answer.")
@click.option(
    "--strategy", type=click.Choice(STRATEGIES), help="How; what its model.yaml says, if not given."
)
@click.option(
    "--weight",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="First share of the requests, such as 0.05; the greater steps of its plan follow.",
)
@click.option("--reason", default="", help="Why.")
def deploy(model_id: str, version: str, strategy: Strategy | None, weight: float | None, reason: str) -> None:
    """Let a version of MODEL_ID answer, in its own way or in another.

    \b
    replace     at once when its engine is ready; the old engine ends
    blue-green  the same, and the old engine stands by for a while: a way back within seconds
    canary      by steps of weight, judged beside the live version; back by itself if it does worse

    A version whose engine still stands takes over at once. Whatever is asked for here, validation, card and
    approval stand before it.
    """  # noqa: D301 - the backspace keeps click from filling the lines
    if weight is not None and strategy not in (None, "canary"):
        raise click.UsageError(f"--weight is a canary's, and --strategy is {strategy}; leave one of them out")
    with installation() as (settings, ports):
        data = released(ports, model_id)
        found = able(model_id, data, version)
        if data.get("rollout", {}).get("version") == version:
            raise Reject(
                f"{model_id}@{version} is a canary already; `kuznia rollout promote {model_id}` makes it live"
            )
        request = DeployRequested(
            model_id=model_id,
            version=version,
            by=person(),
            reason=reason,
            strategy=strategy or "",
            weight=weight or 0.0,
        )
        say(ports, request, f"releases/{model_id}")
        how = _how(found, strategy, weight)
        click.echo(f"deploying {model_id}@{version}, {how}{up_or_later(settings)}")


@click.group()
def rollout() -> None:
    """Look at a canary that is under way, and take a hand in it."""


@rollout.command()
@click.argument("model_id")
@json_option
def status(model_id: str, as_json: bool) -> None:
    """How the rollout of MODEL_ID stands: shares, figures, what it waits for; and how earlier ones ended."""
    with installation() as (_, ports):
        data = released(ports, model_id)
    told = described(data)
    if as_json:
        print_json(told)
        return
    click.echo(_line(model_id, data))
    if told["rollout"]:
        columns = ("version", "share", "requests", "errors", "first byte p95", "last byte p95", "score")
        print_table("figures", columns, [_row(version) for version in told["versions"]])
    over = [
        (one["number"], one["version"], one["what"], one["by"], when(one["ended"]), one["reason"])
        for one in reversed(data.get("rollouts", []))
    ]
    if over:
        print_table("earlier rollouts", ("", "version", "how it ended", "by", "at", "reason"), over)


@rollout.command()
@click.argument("model_id")
@click.option("--reason", default="", help="Why.")
def pause(model_id: str, reason: str) -> None:
    """No further step by itself; it still goes back if it does worse."""
    _take_a_hand(model_id, "pause", reason)


@rollout.command()
@click.argument("model_id")
@click.option("--reason", default="", help="Why.")
def resume(model_id: str, reason: str) -> None:
    """Go on by steps; the step that it stands at begins anew."""
    _take_a_hand(model_id, "resume", reason)


@rollout.command()
@click.argument("model_id")
@click.option("--reason", default="", help="Why.")
def promote(model_id: str, reason: str) -> None:
    """All requests to the canary, now."""
    _take_a_hand(model_id, "promote", reason)


@rollout.command()
@click.argument("model_id")
@click.option("--reason", default="", help="Why; the model's owner will read it.")
def abort(model_id: str, reason: str) -> None:
    """No requests to the canary any more; what is live answers all of them."""
    _take_a_hand(model_id, "abort", reason)


def take_a_hand(ports: LocalPorts, model_id: str, action: Action, reason: str) -> str:
    """Say the word about the canary that is under way; its version. Raises Reject where there is none."""
    one = released(ports, model_id).get("rollout")
    if not one:
        raise Reject(
            f"no canary of {model_id} is under way; `kuznia rollout status {model_id}` shows earlier ones"
        )
    wrong = {"pause": ("paused", "is paused already"), "resume": ("stepping", "goes on by itself already")}
    state, why = wrong.get(action, ("", ""))
    if one["state"] == state:
        raise Reject(f"canary {model_id}@{one['version']} {why}")
    word = RolloutRequested(
        model_id=model_id, version=one["version"], action=action, by=person(), reason=reason
    )
    say(ports, word, f"releases/{model_id}")
    return str(one["version"])


def released(ports: LocalPorts, model_id: str) -> dict[str, Any]:
    """The release's data. Raises Reject naming what there is."""
    data = ports.store.load(f"releases/{model_id}").data
    if not data:
        known = ", ".join(record.name for record in ports.store.list("releases")) or "none"
        raise Reject(f"no model {model_id!r} has been released; there are: {known}")
    return data


def able(model_id: str, data: dict[str, Any], target: str) -> dict[str, Any]:
    """The version, checked now so that the operator hears of a mistake at once. Raises Reject."""
    found: dict[str, Any] | None = data["versions"].get(target)
    if found is None:
        known = ", ".join(data["versions"])
        raise Reject(f"{model_id} has no version {target or 'before the live one'}; there are: {known}")
    if target == data["live"]:
        raise Reject(f"{model_id}@{target} already answers")
    if found["state"] == "refused" or not gates_open(found):
        raise Reject(f"{model_id}@{target} may not answer: it has no passed validation, card or approval")
    return found


def described(data: dict[str, Any]) -> dict[str, Any]:
    """A release's rollout for people and programs."""
    if not data.get("rollout"):
        return {"live": data["live"], "rollout": {}, "versions": [], "earlier": data.get("rollouts", [])}
    one = msgspec.convert(data["rollout"], Rollout)
    figures, weights = one.summaries(), one.weights()
    versions = [{"version": name, "weight": weights[name], **figures[name]} for name in weights]
    under_way = {
        "number": one.number, "version": one.version, "against": one.against, "by": one.by, "state": one.state,
        "step": one.step + 1, "of": len(one.canary.steps), "weight": one.now.weight, "since": one.since,
        "minutes": one.now.minutes, "requests": one.now.requests, "reason": one.reason,
        "verdict": one.verdict().reason, "judge": one.judgement,
    }  # fmt: skip
    return {
        "live": data["live"],
        "rollout": under_way,
        "versions": versions,
        "earlier": data.get("rollouts", []),
    }


def _take_a_hand(model_id: str, action: Action, reason: str) -> None:
    with installation() as (settings, ports):
        version = take_a_hand(ports, model_id, action, reason)
        done = {"pause": "paused", "resume": "resumed", "promote": "promoted", "abort": "aborted"}[action]
        click.echo(f"{done} the canary {model_id}@{version}{up_or_later(settings)}")


def _how(found: dict[str, Any], strategy: Strategy | None, weight: float | None) -> str:
    if not strategy and weight is None and found["state"] == "standing":
        return "at once: its engine still stands"
    chosen = "canary" if weight is not None else strategy or plan_of(found.get("plan", {})).strategy
    share = f" from {weight:.0%} of the requests on" if weight is not None else ""
    start = "" if found["state"] in STANDS else ", once its engine is ready"
    return f"strategy {chosen}{share}{start}"


def _line(model_id: str, data: dict[str, Any]) -> str:
    live = data["live"] or "no version"
    state = data["versions"].get(data["live"], {}).get("state", "")
    asleep = {"asleep": ", asleep until somebody asks", "starting": ", starting"}.get(state, "")
    standing = [name for name, version in data["versions"].items() if version["state"] == "standing"]
    kept = f"; {standing[0]} stands by" if standing else ""
    if not data.get("rollout"):
        return f"{model_id}: {live} answers{asleep}{kept}; no canary is under way"
    one = described(data)["rollout"]
    judge = f"\n  {one['judge']}" if one["judge"] else ""
    return (
        f"{model_id}: {live} answers{asleep}; canary {one['version']} is {one['state']} at step {one['step']} of"
        f" {one['of']}, {one['weight']:.0%} of the requests, since {when(one['since'])} (at least"
        f" {one['minutes']:g} min and {one['requests']} requests)\n  {one['reason']}{judge}"
    )


def _row(version: dict[str, Any]) -> tuple[object, ...]:
    return (
        version["version"],
        f"{version['weight']:.0%}",
        int(version["requests"]),
        f"{int(version['errors'])} ({version['error_rate']:.1%})",
        f"{version['ttft_p95']:.3g} s",
        f"{version['latency_p95']:.3g} s",
        f"{version['score']:.3g} of {int(version['samples'])}" if "score" in version else "",
    )
