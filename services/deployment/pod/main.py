"""Checks what it is to serve, serves it, and ends as its engine ends.

Exit codes: the engine's own; 0 after a stop on request; 1 where the weights are refused.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from services.deployment.pod.document import Document
from services.deployment.pod.engine import Places, serving
from shared.errors import KuzniaError
from shared.forge.environment import available_cpus
from shared.forge.process import Lost, Running, insist
from shared.podkit import document as documents
from shared.podkit.attend import attend
from shared.podkit.bases import base_model
from shared.podkit.engines import Place, key_of, starter
from shared.podkit.machine import visible_gpus
from shared.podkit.ports import PodPorts, open_ports
from shared.podkit.stopping import Preempted, Stopping
from shared.podkit.weights import chat_template, lora_rank, place


class Prepared(msgspec.Struct, frozen=True):
    """log: what the engine prints, and we repeat."""

    start: Callable[[], Running]
    log: Path


def main() -> int:
    """As the cluster starts it."""
    return perform(documents.read(Document), os.environ.get("KUZNIA_ADDRESS", ""), open_ports())


def perform(document: Document, address: str, ports: PodPorts) -> int:
    """Serve until the engine ends; the exit code."""
    stopping = Stopping(document.grace_seconds)
    try:
        prepared = _prepare(document, address, ports)

        def serve() -> int:
            stopping.check()
            return attend(prepared.start(), stopping, prepared.log)

        return insist(serve)
    except Preempted:
        return 0
    except (KuzniaError, Lost, OSError) as error:
        sys.stdout.write(f"{document.model} is not served: {error}\n")
        return 1


def _prepare(document: Document, address: str, ports: PodPorts) -> Prepared:
    work = ports.settings.home / "work" / document.release
    work.mkdir(parents=True, exist_ok=True)
    told = serving(document, _places(document, ports, work), address)
    key = key_of(ports.settings, document.release, document.api_key_file)
    log = work / "engine.log"
    return Prepared(starter(told, Place(settings=ports.settings, work=work, log=log, key=key)), log)


def _places(document: Document, ports: PodPorts, work: Path) -> Places:
    weights = place(ports.artifacts, document.artifact, work / "weights")
    base = base_model(ports.settings, document.base_model, document.artifact.base_revision)
    return Places(
        weights=weights,
        base=str(base.path) if base else document.base_model,
        gpus=visible_gpus(),
        threads=document.threads or max(1, available_cpus() // 2),  # it answers beside trainings, for as long
        rank=lora_rank(weights),
        chat_template=chat_template(weights),
    )
