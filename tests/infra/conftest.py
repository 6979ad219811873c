"""Fixtures of the infrastructure's tests: Terraform on this machine, and what it plans for the examples."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable

import pytest

from tests.infra.roots import DIGEST, Plan, Terraform

NEEDED = ("grpc", "cryptography")
Capability = Callable[[str, bool, str], None]
Make = Callable[[str], Terraform]


@pytest.fixture(scope="session")
def terraform_program(capability: Capability) -> str:
    found = shutil.which("terraform") or shutil.which("tofu")
    capability("terraform", found is not None, "terraform on PATH")
    return str(found)


@pytest.fixture(scope="session")
def terraform(
    terraform_program: str, capability: Capability, tmp_path_factory: pytest.TempPathFactory
) -> Make:
    """`terraform("")`, `terraform("cluster")`: a root module, ready to be validated and planned."""
    there = all(importlib.util.find_spec(name) for name in NEEDED)
    capability("google", there, "the extra google (stand-ins of the providers speak gRPC)")

    def made(module: str) -> Terraform:
        return Terraform(terraform_program, tmp_path_factory.mktemp("terraform"), module)

    return made


@pytest.fixture(scope="session")
def platform(terraform: Make) -> Terraform:
    return terraform("")


@pytest.fixture(scope="session")
def together(platform: Terraform) -> Plan:
    return platform.plan("minimal")


@pytest.fixture(scope="session")
def apart(platform: Terraform) -> Plan:
    return platform.plan("gpu")


@pytest.fixture(scope="session")
def pushed(platform: Terraform) -> Plan:
    return platform.plan("gpu", delivery="push", control_image=DIGEST)
