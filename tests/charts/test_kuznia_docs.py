"""docs/deploy-gke.md names what there is, and its values are values."""

from __future__ import annotations

import re

import pytest
import yaml

from services.cli.main import SECTIONS
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
    assert (
        set(
            re.findall(
                r"kuznia ([a-z]+) ", "\n".join(re.findall(r"^kuznia .*$|`kuznia [^`]*`", TEXT, re.MULTILINE))
            )
        )
        <= known
    )


def test_what_the_trailers_are_called():
    message = message_of(Release(workload=server(), values={}, chart=""))
    for name in re.findall(r"key=([\w-]+)", TEXT):
        assert f"{name}: " in message
