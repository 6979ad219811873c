"""The rendered examples are what the code renders, and what a cluster takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from infra import examples
from tests import kubernetes_checks as checks


def test_they_are_what_the_code_makes(capsys: pytest.CaptureFixture[str]):
    assert examples.main(["--check"]) == 0, capsys.readouterr().err
    assert {path.name for path in examples.FOLDER.glob("*.yaml")} == set(examples.examples())


def test_a_stale_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(examples, "FOLDER", tmp_path / "made")
    assert examples.main(["--check"]) == 1
    assert examples.main([]) == 0
    assert examples.main(["--check"]) == 0
    (tmp_path / "made" / "job.yaml").write_text("kind: Job\n")
    capsys.readouterr()
    assert examples.main(["--check"]) == 1
    assert capsys.readouterr().err == "docs/examples/job.yaml is stale. To mend: python -m infra.examples\n"


@pytest.mark.parametrize("name", examples.examples())
def test_a_cluster_takes_it(name: str, capability: Callable[[str, bool, str], None]):
    capability("kubernetes-validate", checks.available(), checks.NEEDS)
    documents = list(yaml.safe_load_all((examples.FOLDER / name).read_text(encoding="utf-8")))
    for step in documents[0]["spec"].get("templates", []):
        if "resource" in step:
            documents.append(json.loads(step["resource"]["manifest"]))
    assert checks.faults(documents) == []
