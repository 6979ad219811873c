"""Whatever is committed, the check answers; and what it answers can be stored and printed."""

from __future__ import annotations

import json

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events.parts import Folder, FolderFile
from shared.experiment.check import Checked, check, render
from shared.experiment.document import MOST_NODES, read_yaml
from shared.experiment.folder import as_text
from shared.experiment.keys import catalogue

FEW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=True),
    st.text(max_size=20),
    st.sampled_from(
        ["../x", "${a}", "/etc", "hf_abcdefghijkl", "train", "nvidia-l4", "PROHIBITED", "lora", "ONLINE"]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
CONFIG_KEYS = st.sampled_from(sorted(catalogue().keys)) | st.text(max_size=10)
TOP = [
    "name",
    "tenant",
    "owner",
    "version",
    "risk_class",
    "risk_analysis",
    "purpose",
    "data",
    "oversight",
    "logging",
]
TOP += ["contact", "licence", "language", "evaluation", "resources", "deployment", "limitations"]
INNER = [
    "gpu",
    "gpus",
    "nodes",
    "memory_gb",
    "set",
    "thresholds",
    "metrics",
    "not_for",
    "id",
    "retention_days",
    "approval",
]
MANIFEST_VALUES = VALUES | st.dictionaries(st.sampled_from(INNER), VALUES, max_size=4)
YAML_TEXT = st.one_of(
    st.text(),
    st.text(alphabet="[]{}:,-?!&*|>'\"%@#\\ \nab0.~<xuU", max_size=80),
    st.binary(max_size=80).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    st.binary(max_size=80).map(lambda raw: raw.decode("latin-1")),
)


def sound(checked: Checked) -> None:
    """It can be encoded as an event, and every fault is readable."""
    assert msgspec.json.encode((checked.config, checked.manifest))
    for fault in (*checked.faults, *checked.warnings):
        assert fault.where
        assert fault.what
        assert fault.mend
        assert "\n" not in str(fault)
        assert str(fault).encode()
    assert render(checked.faults).count("→") >= len(checked.faults)


def folder(config: str, manifest: str, info: str = "{}") -> Folder:
    texts = {"config.yaml": config, "model.yaml": manifest, "dataset_info.json": info}
    files = tuple(FolderFile(path=path, size=len(text)) for path, text in texts.items())
    return Folder(files=files, texts=texts)


@FEW
@given(YAML_TEXT, YAML_TEXT, YAML_TEXT)
def test_arbitrary_texts(config, manifest, info):
    sound(check(folder(config, manifest, info)))


@FEW
@given(
    st.dictionaries(CONFIG_KEYS, VALUES, max_size=8),
    st.dictionaries(st.sampled_from(TOP), MANIFEST_VALUES, max_size=12),
)
def test_arbitrary_values_under_known_keys(config, manifest):
    sound(check(folder(yaml.safe_dump(config), yaml.safe_dump(manifest))))


@FEW
@given(
    st.dictionaries(
        st.sampled_from(["train", "x"]),
        VALUES | st.dictionaries(st.sampled_from(["file_name", "hf_hub_url"]), VALUES),
    )
)
def test_arbitrary_dataset_info(entries):
    sound(check(folder("dataset: train, x\ndataset_dir: .\n", "{}", json.dumps(entries))))


@FEW
@given(
    st.lists(
        st.builds(
            FolderFile,
            path=st.text(alphabet=st.characters()),
            size=st.integers(0),
            kind=st.sampled_from(["file", "symlink", "submodule"]),
        )
    )
)
def test_arbitrary_files(files):
    sound(check(Folder(files=tuple(files), texts={})))


@FEW
@given(st.binary(max_size=200))
def test_arbitrary_bytes(content):
    text = as_text(content)
    assert text is None or read_yaml("config.yaml", text).name == "config.yaml"


def test_the_same_folder_gives_the_same_answer():
    given_twice = folder("a: 1\nb: ${c}\n", "name: X\n")
    assert check(given_twice) == check(given_twice)


BOMBS = {
    "billion laughs": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(
        f"{n}: &{n} [{','.join('*' + p for _ in range(9))}]\n"
        for p, n in zip("abcdefgh", "bcdefghi", strict=True)
    ),
    "cycle": "a: &a [*a]",
    "cycle of mappings": "a: &a {b: *a}",
    "deep": "a: " + "{b: " * 1500,
    "wide": "a: [" + "1," * (MOST_NODES + 1) + "]",
    "bad escape": 'a: "\\UFFFFFFFF"',
    "bad tag": "!<tag:x,%zz> a",
    "binary": "a: !!binary x",
    "set": "a: !!set {x}",
    "sexagesimal": "a: 1:99:99\nb: 1:30.5",
    "date": "a: 2026-02-31",
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS.keys())
def test_bombs(text):
    checked = check(folder(text, text, text))
    assert checked.faults
    sound(checked)
