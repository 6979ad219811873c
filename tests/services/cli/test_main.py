"""`kuznia` itself: its help, its sections, and how errors are told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from services.cli.main import SECTIONS, cli
from tests.architecture.source import ROOT
from tests.services.cli.prepared import kuznia, refused, told

COMMANDS = [name for commands in SECTIONS.values() for name in commands]
HEAVY = ("fastapi", "uvicorn", "starlette", "jinja2", "rich.progress")


def all_commands() -> dict[str, click.Command]:
    context = click.Context(cli)
    found = {}
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        found[name] = command
        if isinstance(command, click.Group):
            found |= {f"{name} {inner}": each for inner, each in command.commands.items()}
    return found


class TestHelp:
    def test_it_has_every_section_with_every_command(self):
        text = told("--help")
        for section, commands in SECTIONS.items():
            assert f"{section}:" in text
            body = text.split(f"{section}:", 1)[1]
            assert all(f"  {name} " in body for name in commands)
        places = [text.index(f"{section}:") for section in SECTIONS]
        assert places == sorted(places)

    def test_it_fits_a_terminal(self):
        assert max(len(line) for line in told("--help").splitlines()) <= 110

    def test_without_a_command_it_is_shown(self):
        assert "Write and train:" in kuznia().output

    @pytest.mark.parametrize("name", COMMANDS)
    def test_every_command_has_its_own(self, name: str):
        text = told(name, "--help")
        assert text.startswith("Usage: ")
        assert kuznia(name, "-h").stdout == text

    def test_every_option_says_what_it_is_for(self):
        silent = [
            f"{name} {option.opts[0]}"
            for name, command in all_commands().items()
            for option in command.params
            if isinstance(option, click.Option)
            and not option.help
            and not isinstance(option.type, click.Choice)
        ]
        assert silent == []

    def test_every_command_has_a_line(self):
        assert [name for name, command in all_commands().items() if not command.get_short_help_str()] == []

    @pytest.mark.parametrize(
        "name", ["runs", "models", "show", "card", "events", "logs", "watch", "trace", "doctor", "check"]
    )
    def test_every_command_that_looks_has_json(self, name: str):
        assert "--json" in told(name, "--help")

    def test_the_version(self):
        assert told("--version").startswith("kuznia")


class TestErrors:
    def test_an_unknown_command(self):
        result = kuznia("frge")
        assert result.exit_code == 2
        assert "No such command 'frge'" in result.stderr

    def test_without_an_installation_it_says_how_to_get_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv("KUZNIA_HOME", str(tmp_path / "nowhere"))
        for words in (
            ["runs"],
            ["models", "--json"],
            ["card", "a.b.v1"],
            ["tokens", "list"],
            ["hook", "list"],
        ):
            said = refused(*words)
            assert said.count("\n") == 1
            assert said.startswith(
                f"kuznia: there is no installation in {tmp_path}/nowhere: `kuznia up` makes one"
            )
        assert not (tmp_path / "nowhere").exists()

    def test_faults_of_the_settings_are_told(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("KUZNIA_PORT", "eight")
        assert "KUZNIA_PORT is 'eight'" in refused("runs")


def test_a_quick_command_imports_nothing_heavy():
    """The first answer of the command line must not wait for servers that it does not start."""
    script = (
        "import sys\nfrom services.cli.main import cli\n"
        "cli(['check', '--help'], standalone_mode=False)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"
