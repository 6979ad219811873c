"""`kuznia`: the group of all commands. Each command's module is imported only when it is called."""

from __future__ import annotations

import importlib
import keyword
import sys
from collections.abc import Mapping

import click

from shared.errors import KuzniaError
from shared.settings import SettingsError

# section -> command -> module that defines it, under the command's name, with a `_` where Python reserves it
SECTIONS: Mapping[str, Mapping[str, str]] = {
    "Write and train": {
        "new": "experiment",
        "check": "experiment",
        "bases": "bases",
    },
    "Connect": {
        "hook": "hook",
        "senders": "senders",
        "webhooks": "webhooks",
    },
    "Run the platform": {
        "up": "up",
        "gateway": "gateway",
        "demo": "demo",
    },
    "Look": {
        "runs": "look",
        "models": "look",
        "show": "look",
        "card": "look",
        "events": "events",
        "trace": "trace",
        "logs": "look",
        "watch": "watch",
    },
    "Use": {
        "chat": "chat",
        "tokens": "tokens",
    },
    "Decide": {
        "retry": "operate",
        "quota": "quota",
        "approve": "operate",
        "reject": "operate",
        "deploy": "rollout",
        "rollout": "rollout",
        "rollback": "operate",
        "deprecate": "operate",
    },
    "Keep the promise": {
        "doctor": "doctor",
        "dead": "dead",
        "replay": "replay",
        "export": "transfer",
        "import": "transfer",
        "compact": "transfer",
    },
}
FAILURE = 1


class Commands(click.Group):
    """Finds commands in SECTIONS and prints them in those sections."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for commands in SECTIONS.values() for name in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for commands in SECTIONS.values():
            if cmd_name in commands:
                module = importlib.import_module(f"services.cli.{commands[cmd_name]}")
                name = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
                command: click.Command = getattr(module, name)
                return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, commands in SECTIONS.items():
            rows = []
            for name in commands:
                command = self.get_command(ctx, name)
                rows.append((name, command.get_short_help_str(90) if command else ""))
            with formatter.section(section):
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (KuzniaError, SettingsError) as error:
            click.secho(f"kuznia: {error}", fg="red", err=True)
            sys.exit(FAILURE)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="kuznia", prog_name="kuznia")
def cli() -> None:
    """Kuźnia forges a committed LLaMA-Factory config into a trained, documented model that answers.

    An installation lives in one folder: KUZNIA_HOME, or `.kuznia` here. Commands that look work whether the
    platform is up or not; every one of them has --json.

    \b
      kuznia new experiments/llm-qa --tenant team-x     write an experiment to start from
      kuznia check experiments/llm-qa                   all that is wrong with it, before a GPU is paid
      kuznia hook install path/to/config.git            let pushes to a repository start training
      kuznia up                                         the whole platform, in one process
    """  # noqa: D301 - the backspace keeps click from filling the lines


if __name__ == "__main__":
    cli()
