"""An experiment as the rules see it: the folder, its documents, and paths within it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from events.parts import Folder
from shared.experiment.document import Document

CONFIG, MANIFEST, DATASET_INFO = "config.yaml", "model.yaml", "dataset_info.json"
READ_TEXTS = (CONFIG, MANIFEST, DATASET_INFO)
TEXT_LIMIT = 256 * 1024  # bytes; a larger text is not read
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|[A-Za-z]:[\\/]|ONLINE$|REMOTE:")


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """files: path -> digest of each plain file. known_models: base models this platform has; None: any.

    data_roots: below which data outside the folder may lie, see `locations.roots_of`; None: not known here.
    """

    folder: Folder
    config: Document
    manifest: Document
    files: dict[str, str]
    known_models: frozenset[str] | None = None
    data_roots: tuple[str, ...] | None = None

    def setting(self, key: str, default: Any = None) -> Any:
        """A value of config.yaml, the default where it is absent or null."""
        value = self.config.values.get(key)
        return default if value is None else value

    def has_gpu(self) -> bool:
        """Whether model.yaml asks for one."""
        return self.manifest.get("resources", "gpu") not in (None, "none", "")

    def quantized(self) -> bool:
        """Whether the base model is loaded in fewer bits (QLoRA)."""
        return self.setting("quantization_bit") is not None

    def method(self) -> str:
        """`full`, `lora` or another finetuning_type; LLaMA-Factory's default is `lora`."""
        return str(self.setting("finetuning_type", "lora"))


def is_read(path: str) -> bool:
    """Whether the check reads this file's text: the two YAML files at the top, dataset_info.json anywhere."""
    return path in READ_TEXTS or path.rsplit("/", 1)[-1] == DATASET_INFO


def as_text(content: bytes) -> str | None:
    """What to put under `Folder.texts`; None where it is over TEXT_LIMIT or is not UTF-8."""
    if len(content) > TEXT_LIMIT:
        return None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return None


def leaves(path: str) -> bool:
    """Whether a path leads, or may lead, out of the folder: absolute, `~`, `..`, a URL, a hub.

    >>> [leaves(path) for path in ("data/a.json", "../a.json", "/etc/passwd", "gs://bucket/a.json")]
    [False, True, True, True]
    """
    parts = re.split(r"[/\\]", path)
    return path.startswith(("/", "\\", "~")) or ".." in parts or bool(_SCHEME.match(path)) or "\0" in path


def joined(directory: str, name: str) -> str:
    """The path of a file relative to the experiment, normalised.

    >>> joined(".", "./train.json")
    'train.json'
    """
    return posixpath.normpath(posixpath.join(directory, name))


def texts_in(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text of a nested value with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts_in(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from texts_in(item, (*path, str(index)))


def names_of(value: Any) -> list[str]:
    """A comma list, or a YAML list, as names."""
    items = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    return [str(item).strip() for item in items if str(item).strip()]
