"""Event name -> payload class, topic and schema. Finds the modules itself: a new event is one new module."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec

import events
from events.envelope import Event

NOT_EVENTS = frozenset({"envelope", "catalog", "parts", "generate"})


class UnknownEventError(LookupError):
    """No module of this package defines an event of that name."""


class PayloadError(ValueError):
    """The payload does not fit the event's class; the message names the field and the fault."""


class Definition(msgspec.Struct, frozen=True):
    """One event of the catalog. doc: who says it, who hears it, its subject."""

    name: str
    payload: type[Any]
    doc: str

    @property
    def topic(self) -> str:
        """The topic is the short name."""
        return self.name

    def schema(self) -> dict[str, Any]:
        """JSON Schema (draft 2020-12) of the payload."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": self.name,
            "description": self.doc,
            **msgspec.json.schema(self.payload),
        }


@cache
def definitions() -> Mapping[str, Definition]:
    """All events, by name, in alphabetical order. Raises TypeError on a module without NAME and payload."""
    names = sorted(module.name for module in pkgutil.iter_modules(events.__path__))
    found = [_definition(name) for name in names if name not in NOT_EVENTS]
    return {definition.name: definition for definition in found}


def definition(name: str) -> Definition:
    """One event's definition. Raises UnknownEventError, naming those that exist."""
    try:
        return definitions()[name]
    except KeyError:
        known = ", ".join(definitions())
        raise UnknownEventError(f"no event is called {name!r}; there are {known}") from None


def decode(event: Event) -> Any:
    """The payload as an instance of its class. Raises UnknownEventError or PayloadError."""
    payload = definition(event.name).payload
    try:
        return msgspec.convert(event.data, payload)
    except msgspec.ValidationError as error:
        raise PayloadError(f"{event.name} {event.id}: {error}") from error


def encode(payload: Any) -> dict[str, Any]:
    """A payload as plain JSON types, as `Event.data` wants it."""
    data = msgspec.to_builtins(payload)
    assert isinstance(data, dict)
    return data


def name_of(payload: Any) -> str:
    """The short name of the event whose payload this is."""
    for name, known in definitions().items():
        if known.payload is type(payload):
            return name
    raise UnknownEventError(f"{type(payload).__name__} is no event's payload")


def _definition(module_name: str) -> Definition:
    module = importlib.import_module(f"events.{module_name}")
    class_name = "".join(part.capitalize() for part in module_name.split("_"))
    payload = getattr(module, class_name, None)
    name = getattr(module, "NAME", None)
    if payload is None or name != module_name.replace("_", "-"):
        raise TypeError(
            f"events/{module_name}.py must define NAME = {module_name!r} with '-' and {class_name}"
        )
    return Definition(name, payload, (module.__doc__ or "").strip())
