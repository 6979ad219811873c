"""An experiment that is right, and a way to spoil it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
import yaml

from events.parts import Folder, FolderFile

CONFIG = """\
model_name_or_path: HuggingFaceTB/SmolLM2-135M-Instruct
template: chatml
stage: sft
do_train: true
finetuning_type: lora
dataset_dir: .
dataset: train
learning_rate: 2e-3
max_steps: 48
report_to: none
"""
MANIFEST = """\
name: llm-qa
tenant: team-x
owner: Support Engineering
version: 1.0.0
risk_class: LIMITED_RISK
purpose:
  summary: Answers questions about pumps
  users: support staff
  not_for: [medical advice]
data: {id: pumps-24}
evaluation:
  set: eval.json
  thresholds: {contains: {min: 0.7}}
"""
INFO = '{\n  "train": {"file_name": "train.json"}\n}\n'

Make = Callable[..., Folder]


def _file(path: str, content: str) -> FolderFile:
    return FolderFile(path=path, size=len(content), digest=hashlib.sha1(content.encode()).hexdigest())


@pytest.fixture
def make() -> Make:
    """make(config={…}, manifest={…}, info=…, files={…}): the right experiment with keys set; None removes one.

    config and manifest may also be a whole text; a dotted key reaches into a mapping.
    """

    def build(
        config: object = None,
        manifest: object = None,
        info: str | None = INFO,
        files: dict[str, str] | None = None,
        extra: tuple[FolderFile, ...] = (),
    ) -> Folder:
        texts = {"config.yaml": _changed(CONFIG, config), "model.yaml": _changed(MANIFEST, manifest)}
        texts |= {"dataset_info.json": info} if info is not None else {}
        contents = texts | ({"train.json": "[1]", "eval.json": "[2]"} | (files or {}))
        texts |= {path: text for path, text in contents.items() if path.endswith("dataset_info.json")}
        return Folder(files=(*(_file(p, c) for p, c in contents.items()), *extra), texts=texts)

    return build


def _changed(text: str, change: object) -> str:
    if isinstance(change, str):
        return change
    values = yaml.safe_load(text)
    for key, value in (change if isinstance(change, dict) else {}).items():
        *path, last = key.split(".")
        inner = values
        for part in path:
            inner = inner.setdefault(part, {})
        if value is None:
            inner.pop(last, None)
        else:
            inner[last] = value
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True) if isinstance(change, dict) else text
