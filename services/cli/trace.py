"""`kuznia trace`: from a push to an answering model, as a tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from services.cli.chain import NOISE
from services.cli.common import find_run, find_version, installation, json_option, print_json, when
from services.cli.describe import describe
from services.cli.moments import span
from shared.local import LocalPorts
from shared.operations import trace as tracing
from shared.operations.reading import find_event
from shared.operations.trace import Node, Target, walk
from shared.record import Record

CALM = 2  # fewer of a kind in a row are not worth folding


@click.command()
@click.argument("name", metavar="MODEL|RUN|EVENT")
@click.option(
    "--all", "everything", is_flag=True, help="Every event, also the progress and workload chatter."
)
@json_option
def trace(name: str, everything: bool, as_json: bool) -> None:
    """Draw what followed from what: push, run, weights, validation, card, release.

    MODEL[@VERSION], a run (r-…), or the id of an event (or its beginning). The time on a line is since its
    cause; what still waits, or is dead, is told beneath.
    """
    with installation() as (_, ports):
        trees = tracing.trace(ports.bus, ports.operations, _target(ports, name))
    if as_json:
        print_json(trees)
        return
    for tree in trees:
        click.echo(f"{when(tree.event.time)}  {_label(tree)}")
        for line in _branches(tree, "", everything):
            click.echo(line)
    _print_sum(trees)


def _target(ports: LocalPorts, name: str) -> Target:
    if name.startswith("r-"):
        return _of_run(find_run(ports, name))
    if "." in name:
        version = find_version(ports, name)
        return _of_version(version.name, str(version.data.get("run_id", "")))
    return Target(event=find_event(ports.bus, ports.operations, name).id)


def _of_run(run: Record) -> Target:
    model = run.data.get("model")
    if model:
        return _of_version(f"{model['model_id']}@{model['version']}", run.name)
    return Target(subjects=frozenset({run.key}), keys=frozenset({run.key}))


def _of_version(version: str, run: str) -> Target:
    records = {f"runs/{run}", f"models/{version}", f"evaluations/{version}"}
    return Target(subjects=frozenset(records), keys=frozenset(records))


def _branches(node: Node, indent: str, everything: bool) -> Iterator[str]:
    for mark in node.marks:
        if mark.state != "decided":
            colour = "red" if mark.state == "dead" else "yellow"
            told = f"{mark.state} with {mark.who}, {mark.attempts} attempt(s): {mark.what or 'not yet tried'}"
            yield indent + ("│  " if node.children else "   ") + click.style(f"! {told}", fg=colour)
    groups = _folded(node.children, everything)
    for number, group in enumerate(groups, start=1):
        last = number == len(groups)
        yield f"{indent}{'└─ ' if last else '├─ '}{_told(group)}"
        if len(group) == 1:
            yield from _branches(group[0], indent + ("   " if last else "│  "), everything)


def _folded(children: Sequence[Node], everything: bool) -> list[list[Node]]:
    """Chatter of one kind in a row becomes one group."""
    groups: list[list[Node]] = []
    for child in children:
        name = child.event.name
        calm = everything or name not in NOISE or child.children
        if not calm and groups and groups[-1][-1].event.name == name and not groups[-1][-1].children:
            groups[-1].append(child)
        else:
            groups.append([child])
    return [
        part for group in groups for part in ([group] if len(group) > CALM else [[node] for node in group])
    ]


def _told(group: Sequence[Node]) -> str:
    last = group[-1]
    if len(group) == 1:
        return _label(last)
    faint = f"{last.event.name} ×{len(group)}, +{span(group[0].after)} to +{span(last.after)}"
    return click.style(f"{faint}  {describe(last.event)}", dim=True)


def _label(node: Node) -> str:
    event = node.event
    after = f"  +{span(node.after)}" if node.after else ""
    return f"{click.style(event.name, bold=True)}{after}  {describe(event)}  [{event.id[:8]}]"


def _print_sum(trees: Sequence[Node]) -> None:
    nodes = list(walk(trees))
    if not nodes:
        click.echo("nothing was said of it yet")
        return
    first, last = min(n.event.time for n in nodes), max(n.event.time for n in nodes)
    dead = sum(mark.state == "dead" for node in nodes for mark in node.marks)
    waiting = sum(mark.state == "waiting" for node in nodes for mark in node.marks)
    deployed = [node for node in nodes if node.event.name == "model-deployed"]
    answers = f", answered after {span(deployed[0].since_root)}" if deployed else ""
    click.echo(
        f"{len(nodes)} events in {span((last - first).total_seconds())}{answers}; {waiting} waiting, {dead} dead"
    )
