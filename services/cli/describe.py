"""One line a person understands, for each event. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from events.envelope import Event

Data = Mapping[str, Any]
SHORT = 10


def describe(event: Event) -> str:
    """What an event says, without its name."""
    teller = _TELLERS.get(event.name)
    return teller(event.data) if teller else event.subject


def _push(data: Data) -> str:
    return f"{data['repository']} {data['branch']} {data['before'][:SHORT]}..{data['after'][:SHORT]}"


def _committed(data: Data) -> str:
    source = data["source"]
    return f"{source['experiment']} at {source['commit'][:SHORT]} -> run {data['run_id']}"


def _started(data: Data) -> str:
    return f"{_version(data['model'])}, job {data['job']}"


def _progressed(data: Data) -> str:
    if not data.get("total_steps"):
        return str(data["phase"])
    loss = data.get("loss")
    return f"step {data['step']}/{data['total_steps']}" + (f", loss {loss:.4f}" if loss is not None else "")


def _checkpoint(data: Data) -> str:
    what = "final weights" if data["final"] else f"checkpoint at step {data['step']}"
    return f"{what}, {data['artifact']['manifest_digest'][:19]}"


def _finished(data: Data) -> str:
    first = str(data.get("cause") or "").split("\n", 1)[0]
    return f"{data['outcome']}{': ' + first if first else ''}"


def _evaluated(data: Data) -> str:
    numbers = ", ".join(f"{name} {value:.3g}" for name, value in sorted(data["metrics"].items()))
    return f"{data['role']} model: {numbers or data.get('cause', '')}"


def _validated(data: Data) -> str:
    held = sum(1 for gate in data["gates"] if gate["passed"])
    return f"{'passed' if data['passed'] else 'FAILED'}, {held} of {len(data['gates'])} gates held"


def _card(data: Data) -> str:
    missing = f", {len(data['missing'])} field(s) missing" if data.get("missing") else ""
    return f"{data['completeness']:.0%} complete{missing}"


def _deployed(data: Data) -> str:
    return f"{_version(data)} answers" + (f", in place of {data['replaced']}" if data.get("replaced") else "")


def _quota(data: Data) -> str:
    runs = "any number of" if data["runs"] is None else data["runs"]
    hours = "any number of" if data["gpu_hours"] is None else f"{data['gpu_hours']:g}"
    high = "" if data["high"] else ", nothing urgent"
    return f"{data['tenant'] or 'all'} by {data['by']}: {runs} runs at once, {hours} GPU hours a month{high}"


def _workload(data: Data) -> str:
    reason = f" ({data['reason']})" if data.get("reason") else ""
    return f"{data['kind']} {data['name']} is {data['phase']}{reason}"


def _moved(data: Data) -> str:
    step = f"step {data['step']}/{data['of']}, {data['weight']:.0%} of the requests"
    return f"canary {_version(data)} {data['what']} ({step}) by {data['by']}: {data['reason']}"


def _measured(data: Data) -> str:
    seen = ", ".join(
        f"{name} {of['requests']} requests, {of['errors']} errors"
        for name, of in sorted(data["versions"].items())
    )
    return f"{data['model_id']}: {seen or 'none ended'}, {data['in_flight']} under way, at {data['gateway']}"


def _deploy(data: Data) -> str:
    how = f" as {data['strategy']}" if data["strategy"] else ""
    share = f" at {data['weight']:.0%}" if data["weight"] else ""
    return f"{_version(data)}{how}{share} by {data['by']}: {data['reason']}"


def _due(data: Data) -> str:
    told = {
        "step": "the canary's step is over",
        "keep": "was kept for long enough",
        "idle": "may have been idle",
    }
    return f"{_version(data)}: {told[data['what']]}"


def _version(data: Data) -> str:
    return f"{data['model_id']}@{data['version']}"


def _adapter(data: Data) -> str:
    return f"{_version(data)} is to be loaded into {data['engine']}"


_TELLERS: Mapping[str, Callable[[Data], str]] = {
    "push-received": _push,
    "config-committed": _committed,
    "training-started": _started,
    "training-progressed": _progressed,
    "training-finished": _finished,
    "checkpoint-written": _checkpoint,
    "adapter-wanted": _adapter,
    "adapter-dropped": lambda data: f"{data['release']} is not needed in {data['engine']} any more",
    "engine-idle": lambda data: f"{data['engine']} has had nothing to carry for a while",
    "model-registered": lambda data: f"{_version(data['model'])} is TRAINED",
    "evaluation-finished": _evaluated,
    "model-validated": _validated,
    "card-rendered": _card,
    "model-approved": lambda data: f"{_version(data)} by {data['who']} ({data['role']})",
    "model-rejected": lambda data: f"{_version(data)} by {data['who']}: {data['reason']}",
    "model-deployed": _deployed,
    "deployment-failed": lambda data: f"{_version(data)}: {data['cause']}",
    "model-deprecated": lambda data: f"{_version(data)} by {data['by']}: {data['reason']}",
    "retry-requested": lambda data: f"{data['run_id']} by {data['by']}: {data['reason']}",
    "rollback-requested": lambda data: (
        f"{data['model_id']} to {data['version'] or 'the one before'} by {data['by']}"
    ),
    "deploy-requested": _deploy,
    "rollout-requested": lambda data: (
        f"{data['action']} canary {_version(data)} by {data['by']}: {data['reason']}"
    ),
    "rollout-moved": _moved,
    "traffic-measured": _measured,
    "answers-judged": lambda data: (
        f"{_version(data)}: {data['metric']} {data['mean']:.3g} over {data['samples']} answers, by {data['judge']}"
    ),
    "release-due": _due,
    "model-wanted": lambda data: f"{_version(data)} sleeps, and a request came",
    "training-queued": lambda data: f"{data['place']} of {data['waiting']} waiting: {data['why']}",
    "capacity-changed": lambda data: f"{data['run_id']} may look again: {data['why']}",
    "budget-checked": lambda data: data["over"] or f"some is left of the hours of {data['job']}",
    "quota-set": _quota,
    "workload-changed": _workload,
}
