"""What `make` calls, and what stands in for it: `python3 infra/bootstrap.py <target>`.

Any Python from 3.6 can run this file (so its annotations are strings): it finds one that Kuźnia can use, says at
once all that the machine lacks and how to mend it, and hands over to `infra/targets.py`.
"""

import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - old Pythons too
OLDEST, NEWEST = (3, 11), (3, 13)  # the trainer's pins have builds for these


def main(arguments: "list[str]") -> int:
    """Hand over to the targets; returns only where something is missing, after saying what."""
    python = next(filter(has_venv, candidates()), None)
    faults = [fault for fault in (python_fault(python), system_fault(), git_fault()) if fault]
    if faults:
        sys.stderr.write("".join(f"✗ {fault}\n" for fault in faults))
        return 1
    os.chdir(ROOT)
    return os.execv(str(python), [str(python), "-m", "infra.targets", *arguments])


def candidates() -> "list[str]":
    """Pythons that are new enough: this one, unless it is too new; those on PATH; this one all the same."""
    this = getattr(sys, "_base_executable", None) or sys.executable  # not a virtual environment's, ours least
    names = [f"python3.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1)]
    found = [path for path in map(shutil.which, names) if path]
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return [this, *found]
    return [*found, this] if sys.version_info[:2] > NEWEST else found


def has_venv(python: str) -> bool:
    """Whether it starts and can make virtual environments; Debian has that in a package of its own."""
    probe = [python, "-c", "import ensurepip, venv"]
    return subprocess.call(probe, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0


def python_fault(python: "str | None") -> str:
    """What is wrong where no Python was found that can be used."""
    if python:
        return ""
    if sys.version_info >= OLDEST:
        return (
            f"{sys.executable} cannot make virtual environments (modules venv and ensurepip)."
            f" To mend: apt install python3-venv (or python3.{sys.version_info[1]}-venv)"
        )
    version = ".".join(map(str, sys.version_info[:2]))
    return (
        f"Python {version} is too old, and no python3.11, python3.12 or python3.13 that works is on PATH."
        " To mend: apt install python3.11 python3.11-venv (or pyenv install 3.11)"
    )


def system_fault() -> str:
    """What is wrong with the operating system."""
    return "" if os.name == "posix" else "Kuźnia runs on Linux and macOS. To mend: use WSL"


def git_fault() -> str:
    """What is wrong with git."""
    return "" if shutil.which("git") else "git is missing. To mend: apt install git"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
