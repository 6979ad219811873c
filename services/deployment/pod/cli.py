"""`llamafactory-cli`, wherever this image or machine has it: `python -m services.deployment.pod.cli api api.yaml`.

The process becomes LLaMA-Factory, so that signals and exit codes are its own; nothing of ours stays in between.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from shared.errors import Reject
from shared.forge.environment import Trainer, require
from shared.settings import SettingsError, from_environment


def variables(trainer: Trainer, environ: Mapping[str, str]) -> dict[str, str]:
    """The container's own, its key included; the trainer's `bin` first, and its stub where it needs one."""
    paths = [str(trainer.home / "bin"), environ.get("PATH", os.defpath)]
    stub = {"PYTHONPATH": str(trainer.stubs)} if trainer.stubs else {}
    return {**environ, **stub, "PATH": os.pathsep.join(paths)}


def become(trainer: Trainer, arguments: Sequence[str]) -> NoReturn:
    """Its program in the place of this one."""
    os.execve(trainer.cli, [str(trainer.cli), *arguments], variables(trainer, os.environ))  # noqa: S606 - no shell


def main(arguments: Sequence[str]) -> int:
    """1 where there is no LLaMA-Factory; else it never returns."""
    try:
        trainer = require(from_environment().cache)
    except (Reject, SettingsError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return become(trainer, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
