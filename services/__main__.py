"""`python -m services`: the whole platform in one process; the same as `kuznia up`."""

from __future__ import annotations

from services.cli.main import cli

if __name__ == "__main__":
    cli(["up"], prog_name="kuznia")
