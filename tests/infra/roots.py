"""Terraform without a network: the real program, with stand-ins for the providers that know their schemas."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TERRAFORM = ROOT / "infra" / "terraform"
STANDIN = Path(__file__).parent / "standin"
BACKEND = re.compile(r'\n  backend "gcs" \{.*?\n  \}\n', re.DOTALL)
DIGEST = "image@sha256:" + "a" * 64
TENANTS = ("team-x", "team-y")  # of examples/gpu.tfvars
Plan = dict[str, Any]


class Terraform:
    """One root module, copied, without its backend."""

    def __init__(self, program: str, folder: Path, module: str) -> None:
        self._program = program
        self._copy = folder / "root"
        shutil.copytree(TERRAFORM, self._copy, ignore=shutil.ignore_patterns(".terraform*"))
        self.root = self._copy / module
        versions = self.root / "versions.tf"
        text, count = BACKEND.subn("\n", versions.read_text())
        assert count == 1, f"{module or '.'}/versions.tf has no backend"
        versions.write_text(text)
        self._environment = self._standins(folder)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._program, *words],
            cwd=self.root,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def plan(self, example: str, **variables: object) -> dict[str, Any]:
        """Address -> planned values of each resource; outputs under `output.<name>`."""
        done = self.try_plan(example, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        shown = json.loads(self.run("show", "-json", "plan.bin").stdout)
        planned = {
            change["address"]: change["change"]["after"]
            for change in shown["resource_changes"]
            if change["mode"] == "managed"
        }
        outputs = shown["planned_values"].get("outputs", {})
        return planned | {f"output.{name}": output.get("value") for name, output in outputs.items()}

    def try_plan(self, example: str, **variables: object) -> subprocess.CompletedProcess[str]:
        more = self.root / "more.auto.tfvars.json"
        more.write_text(json.dumps(variables))
        words = ["-no-color", "-input=false", "-lock=false", "-refresh=false", "-out=plan.bin"]
        given = [
            f"-var-file={self.root / 'examples' / f'{example}.tfvars'}",
            "-var-file=more.auto.tfvars.json",
        ]
        return self.run("plan", *words, *given)

    def _standins(self, folder: Path) -> dict[str, str]:
        for provider in ("google", "kubernetes"):
            place = folder / provider / f"terraform-provider-{provider}"
            place.parent.mkdir()
            schemas = STANDIN / "schemas" / f"{provider}.json"
            place.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STANDIN / "provider.py"}" "{schemas}"\n')
            place.chmod(0o755)
        overrides = "".join(
            f'"hashicorp/{provider}" = "{folder / provider}"\n' for provider in ("google", "kubernetes")
        )
        config = folder / "terraformrc"
        config.write_text(f"provider_installation {{\n dev_overrides {{\n{overrides}}}\n}}\n")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
        return environment | {"TF_CLI_CONFIG_FILE": str(config), "CHECKPOINT_DISABLE": "1"}


def of(plan: Plan, kind: str) -> dict[str, Any]:
    """Resources of a type and name, by key: `google_pubsub_topic.event`."""
    found = {
        address: value for address, value in plan.items() if re.match(rf"{re.escape(kind)}(\[|$)", address)
    }
    return {_key(address): value for address, value in found.items()}


def one(plan: Plan, kind: str, key: str) -> Any:
    """`one(plan, "google_service_account.part", "training")`."""
    return plan[f'{kind}["{key}"]']


def email(plan: Plan, kind: str, key: str) -> str:
    """Of an account, as the stand-in makes it: `email(plan, "trainer", "team-x")`."""
    account: str = one(plan, f"google_service_account.{kind}", key)["account_id"]
    return f"{account}@project.iam.gserviceaccount.com"


def member(plan: Plan, kind: str, key: str) -> str:
    return f"serviceAccount:{email(plan, kind, key)}"


def roles(plan: Plan, who: str) -> set[tuple[str, str]]:
    """(role, on what) that an account has, wherever it is granted."""
    return {
        (
            value["role"],
            str(value.get("topic") or value.get("subscription") or value.get("bucket") or "project"),
        )
        for value in plan.values()
        if isinstance(value, dict) and value.get("member") == who and "role" in value
    }


def _key(address: str) -> str:
    inside = re.search(r'\["(.*)"\]$', address)
    return inside[1] if inside else ""


def taken(plan: Plan) -> dict[str, Any]:
    """What the cluster takes of the platform's outputs."""
    tenants = {
        tenant: {kind: email(plan, kind, tenant) for kind in ("trainer", "engine")}
        | {"artifacts": f"gs://bucket/tenants/{tenant}"}
        for tenant in TENANTS
    }
    secrets = {tenant: plan["output.tenants"][tenant]["secrets"] for tenant in TENANTS}
    tenants = {tenant: {**told, "secrets": secrets[tenant]} for tenant, told in tenants.items()}
    return {"parts": plan["output.parts"], "tenants": tenants, "trainer_image": DIGEST}
