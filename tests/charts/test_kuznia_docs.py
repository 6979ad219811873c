"""docs/deploy-gke.md names what there is, and its values are values."""

from __future__ import annotations

import re
import shlex
from typing import Any

import click
import pytest
import yaml

from services.cli.main import SECTIONS, cli
from shared.experiment.manifest import Deployment
from shared.kubernetes.releases.application import Release, message_of
from tests import kubernetes_checks
from tests.charts.kuznia import PlatformChart
from tests.charts.rendering import ROOT, Chart, merged
from tests.shared.kubernetes.releasing import server

TEXT = (ROOT / "docs" / "deploy-gke.md").read_text(encoding="utf-8")
BLOCKS = [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)]
VALUES, DEPLOYMENT, GITOPS, ROOT_APPLICATION = BLOCKS


@pytest.fixture(scope="module")
def chart(helm: str, tmp_path_factory: pytest.TempPathFactory) -> Chart:
    return PlatformChart(helm, tmp_path_factory.mktemp("kuznia"))


def test_its_values_install_the_platform(chart: Chart):
    assert "Deployment" in chart.kinds(VALUES)
    assert "Deployment" in chart.kinds(merged(VALUES, GITOPS))


def test_the_values_of_engines_are_the_charts(helm: str, tmp_path_factory: pytest.TempPathFactory):
    engines = Chart(helm, "llama-factory-api", tmp_path_factory.mktemp("engines"))
    model = {"id": "acme.llm-qa.v1", "artifactPath": "gs://bucket/qa", "manifestDigest": f"sha256:{'a' * 64}"}
    assert "Deployment" in engines.kinds(merged(VALUES["serving"]["values"], {"model": model}))


def test_what_model_yaml_may_say():
    assert Deployment.model_validate(DEPLOYMENT["deployment"]).autoscaling is not None


def test_the_root_application_is_right():
    assert list(kubernetes_checks.schema_faults(ROOT_APPLICATION, ("1.35",))) == []


def test_files_are_there():
    links = {link for link in re.findall(r"\]\(([^)#]+)", TEXT) if "://" not in link}
    assert {link for link in links if not (ROOT / "docs" / link).exists()} == set()
    named = set(re.findall(r"(?<![\w/])(?:infra|charts|shared)/[\w./-]*\w", TEXT))
    assert {path for path in named if not (ROOT / path).exists()} == set()


def test_commands_are_ours():
    known = {command for section in SECTIONS.values() for command in section}
    lines = re.findall(r"^(?:kuznia|on-front) .*$|`kuznia [^`]*`", TEXT, re.MULTILINE)
    said = set(re.findall(r"(?:kuznia|on-front) ([a-z]+)", "\n".join(lines)))
    assert {"hook", "new", "check", "watch", "tokens", "rollback"} <= said <= known


def test_options_are_ours():
    for line in re.findall(r"^(?:kuznia|on-front) .*$", TEXT, re.MULTILINE):
        command: click.Command = cli
        for word in shlex.split(line, comments=True)[1:]:
            if isinstance(command, click.Group):
                found = command.get_command(click.Context(command), word)
                assert found, line
                command = found
            elif word.startswith("--"):
                assert word in {option for parameter in command.params for option in parameter.opts}, line


def test_secrets_that_it_makes_are_those_that_its_values_name(chart: Chart):
    named = re.findall(r"`(front|workers|training)\.(\S+): ([^`]*)`", TEXT)
    values: dict[str, Any] = {}
    for part, path, value in named:
        below: Any = yaml.safe_load(value)
        for key in reversed([part, *path.split(".")]):
            below = {key: below}
        values = merged(values, below)
    documents = chart.documents(merged(VALUES, values))
    assert len(named) == 3
    secrets = {
        volume["secret"]["secretName"]
        for document in documents
        if document["kind"] == "Deployment" and document["metadata"]["name"] in ("front", "webhook")
        for volume in document["spec"]["template"]["spec"]["volumes"]
        if "secret" in volume
    }
    assert secrets == set(re.findall(r"create secret generic (\S+)", TEXT))


def test_what_the_trailers_are_called():
    message = message_of(Release(workload=server(), values={}, chart=""))
    for name in re.findall(r"key=([\w-]+)", TEXT):
        assert f"{name}: " in message
