"""Settings, read once from the environment; every fault is told at once."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec


class SettingsError(ValueError):
    """One line a fault: which variable, what it holds, what it should hold."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """home: state of this installation (KUZNIA_HOME, default `.kuznia` here). cache: heavy parts shared by
    all installations of this user ($XDG_CACHE_HOME/kuznia). Ports: KUZNIA_PORT for console, registry and
    webhook, KUZNIA_GATEWAY_PORT for the gateway; 0 takes a free one. warm: keep a trainer process warm.
    ready_seconds: how long an engine may load before it counts as failed.
    """

    home: Path
    cache: Path
    host: str = "127.0.0.1"
    port: int = 8500
    gateway_port: int = 8600
    warm: bool = True
    max_attempts: int = 8
    lease_seconds: float = 60
    reconcile_seconds: float = 5
    ready_seconds: float = 600
    max_body_bytes: int = 25 * 1024 * 1024

    @property
    def database(self) -> Path:
        """Bus and store of the local profile."""
        return self.home / "kuznia.db"

    @property
    def artifacts(self) -> Path:
        """Root of the directory artifact store."""
        return self.home / "artifacts"

    @property
    def cluster(self) -> Path:
        """Where the process cluster keeps what it runs."""
        return self.home / "cluster"

    @property
    def models(self) -> Path:
        """Base models, a folder `<organisation>--<name>` each."""
        return self.cache / "models"


_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_KINDS = {int: "a whole number", float: "a number"}
LAST_PORT = 65535
_NUMBERS = {
    "port": int,
    "gateway_port": int,
    "max_attempts": int,
    "lease_seconds": float,
    "reconcile_seconds": float,
    "ready_seconds": float,
    "max_body_bytes": int,
}


def from_environment(environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings from `KUZNIA_*` and `XDG_CACHE_HOME`. Raises SettingsError with one line a fault."""
    faults: list[str] = []
    values: dict[str, object] = {
        "home": Path(environ.get("KUZNIA_HOME") or ".kuznia").absolute(),
        "cache": _cache(environ),
        "host": environ.get("KUZNIA_HOST") or "127.0.0.1",
    }
    for name, kind in _NUMBERS.items():
        _read_number(environ, name, kind, values, faults)
    warm = environ.get("KUZNIA_WARM", "1").lower()
    if warm not in _FLAGS:
        faults.append(f"KUZNIA_WARM is {warm!r}; it should be 1 or 0")
    if faults:
        raise SettingsError("\n".join(faults))
    return Settings(warm=_FLAGS[warm], **values)  # type: ignore[arg-type]


def _cache(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".cache")
    return Path(base) / "kuznia"


def _read_number(
    environ: Mapping[str, str], name: str, kind: type, values: dict[str, object], faults: list[str]
) -> None:
    variable = f"KUZNIA_{name.upper()}"
    text = environ.get(variable)
    if not text:
        return
    try:
        number = kind(text)
    except ValueError:
        faults.append(f"{variable} is {text!r}; it should be {_KINDS[kind]}")
        return
    values[name] = number
    if not math.isfinite(number):
        faults.append(f"{variable} is {text!r}; it should be {_KINDS[kind]}")
    elif number < 0:
        faults.append(f"{variable} is {text}; it should not be negative")
    elif name.endswith("port") and number > LAST_PORT:
        faults.append(f"{variable} is {text}; it should be at most {LAST_PORT}")
