"""What record an event is about, from its payload. Pure.

Deliveries keep their order by the subject, and people look for it: an event under another one would go astray.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from events.envelope import Event


def fault(event: Event) -> str:
    """How the subject differs from what it has to be; empty where it does not. The payload is known to fit."""
    wanted = subject_of(event.name, event.data)
    return (
        ""
        if event.subject == wanted
        else f"subject is {event.subject!r}; by its data it should be {wanted!r}"
    )


def subject_of(name: str, data: Mapping[str, Any]) -> str:
    """`runs/…`, `models/…`, … as the event's module in `events/` says."""
    return READERS.get(name, _by_run_or_model)(data)


def _by_run_or_model(data: Mapping[str, Any]) -> str:
    if "run_id" in data:
        return f"runs/{data['run_id']}"
    model = data.get("model") or data
    return f"models/{model['model_id']}@{model['version']}"


def _by_release(data: Mapping[str, Any]) -> str:
    return f"releases/{data['model_id']}"


READERS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "quota-set": lambda data: f"quotas/{data['tenant'] or '_all'}",
    "evaluation-finished": lambda data: f"evaluations/{data['key']}",
    "answers-judged": _by_release,
    "deploy-requested": _by_release,
    "model-wanted": _by_release,
    "release-due": _by_release,
    "rollback-requested": _by_release,
    "rollout-moved": _by_release,
    "rollout-requested": _by_release,
    "traffic-measured": _by_release,
}
