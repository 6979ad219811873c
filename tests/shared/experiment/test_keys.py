"""The list of LLaMA-Factory's keys, and whether it is still that of the pinned version."""

from __future__ import annotations

import json
import sys

import pytest

from shared.experiment import generate_keys
from shared.experiment.keys import catalogue, templates

SOURCES = {
    "llamafactory/hparams/model_args.py": """
@dataclass
class A:
    model_name_or_path: str | None = field(default=None)
    backend: EngineName = field(default=EngineName.HF)
    hidden: torch.dtype | None = field(default=None, init=False)
    mixed: Literal["x", "y"] | None = None
class NoDataclass:
    nothing: int = 1
""",
    "llamafactory/hparams/data_args.py": """
@dataclass
class D:
    dataset: Optional[str] = field(default=None)
    def __post_init__(self):
        self.dataset = split_arg(self.dataset)
""",
    "llamafactory/hparams/training_args.py": "",
    "llamafactory/hparams/finetuning_args.py": "",
    "llamafactory/hparams/generating_args.py": "",
    "transformers/training_args.py": """
@dataclass(kw_only=True)
class T:
    save: SaveStrategy | str = field(default="steps")
    flags: list[Flag] | dict[str, Any] | str = ""
    off: None | Literal[False] = None
    custom: Custom | int = 0
""",
    "transformers/training_args_seq2seq.py": "",
    "llamafactory/extras/constants.py": 'class EngineName(StrEnum):\n    HF = "hf"\n    V = "v"\n',
    "transformers/trainer_utils.py": 'class SaveStrategy(ExplicitEnum):\n    """Doc."""\n    NO = "no"\n',
    "transformers/debug_utils.py": "",
    "llamafactory/data/template.py": """
def register_template(name):
    register_template(name="inner")
register_template(name="b")
register_template(name="a", format_user=f(name="not-this"))
""",
}


@pytest.fixture
def site_packages(tmp_path):
    for path, text in SOURCES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "llamafactory-1.2.3.dist-info").mkdir()
    (tmp_path / "transformers-4.5.dist-info").mkdir()
    return tmp_path


def test_keys_are_read_from_the_sources(site_packages):
    assert generate_keys.keys(site_packages) == {
        "versions": {"llamafactory": "1.2.3", "transformers": "4.5"},
        "keys": {
            "backend": {"types": ["str"], "choices": ["hf", "v"]},
            "custom": {"types": ["any", "int"]},
            "dataset": {"types": ["list", "null", "str"]},
            "flags": {"types": ["dict", "list", "str"]},
            "mixed": {"types": ["null", "str"], "choices": ["x", "y"]},
            "model_name_or_path": {"types": ["null", "str"]},
            "off": {"types": ["bool", "null"]},
            "save": {"types": ["str"], "choices": ["no"]},
        },
    }
    assert generate_keys.templates(site_packages) == ["a", "b"]


def test_main_writes_both_files(site_packages, tmp_path, monkeypatch):
    monkeypatch.setattr(generate_keys, "KEYS", tmp_path / "keys.json")
    monkeypatch.setattr(generate_keys, "TEMPLATES", tmp_path / "templates.json")
    generate_keys.main(site_packages)
    assert json.loads((tmp_path / "keys.json").read_text()) == generate_keys.keys(site_packages)
    assert json.loads((tmp_path / "templates.json").read_text()) == ["a", "b"]


def test_the_packaged_list():
    keys = catalogue().keys
    assert len(keys) == 346
    assert keys["learning_rate"].types == ("float",)
    assert "cosine" in keys["lr_scheduler_type"].choices
    assert {"chatml", "llama3", "qwen3"} <= set(templates())


def test_neither_torch_nor_transformers_is_imported():
    assert not {"torch", "transformers", "llamafactory"} & set(sys.modules)


@pytest.mark.trainer
def test_the_packaged_list_is_that_of_the_trainer(trainer):
    site_packages = next(trainer.python.parent.parent.glob("lib/python3*/site-packages"))
    assert json.loads(generate_keys.KEYS.read_text()) == generate_keys.keys(site_packages)
    assert json.loads(generate_keys.TEMPLATES.read_text()) == generate_keys.templates(site_packages)
