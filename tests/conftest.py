"""What a machine can do: a test that needs more is skipped by name, or fails where KUZNIA_REQUIRE asks for it.

KUZNIA_REQUIRE: names with commas between them (`trainer,git`), or `all`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from infra import helm as helms
from shared.forge import environment, models, steps, vllm
from shared.settings import from_environment

pytest_plugins = ["tests.emulators"]
CACHE = pytest.StashKey[Path]()
NEEDS_TRAINER = "the LLaMA-Factory environment: make trainer"
NEEDS_VLLM = "the vLLM environment: make vllm"


def require_capability(name: str, present: bool, why: str) -> None:
    """Go on where it is present; skip where it is not, or fail where KUZNIA_REQUIRE names it."""
    if present:
        return
    required = {word.strip() for word in os.environ.get("KUZNIA_REQUIRE", "").split(",")}
    if required & {name, "all"}:
        pytest.fail(f"needs {why} (KUZNIA_REQUIRE asks for {name})", pytrace=False)
    pytest.skip(f"needs {why}")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[CACHE] = from_environment().cache


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("trainer"):
        found = environment.locate(item.config.stash[CACHE])
        require_capability("trainer", found is not None, NEEDS_TRAINER)


@pytest.fixture(scope="session")
def capability() -> Callable[[str, bool, str], None]:
    """`capability("root-tmpfs", os.geteuid() == 0, "root, to mount a small tmpfs")`."""
    return require_capability


@pytest.fixture
def git() -> str:
    """The path of git."""
    found = shutil.which("git")
    require_capability("git", found is not None, "git: apt install git")
    return str(found)


@pytest.fixture(scope="session")
def helm(pytestconfig: pytest.Config) -> str:
    """The path of helm; fetched once where it is not there."""
    try:
        return str(helms.require(pytestconfig.stash[CACHE]))
    except (steps.StepFailed, OSError) as error:
        require_capability("helm", False, f"helm: {error}")
        raise


@pytest.fixture
def cache(pytestconfig: pytest.Config) -> Path:
    """The user's cache, where the trainer and the base models lie."""
    return pytestconfig.stash[CACHE]


@pytest.fixture
def trainer(cache: Path) -> environment.Trainer:
    """The LLaMA-Factory environment."""
    require_capability("trainer", environment.locate(cache) is not None, NEEDS_TRAINER)
    return environment.require(cache)


@pytest.fixture
def vllm_engine(cache: Path) -> vllm.Vllm:
    """The vLLM environment."""
    require_capability("vllm", vllm.locate(cache) is not None, NEEDS_VLLM)
    return vllm.require(cache)


@pytest.fixture
def tiny_model(cache: Path) -> Path:
    """The folder of a random llama of 19 thousand weights."""
    return _model(cache, "kuznia/tiny-llama")


@pytest.fixture
def smollm(cache: Path) -> Path:
    """The folder of SmolLM2-135M-Instruct."""
    return _model(cache, "HuggingFaceTB/SmolLM2-135M-Instruct")


def _model(cache: Path, name: str) -> Path:
    found = models.resolve(cache / "models", name)
    require_capability("trainer", found is not None, f"the base model {name}: make trainer")
    assert found
    return found.path
