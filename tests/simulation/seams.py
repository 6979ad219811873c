"""Where the simulator puts itself into the real modules: Git, secrets, and three pure functions remembered.

Nothing here changes what the platform does. A remembered answer is one that the real function gave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

from events.parts import Folder
from services.cards.facts import Facts
from services.cards.render import Rendered, render
from shared.experiment.check import Checked, check
from shared.identity import content_digest

SECRET = b"simulated"
# By name: a service's package has functions called `decide` and `effects` where these modules lie.
cards = import_module("services.cards.decide")
training = import_module("services.training.decide")
webhook = import_module("services.webhook.effects")
missed = import_module("services.webhook.missed")
receive = import_module("services.webhook.receive")


@contextmanager
def replaced(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    """Attributes as given, within the block: (object, name, value)."""
    before = [(target, name, getattr(target, name)) for target, name, _ in changes]
    try:
        for target, name, value in changes:
            setattr(target, name, value)
        yield
    finally:
        for target, name, value in reversed(before):
            setattr(target, name, value)


@contextmanager
def placed(
    mirror: Callable[[Any], Any], heads: Callable[[str], dict[str, str]], *, cards_whole: bool
) -> Iterator[None]:
    """Everything below, for one world. cards_whole: render cards really, which takes 4 ms each."""
    changes: list[tuple[Any, str, Any]] = [
        (webhook, "Mirror", mirror),
        (missed, "remote_heads", heads),
        (receive, "webhook_secrets", lambda _home, _name, _now: (SECRET,)),
        (training, "check", remembered_check),
    ]
    if not cards_whole:
        changes.append((cards, "render", short_card))
    with replaced(*changes):
        yield


def remembered_check(folder: Folder, *, data_roots: tuple[str, ...] | None = None) -> Checked:
    """`shared.experiment.check.check`; the same folder is checked once a process."""
    return _checked(tuple(folder.files), tuple(sorted(folder.texts.items())), data_roots)


@cache
def _checked(
    files: tuple[Any, ...], texts: tuple[tuple[str, str], ...], data_roots: tuple[str, ...] | None
) -> Checked:
    return check(Folder(files=files, texts=dict(texts)), data_roots=data_roots)


def short_card(facts: Facts) -> Rendered:
    """In most worlds cards are this short, because a whole one takes longer than all the rest of a run."""
    registered = facts.registered
    said = (
        f"# {registered.model.key}\n{registered.artifact.manifest_digest} {facts.validated_at.isoformat()}\n"
    )
    document = {"model": registered.model.key, "digest": content_digest(said.encode())}
    return Rendered(markdown=said, document=document, missing=(), completeness=1.0)


__all__ = ["SECRET", "placed", "remembered_check", "render", "replaced", "short_card"]
