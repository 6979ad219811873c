"""docs/deploy-gcp.md names what there is: files, outputs, variables, commands, build arguments."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from services.cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "deploy-gcp.md").read_text()
COMMANDS = "\n".join(re.findall(r"^```(?:bash|hcl)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))
MADE = {"infra/terraform/terraform.tfvars", "infra/terraform/cluster/platform.auto.tfvars.json"}


def declared(kind: str, folder: str) -> set[str]:
    files = (ROOT / "infra" / "terraform" / folder).glob("*.tf")
    return {
        name for file in files for name in re.findall(rf'^{kind} "(\w+)"', file.read_text(), re.MULTILINE)
    }


def test_files_are_there():
    named = set(re.findall(r"\binfra/[\w./-]*\w", TEXT)) - MADE
    assert named
    assert {path for path in named if not (ROOT / path).exists()} == set()


def test_outputs_are_there():
    raw = set(re.findall(r"output -raw (\w+)", COMMANDS))
    (taken,) = re.findall(r"\| \{(\w+(?:, \w+)*)\}'", COMMANDS)
    assert raw | set(taken.split(", ")) <= declared("output", "")
    assert set(taken.split(", ")) <= declared("variable", "cluster")


def test_variables_are_there():
    (given,) = re.findall(r"<<END\n(.*?)\nEND", COMMANDS, re.DOTALL)
    assert set(re.findall(r"^(\w+) +=", given, re.MULTILINE)) <= declared("variable", "")
    assert set(re.findall(r"-var (\w+)=", COMMANDS)) <= declared("variable", "cluster")
    words = {
        "layout",
        "delivery",
        "control_image",
        "gpu_pools",
        "secrets",
        "firestore_location",
        "monthly_budget",
    }
    assert {word for word in words if word in TEXT} == words <= declared("variable", "")


def test_all_that_must_be_given_is_given():
    for folder, given in (
        ("", {"project", "zones", "tenants"}),
        ("cluster", {"project", "image", "parts", "tenants", "artifacts"}),
    ):
        text = (ROOT / "infra" / "terraform" / folder / "variables.tf").read_text()
        blocks = re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', text, re.MULTILINE | re.DOTALL)
        assert all("description" in body for _, body in blocks)
        assert {name for name, body in blocks if not re.search(r"^  default +=", body, re.MULTILINE)} == given


def test_build_arguments_are_there():
    for file, words in re.findall(r"docker build -f (\S+) (.*)", COMMANDS):
        text = (ROOT / file).read_text()
        for argument in re.findall(r"--build-arg (\w+)=", words):
            assert f"ARG {argument}=" in text


@pytest.mark.parametrize(
    "words", sorted(set(re.findall(r"(?:^|-- )kuznia ([a-z]+(?: [a-z]+)?)", COMMANDS, re.MULTILINE)))
)
def test_commands_are_there(words: str):
    name, *more = words.split()
    with click.Context(cli) as context:
        command = cli.get_command(context, name)
        assert command, name
        if isinstance(command, click.Group):
            assert command.get_command(context, more[0]), words


def test_what_needs_google_is_marked():
    for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]:
        needs = re.search(
            r"^(?:gcloud|terraform|docker|kubectl) ",
            "\n".join(re.findall(r"^```bash\n(.*?)^```", part, re.MULTILINE | re.DOTALL)),
            re.MULTILINE,
        )
        assert not needs or "☁" in part, part.splitlines()[0]
