"""The catalog is whole, and what services hear and say stands in it as its modules tell."""

from __future__ import annotations

import importlib
import re
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest

import events
from events import catalog
from events.catalog import PayloadError, UnknownEventError, decode, definition, definitions, encode, name_of
from events.envelope import Event
from events.rollback_requested import RollbackRequested
from services.discovery import discover
from shared.service import Service
from tests.memory import START

# Who hears an event without being an event service: they read registry or log.
READERS = {"console", "gateway"}
# Who says events without being an event service.
SPEAKERS = {
    "the pod", "pod", "people", "operators", "CLI", "other systems", "the cluster's watch", "the evaluation pod",
    "the judging pod", "webhook's front door", "the local Git hook", "the reconciler", "the gateway",
}  # fmt: skip


@pytest.fixture
def fresh() -> Iterator[None]:
    definitions.cache_clear()
    yield
    definitions.cache_clear()


def services() -> Mapping[str, Service]:
    return discover()


def told(name: str, what: str) -> str:
    """The part of a module's docstring behind `said by:` or `heard by:`."""
    doc = " ".join(definition(name).doc.split())
    found = re.search(rf"{what} by: (.*?)(?: · | heard by:| subject:|$)", doc)
    assert found, f"events/{name.replace('-', '_')}.py says nothing of who it is {what} by"
    return found[1]


def test_every_event_of_the_design_is_there():
    assert set(definitions()) == {
        "adapter-dropped", "adapter-wanted", "answers-judged", "budget-checked", "capacity-changed",
        "card-rendered", "checkpoint-written", "config-committed", "deploy-requested", "deployment-failed",
        "engine-idle", "evaluation-finished", "model-approved",
        "model-deployed", "model-deprecated", "model-registered", "model-rejected", "model-validated",
        "model-wanted", "push-received", "quota-set", "release-due", "retry-requested", "rollback-requested",
        "rollout-moved", "rollout-requested", "traffic-measured", "training-finished", "training-progressed",
        "training-queued", "training-started", "workload-changed",
    }  # fmt: skip


def test_topic_and_schema_follow_from_the_module():
    found = definition("rollback-requested")
    assert found.topic == "rollback-requested"
    assert found.schema()["title"] == "rollback-requested"
    assert "said by: operators" in found.schema()["description"]
    assert name_of(RollbackRequested(model_id="a.b.v1", version="", by="ben")) == "rollback-requested"


@pytest.mark.parametrize("name", definitions())
def test_every_docstring_tells_speaker_hearer_and_subject(name: str):
    assert told(name, "said")
    assert told(name, "heard")
    assert "subject: " in " ".join(definition(name).doc.split())


@pytest.mark.parametrize("service", services().values(), ids=lambda service: service.name)
def test_what_a_service_hears_and_says_is_in_the_catalog(service: Service):
    assert not {*service.hears, *service.says} - set(definitions())
    assert len(set(service.hears)) == len(service.hears)
    assert len(set(service.says)) == len(service.says)


@pytest.mark.parametrize(
    ("service", "name"), [(s.name, name) for s in services().values() for name in s.hears]
)
def test_whoever_hears_an_event_is_told_of_in_its_module(service: str, name: str):
    assert re.search(rf"\b{service}\b", told(name, "heard"))


@pytest.mark.parametrize(
    ("service", "name"), [(s.name, name) for s in services().values() for name in s.says]
)
def test_whoever_says_an_event_is_told_of_in_its_module(service: str, name: str):
    assert re.search(rf"\b{service}\b", told(name, "said"))


@pytest.mark.parametrize("name", definitions())
def test_whoever_a_module_tells_of_really_hears_it(name: str):
    words = re.sub(r"\([^)]*\)", "", told(name, "heard"))
    hearers = {word.strip() for word in words.split(",")} - READERS
    assert hearers == {service.name for service in services().values() if name in service.hears}


@pytest.mark.parametrize("name", definitions())
def test_whoever_a_module_tells_of_really_says_it(name: str):
    words = told(name, "said")
    speakers = {service.name for service in services().values() if name in service.says}
    named = {service for service in services() if re.search(rf"\b{service}\b(?!'s)", words)}
    assert named == speakers
    assert speakers or any(speaker in words for speaker in SPEAKERS)


@pytest.mark.parametrize("service", services().values(), ids=lambda service: service.name)
def test_the_folder_tells_of_all_that_a_service_hears_and_says(service: Service):
    doc = " ".join((sys.modules[f"services.{service.name}"].__doc__ or "").split())
    heard, said, owned = (
        re.search(rf"{word}: (.*?)(?= (?:says|owns|never): |$)", doc) for word in ("hears", "says", "owns")
    )
    assert None not in (heard, said, owned), f"services/{service.name} must tell hears, says, owns, never"
    assert "never: " in doc
    assert set(_names(heard[1])) == set(service.hears)
    assert set(_names(said[1])) == set(service.says)
    assert service.owns in owned[1]


def _names(text: str) -> list[str]:
    return re.findall(r"[a-z]+-[a-z]+", re.sub(r"\([^)]*\)", "", text))


def test_an_unknown_event_is_refused_naming_those_there_are():
    with pytest.raises(
        UnknownEventError,
        match="no event is called 'model-dreamt'; there are adapter-dropped, adapter-wanted, ",
    ):
        definition("model-dreamt")
    with pytest.raises(UnknownEventError, match="int is no event's payload"):
        name_of(3)


def event(data: dict[str, object], name: str = "rollback-requested") -> Event:
    return Event(id="e-1", name=name, source="/test", subject="releases/a.b.v1", time=START, data=data)


def test_decode_and_encode_are_inverse():
    request = RollbackRequested(model_id="a.b.v1", version="1.0.0", by="ben")
    assert encode(request) == {"model_id": "a.b.v1", "version": "1.0.0", "by": "ben", "reason": ""}
    assert decode(event(encode(request))) == request


def test_a_payload_that_does_not_fit_is_refused_naming_event_and_field():
    with pytest.raises(PayloadError, match=r"rollback-requested e-1: .*`str`, got `int` - at `\$.version`"):
        decode(event({"model_id": "a.b.v1", "version": 3, "by": "ben"}))
    with pytest.raises(PayloadError, match="missing required field `by`"):
        decode(event({"model_id": "a.b.v1", "version": ""}))


def planted(monkeypatch: pytest.MonkeyPatch, **members: object) -> None:
    """A module events/tea_served.py with these members."""
    module = types.ModuleType("events.tea_served")
    for name, value in members.items():
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "events.tea_served", module)
    real = catalog.pkgutil.iter_modules
    found = [*real(events.__path__), types.SimpleNamespace(name="tea_served")]
    monkeypatch.setattr(catalog.pkgutil, "iter_modules", lambda _path: iter(found))


TeaServed = msgspec.defstruct("TeaServed", [("cups", int)])


def test_a_new_module_is_a_new_event(fresh: None, monkeypatch: pytest.MonkeyPatch):
    planted(monkeypatch, NAME="tea-served", TeaServed=TeaServed, __doc__="Tea.")
    assert definition("tea-served").payload is TeaServed


@pytest.mark.parametrize(
    "members",
    [
        {"NAME": "tea-served"},
        {"TeaServed": TeaServed},
        {"NAME": "card-rendered", "TeaServed": TeaServed},
        {},
    ],
    ids=["no payload", "no name", "another event's name", "nothing"],
)
def test_a_module_without_its_parts_is_refused(
    fresh: None, monkeypatch: pytest.MonkeyPatch, members: dict[str, object]
):
    planted(monkeypatch, **members)
    with pytest.raises(
        TypeError, match=r"events/tea_served.py must define NAME = 'tea_served' .* and TeaServed"
    ):
        definitions()


def test_no_two_modules_can_have_one_name():
    names = [importlib.import_module(f"events.{name.replace('-', '_')}").NAME for name in definitions()]
    assert sorted(set(names)) == sorted(names) == list(definitions())


def test_helper_modules_are_no_events():
    modules = {path.stem for path in Path(str(events.__file__)).parent.glob("*.py")} - {"__init__"}
    assert modules - {name.replace("-", "_") for name in definitions()} == catalog.NOT_EVENTS
