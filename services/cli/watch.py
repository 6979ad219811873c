"""`kuznia watch`: a run, live, from its commit to an answering model."""

from __future__ import annotations

import sys
import time

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from events.envelope import Event
from services.cli.chain import NOISE, Chain, End
from services.cli.common import find_run, installation, json_option, print_json, when
from services.cli.describe import describe
from shared.errors import Reject
from shared.local import LocalPorts

LOOK_SECONDS = 0.1
PLAIN_EVERY = 8  # steps between two lines of progress where there is no terminal


@click.command()
@click.argument("run", default="")
@json_option
def watch(run: str, as_json: bool) -> None:
    """Watch RUN (the newest, if not given) until its model answers, or it stopped.

    Exit code 0: it answers, or waits for a person. 1: it stopped.
    """
    with installation() as (_, ports):
        run_id = find_run(ports, run).name if run else _newest(ports)
        end = follow(Chain(ports.bus, ports.store, run_id), quiet=as_json)
        if as_json:
            print_json({"run": run_id, "good": end.good, "end": end.text})
        sys.exit(0 if end.good else 1)


def follow(chain: Chain, *, quiet: bool = False) -> End:
    """Print the chain's events and a live bar until its end."""
    console = Console(quiet=quiet, highlight=False)
    bar = Progress(
        SpinnerColumn(),
        TextColumn("[bold]{task.description:<9}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}"),
        console=console,
        transient=True,
    )
    view = _View(console, bar)
    with bar:
        while chain.end is None:
            for event in chain.news():
                view.told(event)
            view.moved(chain.progress())
            time.sleep(LOOK_SECONDS)
    end = chain.end
    console.print(f"[bold {'green' if end.good else 'red'}]{end.text}[/]", soft_wrap=True)
    return end


class _View:
    """Turns events into lines and progress into a bar; into lines too, where there is no terminal."""

    def __init__(self, console: Console, bar: Progress) -> None:
        self._console = console
        self._bar = bar
        self._task = bar.add_task("waiting", total=None, facts="", visible=False)
        self._printed = -PLAIN_EVERY

    def told(self, event: Event) -> None:
        if event.name in NOISE:
            return
        if event.name in ("training-finished", "checkpoint-written") and event.data.get("final", True):
            self._bar.update(self._task, visible=False)
        moment = when(event.time)[-8:]
        self._console.print(
            f"  [dim]{moment}[/]  [bold]{event.name:<20}[/] {describe(event)}", soft_wrap=True
        )

    def moved(self, progress: dict[str, object]) -> None:
        step, total = progress.get("step"), progress.get("total_steps")
        if not (isinstance(step, int) and isinstance(total, int) and total):
            return
        facts = _facts(progress)
        done = step >= total
        self._bar.update(
            self._task, description="training", completed=step, total=total, facts=facts, visible=not done
        )
        if not self._console.is_terminal and step >= self._printed + PLAIN_EVERY:
            self._printed = step
            self._console.print(f"            training             step {step}/{total}  {facts}")


def _facts(progress: dict[str, object]) -> str:
    loss, eta = progress.get("loss"), progress.get("eta_seconds")
    words = [
        f"loss {loss:.3f}" if isinstance(loss, float) else "",
        f"ETA {eta:.0f} s" if isinstance(eta, float) else "",
    ]
    return "  ".join(word for word in words if word)


def _newest(ports: LocalPorts) -> str:
    runs = [record for record in ports.store.list("runs") if record.created_at]
    if not runs:
        raise Reject("there is no run yet: push a commit to a connected repository (`kuznia hook install`)")
    return max(runs, key=lambda record: str(record.created_at)).name
