"""Commands on a prepared home."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner, Result

from services.cli.main import cli


def kuznia(*words: str, **more: Any) -> Result:
    """Run a command; its exit code, output and stderr."""
    return CliRunner().invoke(cli, list(words), catch_exceptions=False, **more)


def told(*words: str) -> str:
    """The output of a command that must succeed."""
    result = kuznia(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


def read(*words: str) -> Any:
    """The same with --json, read."""
    return json.loads(told(*words, "--json"))


def refused(*words: str) -> str:
    """What is said on stderr by a command that must fail."""
    result = kuznia(*words)
    assert result.exit_code == 1, result.output
    return result.stderr
