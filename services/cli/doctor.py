"""`kuznia doctor`: is all as it was promised?"""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from services.cli.common import installation, json_option, print_json
from services.discovery import discover
from services.lock import running
from services.operations.checks import THOROUGH, USUAL
from shared import profiles
from shared.local import LocalPorts
from shared.operations.doctor import Finding, Patient, examine, metrics
from shared.ports.cluster import Status
from shared.settings import Settings


@click.command()
@click.option(
    "--deep", is_flag=True, help="Also every version's files, and every record decided again from the log."
)
@click.option("--check", "only", multiple=True, help="Only this check; may be repeated.")
@click.option(
    "--metrics", "as_metrics", is_flag=True, help="Print Prometheus text, for a textfile collector."
)
@json_option
def doctor(deep: bool, only: tuple[str, ...], as_metrics: bool, as_json: bool) -> None:
    """Check that the promise holds: nothing lost, nothing twice, nothing released without its gates.

    Looks at outboxes, deliveries, dead letters, causes, runs, releases, digests and what runs; changes nothing;
    works whether the platform is up or not. Exit code 0: all is well. 1: there are findings, each with its mend.
    """
    checks = THOROUGH if deep else USUAL
    unknown = sorted(set(only) - set(checks))
    if unknown:
        raise click.BadParameter(f"no check is called {', '.join(unknown)}; there are: {', '.join(checks)}")
    chosen = {name: check for name, check in checks.items() if not only or name in only}
    begun = time.monotonic()
    with installation() as (settings, ports):
        findings = examine(_patient(settings, ports), chosen)
    if as_metrics:
        click.echo(metrics(findings, chosen, time.monotonic() - begun), nl=False)
    elif as_json:
        print_json({"healthy": not findings, "checks": list(chosen), "findings": findings})
    else:
        _print(findings, len(chosen))
    if findings:
        raise click.exceptions.Exit(1)


def _patient(settings: Settings, ports: LocalPorts) -> Patient:
    return Patient(
        services=discover(),
        store=ports.store,
        bus=ports.bus,
        operations=ports.operations,
        artifacts=ports.artifacts,
        workloads=_workloads(settings, ports),
        now=ports.clock.now(),
        up=running(settings.home) is not None,
    )


def _workloads(settings: Settings, ports: LocalPorts) -> Sequence[Status]:
    """As they are written down; nobody is supervised here."""
    if profiles.cluster_kind() == profiles.PROCESS and not settings.cluster.exists():
        return []
    cluster = profiles.open_cluster(settings, ports)
    try:
        found: Sequence[Status] = cluster.list()
        return found
    finally:
        cluster.close(stop_workloads=False)


def _print(findings: Sequence[Finding], checks: int) -> None:
    for finding in findings:
        click.echo(f"{click.style(finding.check, fg='red', bold=True)}  {finding.where}")
        click.echo(f"  what: {finding.what}")
        click.echo(f"  mend: {finding.mend}")
    if findings:
        click.secho(f"{len(findings)} finding(s) of {checks} checks", fg="red")
    else:
        click.secho(f"all is well: {checks} checks, no finding", fg="green")
