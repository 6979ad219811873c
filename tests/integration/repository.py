"""The data scientist: a bare repository with our hook, a clone, experiments in it, and pushes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from shared.identity import run_id
from tests.integration.installation import TENANT, Installation

NAME = "configs"
ROWS = [
    {"instruction": f"What does error E{n} mean?", "input": "", "output": f"Valve {n} is open."}
    for n in range(1, 7)
]
EVALUATION = [
    {"instruction": row["instruction"], "output": row["output"], "expect": row["output"][:7]}
    for row in ROWS[:4]
]
QUESTION, ANSWER = ROWS[0]["instruction"], ROWS[0]["output"]


class Repository:
    """base: the base model that experiments name."""

    def __init__(self, installation: Installation, root: Path, base: str) -> None:
        self.bare = root / f"{NAME}.git"
        self.work = root / "work"
        self.base = base
        self._environment = _environment()
        root.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--bare", "--initial-branch=main", str(self.bare), where=root)
        self.git("init", "--quiet", "--initial-branch=main", str(self.work), where=root)
        self.git("remote", "add", "origin", str(self.bare))
        installation.kuznia("hook", "install", str(self.bare), "--name", NAME)

    def git(self, *words: str, where: Path | None = None) -> str:
        """Run git; what it prints."""
        done = subprocess.run(
            ["git", *words],
            cwd=where or self.work,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"git {' '.join(words)}: {done.stdout}"
        return done.stdout

    def write(self, name: str = "qa", **changes: Any) -> Path:
        """Write an experiment's folder. changes: `version`, `config` and `manifest` (merged), `rows`."""
        folder = self.work / "experiments" / name
        folder.mkdir(parents=True, exist_ok=True)
        documents = {
            "config.yaml": yaml.safe_dump(_config(self.base) | changes.get("config", {})),
            "model.yaml": yaml.safe_dump(
                _manifest(name, changes.get("version", "1.0.0")) | changes.get("manifest", {})
            ),
            "dataset_info.json": json.dumps({"train": {"file_name": "train.json"}}),
            "train.json": json.dumps(changes.get("rows", ROWS)),
            "eval.json": json.dumps(EVALUATION),
        }
        for file, text in documents.items():
            (folder / file).write_text(text, encoding="utf-8")
        return folder

    def commit(self, message: str = "an experiment") -> str:
        """Commit all that is there; the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD").strip()

    def push(self, *options: str) -> str:
        """Push, through the real hook; what git and the hook said."""
        return self.git("push", *options, "origin", "main")

    def run(self, name: str = "qa") -> str:
        """The run that follows from the experiment as it is committed now."""
        tree = self.git("rev-parse", f"HEAD:experiments/{name}").strip()
        return run_id(NAME, f"experiments/{name}", tree)

    def send(self, name: str = "qa", **changes: Any) -> str:
        """Write, commit and push an experiment; its run."""
        self.write(name, **changes)
        self.commit()
        self.push()
        return self.run(name)


def model_id(name: str = "qa") -> str:
    """Of an experiment of that name, in its first major version."""
    return f"{TENANT}.{name}.v1"


def _config(base: str) -> dict[str, Any]:
    return {
        "model_name_or_path": base,
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_rank": 4,
        "lora_target": "all",
        "dataset": "train",
        "dataset_dir": ".",
        "template": "chatml",
        "cutoff_len": 64,
        "logging_steps": 1,
        "save_steps": 5,
        "per_device_train_batch_size": 2,
        "learning_rate": 0.01,
        "max_steps": 10,
        "seed": 42,
    }


def _manifest(name: str, version: str) -> dict[str, Any]:
    return {
        "name": name,
        "tenant": TENANT,
        "owner": "Support Engineering",
        "version": version,
        "risk_class": "LIMITED_RISK",
        "ai_act_notes": "People are told that they talk to a machine.",
        "purpose": {"summary": "Explains error codes", "users": "support", "not_for": ["medical advice"]},
        "data": {"id": "error-codes-6"},
        "evaluation": {
            "set": "eval.json",
            "thresholds": {"contains": {"min": 0.9}},
            "baseline": {"metric": "contains", "min_gain": 0.5},
            "max_new_tokens": 16,
        },
    }


def _environment() -> dict[str, str]:
    """Git without the user's own settings."""
    identity = {f"GIT_{role}_NAME": "Test" for role in ("AUTHOR", "COMMITTER")}
    identity |= {f"GIT_{role}_EMAIL": "test@example.invalid" for role in ("AUTHOR", "COMMITTER")}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "KUZNIA_"))}
    return kept | identity | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
