"""What an engine carries, brought to what it is to carry: loads, says so, unloads after a while."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from events.workload_changed import WorkloadChanged
from services.engines.pod.document import Adapter
from shared.errors import KuzniaError, Reject, Retry
from shared.podkit.patience import Patience
from shared.podkit.ports import PodPorts
from shared.podkit.voice import Voice

DRAIN_SECONDS = 10.0  # answers under way go on; and who goes back soon finds it loaded
# Unloaded, an adapter is only unknown by its name: of an answer that is still under way vLLM may read it again, and
# an engine that does not find the files then ends, for everybody.
FILES_SECONDS = 900.0
SOURCE = "/kuznia/engines"


class Engine(Protocol):
    """What the carrier asks of vLLM: see `services.engines.pod.vllm.Vllm`."""

    def open(self) -> None: ...
    def load(self, name: str, folder: Path) -> None: ...
    def unload(self, name: str) -> None: ...


class Weights(Protocol):
    """placed: an adapter's checked weights on this machine; raises Reject where they are not to be used.

    forget: of what was unloaded, by its name in the engine.
    """

    def placed(self, adapter: Adapter) -> Path: ...
    def forget(self, name: str) -> None: ...


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """Of the server: its name in the cluster, which start it is, where it answers."""

    server: str
    attempt: int
    address: str


class Carrier:
    """Used by one thread, for one start of the engine."""

    def __init__(self, start: Start, engine: Engine, ports: PodPorts, weights: Weights) -> None:
        self._start = start
        self._engine = engine
        self._ports = ports
        self._weights = weights
        self._loaded: set[str] = set()  # engine_models
        self._open = False
        self._carried: dict[str, Adapter] = {}  # by release
        self._refused: set[str] = set()
        self._leaving: dict[str, float] = {}  # engine_model -> when it goes
        self._stuck: set[str] = set()  # engine_models that the engine will not unload
        self._files: dict[str, float] = {}  # engine_model of what is unloaded -> when its files go
        self._tried: dict[str, float] = {}  # release -> since when in vain

    @property
    def settled(self) -> bool:
        """Whether nothing is to be done until the orders change."""
        return not self._leaving and not self._files

    def follow(self, wanted: Mapping[str, Adapter]) -> None:
        """Bring it there. Raises Retry where store, bus or engine do not answer; what was done stays done, and
        one that must wait holds up no other.
        """
        new = [wanted[release] for release in sorted(wanted.keys() - self._carried.keys() - self._refused)]
        waits = [why for adapter in new if (why := self._tries(adapter))]
        self._opens()
        for adapter in new:
            if adapter.release not in self._refused and adapter.engine_model in self._loaded:
                self._say(adapter, "ready")
                self._carried[adapter.release] = adapter
        self._carried = {release: one for release, one in self._carried.items() if release in wanted}
        self._refused &= wanted.keys()
        self._tried = {release: since for release, since in self._tried.items() if release in wanted}
        self._let_go({adapter.engine_model for adapter in wanted.values()})
        if waits:
            raise Retry("; ".join(waits))

    def _tries(self, adapter: Adapter) -> str:
        """Load it; why it must wait, or empty."""
        since = self._tried.setdefault(adapter.release, time.monotonic())
        try:
            self._load(adapter)
        except Reject as error:
            self._give_up(adapter, "Refused", str(error))
        except (KuzniaError, OSError) as error:
            if time.monotonic() - since < self._ports.settings.ready_seconds:
                return f"{adapter.engine_model} waits: {error}"
            self._give_up(adapter, "NotReady", str(error))
        return ""

    def _opens(self) -> None:
        """What was wanted at the start is loaded: from now on it takes questions."""
        if not self._open:
            self._engine.open()
            self._open = True

    def _give_up(self, adapter: Adapter, reason: str, message: str) -> None:
        self._say(adapter, "failed", reason, message)
        self._refused.add(adapter.release)

    def _load(self, adapter: Adapter) -> None:
        """Unless it is there for another release of the same version, or has not gone yet."""
        if adapter.engine_model not in self._loaded:
            began = time.monotonic()
            self._engine.load(adapter.engine_model, self._weights.placed(adapter))
            took = time.monotonic() - began
            sys.stdout.write(f"{adapter.engine_model} is loaded, in {took * 1000:.0f} ms\n")
        self._loaded.add(adapter.engine_model)
        self._files.pop(adapter.engine_model, None)

    def _let_go(self, wanted: set[str]) -> None:
        """Whatever is loaded and not wanted, also where its loading was never told; who is wanted again stays."""
        now, unwanted = time.monotonic(), self._loaded - wanted
        self._stuck &= unwanted
        self._leaving = {
            name: self._leaving.get(name, now + DRAIN_SECONDS) for name in unwanted - self._stuck
        }
        for name in [name for name, due in self._leaving.items() if due <= now]:
            del self._leaving[name]
            self._unload(name, now)
        for name in [name for name, due in self._files.items() if due <= now]:
            del self._files[name]
            self._weights.forget(name)

    def _unload(self, name: str, now: float) -> None:
        try:
            self._engine.unload(name)
        except Retry as error:
            self._leaving[name] = now + DRAIN_SECONDS
            sys.stdout.write(f"{name} is not wanted, and stays for now: {error}\n")
        except KuzniaError as error:  # it stays until the engine ends; nobody is led to it
            self._stuck.add(name)
            sys.stdout.write(f"{name} is not wanted, and stays: {error}\n")
        else:
            self._loaded.discard(name)
            self._files[name] = now + FILES_SECONDS
            sys.stdout.write(f"{name} is unloaded\n")

    def _say(self, adapter: Adapter, phase: str, reason: str = "", message: str = "") -> None:
        """As the cluster says it of a server, once a start."""
        key = f"releases/{adapter.model_id}"
        said = WorkloadChanged(
            name=adapter.release,
            service="deployment",
            key=key,
            kind="server",
            phase="ready" if phase == "ready" else "failed",
            attempt=self._start.attempt,
            reason=reason,
            message=message,
            address=self._start.address if phase == "ready" else "",
        )
        voice = Voice(
            ports=self._ports,
            source=SOURCE,
            cause=adapter.cause,
            traceparent=adapter.traceparent,
            patience=Patience(tries=1),
        )
        mark = f"{self._start.server}#{self._start.attempt}/{adapter.release}/{phase}"
        voice.say(said, subject=key, discriminator=mark)
