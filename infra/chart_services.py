"""`python -m infra.chart_services`: writes what the chart kuznia takes from the code, its `files/services.yaml`.

A service that is added to `services/` is a worker of the chart from then on. `--check` writes nothing and ends with
1 where the file is not what it would write.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import yaml

from infra.generate import ROOT, describe
from services.discovery import discover

FILE = ROOT / "charts" / "kuznia" / "files" / "services.yaml"
HEAD = "# Made by `python -m infra.chart_services` from the code; a test compares. Do not edit.\n"


def services() -> dict[str, dict[str, Any]]:
    """By name: whether it asks the cluster for anything."""
    return {name: {"launches": describe(service)["launches"]} for name, service in sorted(discover().items())}


def text() -> str:
    """The file."""
    return HEAD + yaml.safe_dump(services(), sort_keys=True)


def main(arguments: Sequence[str]) -> int:
    """0; 1 where --check finds the file stale."""
    if "--check" not in arguments:
        FILE.write_text(text(), encoding="utf-8")
        return 0
    fresh = FILE.exists() and FILE.read_text(encoding="utf-8") == text()
    if not fresh:
        sys.stderr.write(f"{FILE.relative_to(ROOT)} is stale. To mend: python -m infra.chart_services\n")
    return int(not fresh)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
