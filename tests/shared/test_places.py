"""Where things lie, and that Google's rights are given by just that."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from events.parts import ModelVersion
from shared import places

RUN = "r-0123456789abcdef"
MODEL = ModelVersion(model_id="team-x.qa.v1", version="1.0.0", tenant="team-x", run_id=RUN)
STORAGE = Path(__file__).parents[2] / "infra" / "terraform" / "storage.tf"


def test_all_that_is_of_a_tenant_lies_in_its_folder():
    found = [
        places.of_run("team-x", RUN),
        places.of_evaluation(MODEL.key),
        places.of_base_answers(MODEL.key),
        places.of_card(MODEL),
    ]
    assert [path.split("/")[:2] for path in found] == [["tenants", "team-x"]] * 4
    assert len({path.split("/")[2] for path in found}) == 3, (
        "kinds are told apart; a base's answers among evaluations"
    )


def test_terraform_gives_rights_by_the_same_folder():
    said = re.findall(
        r'startsWith\(\\"([^"]*?)tenants/\$\{each\.key\}/\\"\)', STORAGE.read_text(encoding="utf-8")
    )
    objects = "${local.objects}"
    unfinished = f"{objects}${{local.catalog_unfinished}}"
    assert said == [objects, unfinished, "", objects, ""], (
        "trainer: objects, their parts while they are uploaded, and listings; engine: objects, and listings"
    )
    assert places.of_tenant("${each.key}") == "tenants/${each.key}"


@pytest.mark.parametrize(
    ("name", "folder", "tenant", "step"),
    [
        (f"tenants/team-x/runs/{RUN}/final", f"tenants/team-x/runs/{RUN}", "team-x", None),
        (f"a/b/tenants/t/runs/{RUN}/checkpoints/step-48", f"tenants/t/runs/{RUN}", "t", "48"),
        (f"tenants/a/tenants/t/runs/{RUN}/final", f"tenants/t/runs/{RUN}", "t", None),
        (f"runs/{RUN}/final", f"runs/{RUN}", None, None),
        (f"a/runs/{RUN}/checkpoints/step-1", f"runs/{RUN}", None, "1"),
    ],
)
def test_the_manifest_of_a_checkpoint_is_known_by_its_name(
    name: str, folder: str, tenant: str | None, step: str | None
):
    found = places.MANIFEST.fullmatch(f"{name}/manifest.json")
    assert found
    assert (found[1], found["tenant"], found["run"], found["step"]) == (folder, tenant, RUN, step)


@pytest.mark.parametrize(
    "name", ["final", f"runs/{RUN}", f"runs/{RUN}/final/x", "runs/r-1/final", f"xruns/{RUN}/final"]
)
def test_other_objects_are_none(name: str):
    assert places.MANIFEST.fullmatch(f"{name}/manifest.json") is None


@pytest.mark.parametrize(
    ("uri", "kept"),
    [
        (f"gs://forge/runs/{RUN}/checkpoints/step-48", f"runs/{RUN}"),
        (f"file:///home/tenants/a/artifacts/runs/{RUN}/checkpoints/step-48", f"runs/{RUN}"),
        (f"gs://forge/x/tenants/team-x/runs/{RUN}/checkpoints/step-48", ""),
        (f"tenants/team-x/runs/{RUN}/checkpoints/step-48", ""),
    ],
)
def test_a_run_that_began_before_tenants_had_folders_goes_on_where_its_checkpoints_lie(uri: str, kept: str):
    assert places.kept_elsewhere(RUN, [{"step": 48, "uri": uri}]) == kept
    assert places.kept_elsewhere(RUN, []) == ""
