"""Every event service is of one shape: what a newcomer learnt of one holds for all."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import get_type_hints

import pytest

from events.catalog import definitions
from services.discovery import discover
from shared.lifecycle import TRANSITIONS
from shared.record import Record
from shared.service import Service
from tests.architecture.source import ROOT, Module

SERVICES = discover()
REQUIRED = {"__init__.py", "decide.py", "effects.py"}
ALLOWED = {"main.py"}  # its own process, for an installation that runs each service by itself
SERVICE_LINES = 60  # outbound hears nearly every event, a line each
# module or folder of a service -> why it is there beside the three
MORE: Mapping[str, str] = {
    "webhook/experiments.py": "what an experiment folder is; pure, and used by the effect",
    "webhook/receive.py": "the front door: a push comes in by HTTP, not as an event",
    "webhook/http.py": "the front door's route",
    "webhook/forges": "each forge proves its deliveries in a way of its own",
    "webhook/missed.py": "pushes whose delivery never came are looked for",
    "training/pod": "what runs inside the training job",
    "training/budget.py": "the hours of a run and of its tenant, looked at and enforced",
    "training/queue.py": "who may train now; pure",
    "training/slots.py": "the queue as a record that is written by compare-and-set",
    "training/usage.py": "GPU hours; pure",
    "validation/pod": "what runs inside the measuring job",
    "validation/report.py": "the readable report; pure",
    "deployment/release.py": "which version answers, as a value; pure, and used by decide",
    "deployment/versions.py": "the versions of a model and their engines, as a value; pure, and used by release",
    "deployment/plan.py": "how a version is to take over, as its model.yaml says; pure",
    "deployment/rollout.py": "a canary as a value; pure, and used by release",
    "deployment/analysis.py": "whether a canary does as well as the live version; pure",
    "deployment/canary.py": "the events that move a canary; pure, and used by decide",
    "deployment/sharing.py": "which versions share an engine; pure, and used by decide and the effects",
    "deployment/judging.py": "what the judge of a canary is sent with; pure, and used by release",
    "deployment/judge": "what runs inside the job that judges the answers of a canary",
    "deployment/pod": "what runs beside the engine",
    "engines/pod": "what runs beside an engine in common: loads and unloads adapters",
    "cards/facts.py": "what a card is made of; pure",
    "cards/fields.py": "the card's fields; pure",
    "cards/compute.py": "the card's part on compute; pure",
    "cards/front_matter.py": "the card's metadata for Hugging Face; pure",
    "cards/render.py": "facts to Markdown and document; pure",
    "cards/results.py": "the card's part on results; pure",
    "cards/rows.py": "the card's tables; pure",
    "cards/sections.py": "the card's ten sections; pure",
    "cards/text.py": "texts of people made safe for Markdown; pure",
    "cards/training.py": "the card's part on training; pure",
    "cards/card.md.j2": "the card's template",
    "outbound/addresses.py": "which addresses may be posted to",
    "outbound/courier.py": "posts outside the reaction, so that no slow receiver holds it back",
    "outbound/outcome.py": "what an answer of a receiver means; pure",
    "outbound/post.py": "one signed request",
    "outbound/subscribers.py": "who asked to be told of what",
    "status/forges.py": "each forge is told of a status in a way of its own",
}


@pytest.fixture(params=SERVICES.values(), ids=lambda service: service.name)
def service(request: pytest.FixtureRequest) -> Service:
    found: Service = request.param
    return found


def folder(service: Service) -> Path:
    return ROOT / "services" / service.name


def test_there_are_the_services_of_the_design():
    assert {"webhook", "training", "registration", "validation", "cards", "deployment"} <= set(SERVICES)


def test_its_folder_has_the_three_files_and_what_is_declared(service: Service):
    there = {path.name for path in folder(service).iterdir()} - {"__pycache__"}
    assert there >= REQUIRED
    declared = {name.split("/")[1] for name in MORE if name.startswith(f"{service.name}/")}
    assert there - REQUIRED - ALLOWED - declared == set(), "declare them in MORE, with a reason"


def test_what_is_declared_is_there():
    named = [name for name in MORE if name.split("/")[0] in SERVICES]
    assert [name for name in named if not (ROOT / "services" / name).exists()] == []
    assert all(reason.strip() for reason in MORE.values())


def test_its_first_file_says_what_it_is_and_exports_the_service(service: Service):
    module = Module(folder(service) / "__init__.py")
    doc = ast.get_docstring(module.tree) or ""
    title, *_ = doc.splitlines()
    assert title.lower().startswith(f"{service.name}: ")
    for word in ("hears: ", "says: ", "owns: ", "never: "):
        assert f"\n{word}" in doc
    assert module.lines <= SERVICE_LINES
    assert module.functions == []


def test_it_owns_a_kind_of_record_that_has_a_lifecycle(service: Service):
    assert service.owns in TRANSITIONS
    assert [other.name for other in SERVICES.values() if other.owns == service.owns] == [service.name]


def test_its_functions_have_the_one_signature(service: Service):
    decide = inspect.signature(service.decide)
    assert list(decide.parameters) == ["record", "event", "now"]
    hints = get_type_hints(service.decide)
    assert (hints["record"], hints["now"]) == (Record, datetime)
    assert list(inspect.signature(service.key).parameters) == ["event"]


def test_key_decide_and_effects_come_from_their_files(service: Service):
    assert service.key.__module__ == service.decide.__module__ == f"services.{service.name}.decide"
    assert service.effects.__module__ == f"services.{service.name}.effects"


def test_every_wish_has_its_effect(service: Service):
    """Names of effects that decide (or a module beside it) asks for, against those that effects builds."""
    wishes = {wish for path in folder(service).glob("*.py") for wish in wishes_in(Module(path))}
    built = set(service.effects(None))  # type: ignore[arg-type]
    assert wishes == built


def wishes_in(module: Module) -> set[str]:
    return {
        str(node.args[0].value)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "Wish"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }


def test_every_event_is_heard_by_somebody():
    """By an event service, or else by one who reads the log, as its module tells."""
    heard = {name for service in SERVICES.values() for name in service.hears}
    unheard = set(definitions()) - heard
    assert all("heard by: " in " ".join(definitions()[name].doc.split()) for name in unheard)


def test_a_folder_s_service_has_its_name(monkeypatch: pytest.MonkeyPatch):
    for name, service in SERVICES.items():
        assert service.name == name
    training = __import__("services.training", fromlist=["SERVICE"])
    monkeypatch.setattr(training, "SERVICE", SERVICES["cards"])
    with pytest.raises(TypeError, match="services/training exports a SERVICE called 'cards'"):
        discover()
