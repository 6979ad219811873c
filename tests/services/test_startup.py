"""What a cold start must not pay for: `benchmarks/startup` measures it, this holds its cause."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICES = sorted(
    path.parent.name for path in (ROOT / "services").glob("*/main.py") if path.parent.name != "cli"
)
# Read a manifest, render a card, serve a page, keep artifacts there: none of it before an event asks for it.
# (Jinja itself comes with Flask.)
HEAVY = (
    "annotated_types", "boto3", "fastapi", "google.cloud.storage", "jinja2.sandbox", "pydantic", "rich",
    "services.console", "services.gateway", "shared.hub", "starlette", "torch", "uvicorn",
)  # fmt: skip


def loaded(statement: str) -> set[str]:
    """Names of all modules that a fresh interpreter has after the statement."""
    probe = f"{statement}; import sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_no_service_imports_at_its_start_what_only_some_events_need():
    pytest.importorskip("functions_framework")
    mains = ", ".join(f"services.{name}.main" for name in SERVICES)
    assert "training" in SERVICES
    found = loaded(f"import {mains}, shared.google.assembly, shared.profiles")
    assert {"services.training.decide", "services.cards.render", "google.cloud.firestore"} <= found
    assert sorted(found & set(HEAVY)) == []


def test_what_is_left_out_of_the_start_is_there_when_it_is_asked_for():
    check = "from shared.experiment.check import check; from events.parts import Folder"
    found = loaded(f"{check}; check(Folder(files=(), texts={{'model.yaml': 'name: x'}}))")
    assert "pydantic" in found
    assert "jinja2.sandbox" in loaded("from services.cards.render import template; template()")
