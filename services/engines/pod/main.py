"""An engine in common: vLLM on a base, and the adapters that its record wants, loaded while it runs.

What it is to carry is read in the record `engines/<engine>` at start, and again whenever the registry changes or
somebody with the engine's key asks for it (`POST /kuznia/reload`). It ends as its engine ends; started again, it
loads all anew. Exit codes: the engine's own; 0 after a stop on request; 1 where it could not be started, and 75
where that is worth another try.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from services.engines.pod.carrier import Carrier, Start
from services.engines.pod.document import Adapter, Document
from services.engines.pod.orders import Registry
from services.engines.pod.vllm import Vllm
from shared.errors import KuzniaError, Reject, Retry
from shared.forge.environment import available_cpus
from shared.forge.process import Running
from shared.forge.serving import Adapters, Serving
from shared.identity import workload_name
from shared.podkit import document as documents
from shared.podkit.attend import attend
from shared.podkit.bases import base_model
from shared.podkit.engines import Place, key_of, starter
from shared.podkit.machine import visible_gpus
from shared.podkit.ports import PodPorts, open_ports
from shared.podkit.stopping import PREEMPTED, Preempted, Stopping
from shared.podkit.weights import chat_template, place

BEAT_SECONDS = 0.05
TROUBLE_SECONDS = 1.0
AT_ONCE = 4  # different adapters in one batch
KEPT = 16  # that wait in memory for their next request


class Prepared(msgspec.Struct, frozen=True):
    """beat: one look at engine and registry."""

    start: Callable[[], Running]
    beat: Callable[[], None]
    log: Path


def main() -> int:
    """As the cluster starts it."""
    document, address = documents.read(Document), os.environ.get("KUZNIA_ADDRESS", "")
    return perform(document, address, open_ports())


def perform(document: Document, address: str, ports: PodPorts) -> int:
    """Serve until the engine ends; the exit code."""
    stopping = Stopping(document.grace_seconds)
    try:
        prepared = _prepare(document, address, ports, stopping)
        stopping.check()
        return attend(prepared.start(), stopping, prepared.log, prepared.beat, BEAT_SECONDS)
    except Preempted:
        return 0
    except (KuzniaError, OSError) as error:
        sys.stdout.write(f"{document.name} does not run: {error}\n")
        return PREEMPTED if isinstance(error, Retry) else 1


def _prepare(document: Document, address: str, ports: PodPorts, stopping: Stopping) -> Prepared:
    work = ports.settings.home / "work" / document.release
    registry = Registry(ports.store, document.key, document.release)
    signal.signal(signal.SIGUSR1, registry.poke)
    weights = _Weights(document, ports, work)
    secret, key = secrets.token_hex(32), key_of(ports.settings, document.name)
    more = {"KUZNIA_GATE_SECRET": secret, "KUZNIA_AGENT": str(os.getpid())}
    told = weights.serving(address, first_wanted(registry, stopping))
    log = work / "engine.log"
    start = starter(told, Place(settings=ports.settings, work=work, log=log, key=key), more)
    engine = Vllm(address, key, secret)
    begun = Start(server=document.release, attempt=documents.attempt(), address=address)
    carrier = Carrier(begun, engine, ports, weights)
    return Prepared(start, _beat(engine, registry, carrier), log)


def first_wanted(registry: Registry, stopping: Stopping) -> dict[str, Adapter]:
    """What it is to carry, once there is something: by its chat template the engine is started, for good, and without
    one it would refuse whatever comes later. Raises Preempted, Retry.
    """
    while not (wanted := registry.wanted()):
        stopping.check()
        time.sleep(BEAT_SECONDS)
    return wanted


def _beat(engine: Vllm, registry: Registry, carrier: Carrier) -> Callable[[], None]:
    """Nothing before the engine answers; then the orders, when they changed or something is still to be done."""
    look = _Look(engine, registry, carrier)

    def beat() -> None:
        if time.monotonic() < look.not_before:
            return
        try:
            look.now()
        except KuzniaError as error:
            sys.stdout.write(f"{error}; looking again\n")
            look.not_before = time.monotonic() + TROUBLE_SECONDS

    return beat


class _Look:
    """owing: something is still to be done, whether or not the orders change."""

    def __init__(self, engine: Vllm, registry: Registry, carrier: Carrier) -> None:
        self._engine, self._registry, self._carrier = engine, registry, carrier
        self._ready, self._owing = False, True
        self.not_before = 0.0

    def now(self) -> None:
        """Raises Retry."""
        self._ready = self._ready or self._engine.ready()
        if self._ready and (self._registry.changed() or self._owing):
            self._owing = True
            self._carrier.follow(self._registry.wanted())
            self._owing = not self._carrier.settled


class _Weights:
    """Base and adapters on this machine."""

    def __init__(self, document: Document, ports: PodPorts, work: Path) -> None:
        self._document = document
        self._ports = ports
        self._work = work
        self._base = base_model(ports.settings, document.base_model, document.base_revision)
        self._template = b""

    def serving(self, address: str, wanted: dict[str, Adapter]) -> Serving:
        """What vLLM is told: the base, and room for adapters. The chat template is that of the first of them."""
        document = self._document
        self._template = self._first_template(wanted)
        path = self._work / "chat_template.jinja"
        if self._template:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._template)
        return Serving(
            engine="vllm",
            name=document.base_model,
            address=address,
            place=str(self._base.path),
            adapters=Adapters(max_rank=document.max_rank, at_once=AT_ONCE, kept=KEPT, hot=True),
            template=document.template,
            chat_template=str(path) if self._template else "",
            gpus=visible_gpus(),
            threads=document.threads or max(1, available_cpus() // 2),
            drain_seconds=max(1, document.grace_seconds - 5),
        )

    def placed(self, adapter: Adapter) -> Path:
        """Its checked weights. Raises Reject where they do not fit this engine, Retry."""
        base, artifact = self._base, adapter.artifact
        if artifact.base_digest and artifact.base_digest != base.digest:
            raise Reject(
                f"it was trained on {artifact.base_model} {artifact.base_digest}, and the base here is"
                f" {base.digest}"
            )
        folder = place(self._ports.artifacts, artifact, self._folder(adapter.engine_model))
        if _template(folder) != self._template:
            raise Reject("its chat template is not the one that this engine was started with")
        return folder

    def forget(self, name: str) -> None:
        """A copy of weights that are not loaded any more; in the store they stay."""
        shutil.rmtree(self._folder(name), ignore_errors=True)

    def _folder(self, name: str) -> Path:
        return self._work / workload_name("adapter", name)

    def _first_template(self, wanted: dict[str, Adapter]) -> bytes:
        for adapter in wanted.values():
            try:
                folder = place(self._ports.artifacts, adapter.artifact, self._folder(adapter.engine_model))
            except Reject:
                continue  # it is told when it is to be loaded
            return _template(folder)
        return b""


def _template(folder: Path) -> bytes:
    found = chat_template(folder)
    return Path(found).read_bytes() if found else b""
