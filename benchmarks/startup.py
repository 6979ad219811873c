"""What the entry of each service costs to import, beside the clients it needs alone, in one run, in turns.

A cold start on Cloud Run is mostly imports. Goal: at most 1.2 times what functions-framework, Pub/Sub and
Firestore cost themselves. And the control plane of the local profile imports none of them.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median

GOAL = 1.2
ROOT = Path(__file__).parents[1]
# What a service needs, no more; storage only where its artifacts lie there.
CLIENTS = "import functions_framework, flask, google.cloud.firestore, google.cloud.pubsub_v1"
PORTS = "; import shared.google.assembly, shared.profiles"
FORBIDDEN = ("google.cloud.storage", "boto3", "torch", "fastapi", "services.console", "services.gateway")
LOCAL_FORBIDDEN = ("google.api_core", "google.auth", "grpc", "boto3", "flask", "functions_framework")


def main() -> int:
    """Print a table, or JSON; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    entries = sorted(
        path.parent.name for path in (ROOT / "services").glob("*/main.py") if path.parent.name != "cli"
    )
    statements = {"clients alone": CLIENTS}
    statements |= {name: f"import services.{name}.main{PORTS}" for name in entries}
    costs = measure(statements, asked.rounds)
    base = costs["clients alone"]
    told = {
        name: {"cpu_ms": round(cost * 1000), "of_clients": round(cost / base, 2)}
        for name, cost in costs.items()
    }
    strays = {name: found for name in entries if (found := loaded(statements[name], FORBIDDEN))}
    strays |= {"local": found} if (found := loaded("import services.platform", LOCAL_FORBIDDEN)) else {}
    print(json.dumps({"costs": told, "strays": strays}, indent=2) if asked.json else table(told, strays))
    missed = [name for name, row in told.items() if row["of_clients"] > GOAL]
    return 1 if missed or strays else 0


def measure(statements: Mapping[str, str], rounds: int) -> dict[str, float]:
    """Seconds of CPU of each import, the median; the first round only fills the caches."""
    found: dict[str, list[float]] = {name: [] for name in statements}
    for number in range(rounds + 1):
        for name, statement in statements.items():
            cost = cpu_of(statement)
            if number:
                found[name].append(cost)
    return {name: median(costs) for name, costs in found.items()}


def cpu_of(statement: str) -> float:
    """Seconds of CPU of a fresh interpreter that runs it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], cwd=ROOT, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def loaded(statement: str, names: tuple[str, ...]) -> list[str]:
    """Which of these modules it loads."""
    probe = f"{statement}; import sys, json; print(json.dumps([n for n in {names!r} if n in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, check=True, capture_output=True, text=True)
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(told: Mapping[str, Mapping[str, float]], strays: Mapping[str, list[str]]) -> str:
    """For people."""
    lines = [
        f"  {name:<14} {row['cpu_ms']:>6} ms CPU   {row['of_clients']:.2f} × clients"
        for name, row in told.items()
    ]
    lines += [f"  {name} loads {', '.join(found)}, which it does not need" for name, found in strays.items()]
    return "\n".join(["CPU of imports, median:", *lines])


if __name__ == "__main__":
    sys.exit(main())
