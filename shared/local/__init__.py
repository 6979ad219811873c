"""The embedded default: SQLite bus and store, directory artifacts, processes. Durable and kill -9-proof."""

from __future__ import annotations

from shared.local.assembly import LocalPorts, open_ports

__all__ = ["LocalPorts", "open_ports"]
