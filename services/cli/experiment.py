"""`kuznia new` and `kuznia check`: an experiment to start from, and all that is wrong with one."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from services.cli.common import json_option, person, print_json
from shared.experiment.check import check as check_folder
from shared.experiment.folder import read_directory
from shared.experiment.locations import roots_of
from shared.experiment.scaffold import scaffold


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--tenant", default="team-x", show_default=True, help="The team the model belongs to.")
@click.option("--name", default="", help="Name of the model; the folder's name if not given.")
@click.option("--owner", default="", help="Person or role that answers for it; you, if not given.")
def new(folder: Path, tenant: str, name: str, owner: str) -> None:
    """Write an experiment to start from.

    FOLDER gets a config.yaml (plain LLaMA-Factory), a model.yaml, and a small example data set.
    """
    for path in scaffold(folder, tenant=tenant, name=name or folder.resolve().name, owner=owner or person()):
        click.echo(f"  {path}")
    click.echo(f"Edit them, then: kuznia check {folder}")


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@json_option
def check(folder: Path, as_json: bool) -> None:
    """Say all that is wrong with an experiment, at once.

    Exit code 0: nothing. 1: faults.
    """
    checked = check_folder(read_directory(folder), data_roots=roots_of())
    if as_json:
        print_json({"faults": checked.faults, "warnings": checked.warnings})
    else:
        _print(checked.faults, "red")
        _print(checked.warnings, "yellow")
        if not checked.faults:
            click.secho(f"{folder}: nothing is wrong with it", fg="green")
    sys.exit(1 if checked.faults else 0)


def _print(faults: tuple[object, ...], colour: str) -> None:
    for fault in faults:
        click.secho(str(fault), fg=colour)
