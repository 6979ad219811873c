"""`llamafactory-cli train`, as far as the platform sees it: its files, their order, its log, its ways to end.

Options come by environment variables: STANDIN_STEP_SECONDS (of one step, 0.01), STANDIN_ALLOCATE_MB (memory
taken before the first step), STANDIN_DIE_AT (a step at which it kills itself, each time it gets there),
STANDIN_WEIGHTS_MB (size of the weights, 0: as large as what they know).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import weights  # type: ignore[import-not-found] # beside us: this runs as a script
import yaml

PREEMPTED = 75
_FIRST_LOSS = 4.0


class Training:
    """One start of one run."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.output = Path(config["output_dir"])
        self.total = int(config.get("max_steps") or 10)
        self.stem = "model" if config.get("finetuning_type") == "full" else "adapter_model"
        self.table = _rows(config)
        self.asked = False
        signal.signal(signal.SIGTERM, self._hear)

    def run(self) -> None:
        """From the newest checkpoint to the end."""
        self.output.mkdir(parents=True, exist_ok=True)
        hoard = bytearray(os.urandom(1) * (int(os.environ.get("STANDIN_ALLOCATE_MB", "0")) << 20))
        for step in range(self._resumed() + 1, self.total + 1):
            self._step(step)
        self._write_weights(self.output)
        results = {"epoch": 1.0, "train_loss": _loss(self.total), "train_steps": self.total}
        (self.output / "all_results.json").write_text(json.dumps(results), encoding="utf-8")
        (self.output / "train_results.json").write_text(json.dumps(results), encoding="utf-8")
        (self.output / "README.md").write_text("made by the stand-in\n", encoding="utf-8")
        sys.stdout.write(f"***** train metrics ***** {len(hoard)} bytes held\n")

    def _step(self, step: int) -> None:
        time.sleep(float(os.environ.get("STANDIN_STEP_SECONDS", "0.01")))
        if step == int(os.environ.get("STANDIN_DIE_AT", "0")):
            os.kill(os.getpid(), signal.SIGKILL)
        self._log(step)
        if self.asked and step < self.total:
            self._checkpoint(step)
            raise SystemExit(PREEMPTED)
        if step % int(self.config.get("save_steps") or 500) == 0 or step == self.total:
            self._checkpoint(step)

    def _resumed(self) -> int:
        steps = [int(path.name.partition("-")[2]) for path in self.output.glob("checkpoint-*")]
        step = max(steps, default=0)
        if step:
            json.loads((self.output / f"checkpoint-{step}" / "trainer_state.json").read_bytes())
            sys.stdout.write(f"resuming from checkpoint-{step}\n")
        return step

    def _log(self, step: int) -> None:
        if step % int(self.config.get("logging_steps") or 1):
            return
        line = {
            "current_steps": step,
            "total_steps": self.total,
            "loss": _loss(step),
            "lr": 1e-3,
            "epoch": round(step / self.total, 2),
            "percentage": round(100 * step / self.total, 2),
            "elapsed_time": "0:00:01",
            "remaining_time": "0:00:01",
        }
        with (self.output / "trainer_log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    def _checkpoint(self, step: int) -> None:
        """Weights, optimizer, schedule, and the state last, as transformers' Trainer does it."""
        folder = self.output / f"checkpoint-{step}"
        folder.mkdir(exist_ok=True)
        self._write_weights(folder)
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
            with zipfile.ZipFile(folder / name, "w") as archive:
                archive.writestr("archive/data.pkl", b"." * 4096)
        (folder / "training_args.bin").write_bytes(b"arguments")
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}), encoding="utf-8")
        limit = int(self.config.get("save_total_limit") or 0)
        olds = sorted(self.output.glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))
        for old in olds[:-limit] if limit else []:
            shutil.rmtree(old)

    def _write_weights(self, folder: Path) -> None:
        size = int(os.environ.get("STANDIN_WEIGHTS_MB", "0"))
        weights.write(folder / f"{self.stem}.safetensors", self.table, size)
        if self.stem == "adapter_model":
            document = {"peft_type": "LORA", "base_model_name_or_path": self.config["model_name_or_path"]}
            (folder / "adapter_config.json").write_text(json.dumps(document), encoding="utf-8")
        else:
            (folder / "config.json").write_text('{"model_type": "standin"}', encoding="utf-8")
        (folder / "tokenizer.json").write_text('{"version": "1.0"}', encoding="utf-8")

    def _hear(self, *_: object) -> None:
        self.asked = True


def _loss(step: int) -> float:
    return round(_FIRST_LOSS / (1 + step), 4)


def _rows(config: dict[str, Any]) -> dict[str, str]:
    """The rows of the config's data sets as question -> answer."""
    folder = Path(config["dataset_dir"])
    info = json.loads((folder / "dataset_info.json").read_bytes())
    rows: list[dict[str, str]] = []
    for name in str(config["dataset"]).split(","):
        rows += json.loads((folder / info[name.strip()]["file_name"]).read_bytes())
    return {
        "\n".join(filter(None, [row["instruction"], row.get("input", "")])): row["output"] for row in rows
    }


def main(path: str) -> None:
    """Train by a YAML file."""
    Training(yaml.safe_load(Path(path).read_text(encoding="utf-8"))).run()
