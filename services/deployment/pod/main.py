"""Checks what it is to serve, serves it, and ends as its engine ends.

Exit codes: the engine's own; 0 after a stop on request; 1 where the weights are refused.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import yaml

from services.deployment.pod.document import Document
from services.deployment.pod.engine import Places, config, variables
from shared.engine_key import engine_key
from shared.errors import KuzniaError, Reject
from shared.forge.environment import Trainer, available_cpus, require
from shared.forge.process import Lost, Running, Work, insist, start
from shared.podkit import document as documents
from shared.podkit.bases import base_model, trainer_environment
from shared.podkit.causes import TAIL_LINES, explain
from shared.podkit.echo import Echo
from shared.podkit.machine import visible_gpus
from shared.podkit.ports import PodPorts, open_ports
from shared.podkit.stopping import Preempted, Stopping
from shared.podkit.tail import last_lines
from shared.podkit.weights import place

BEAT_SECONDS = 0.5


def main() -> int:
    """As the cluster starts it."""
    return perform(documents.read(Document), os.environ.get("KUZNIA_ADDRESS", ""), open_ports())


def perform(document: Document, address: str, ports: PodPorts) -> int:
    """Serve until the engine ends; the exit code."""
    stopping = Stopping(document.grace_seconds)
    try:
        _folder(document, ports).mkdir(parents=True, exist_ok=True)
        trainer = require(ports.settings.cache)
        asked = _prepare(document, address, ports, trainer)

        def serve() -> int:
            stopping.check()
            running = start(asked, trainer=trainer, home=ports.settings.home)
            return _serve(running, stopping, asked.log)

        return insist(serve)
    except Preempted:
        return 0
    except (KuzniaError, Lost, OSError) as error:
        sys.stdout.write(f"{document.model} is not served: {error}\n")
        return 1


def _prepare(document: Document, address: str, ports: PodPorts, trainer: Trainer) -> Work:
    work = _folder(document, ports)
    weights = place(ports.artifacts, document.artifact, work / "weights")
    base = base_model(ports.settings, document.base_model)
    places = Places(
        weights=weights, base=str(base.path) if base else document.base_model, gpus=visible_gpus()
    )
    path, log = work / "api.yaml", work / "engine.log"
    path.write_text(yaml.safe_dump(config(document, places), sort_keys=True), encoding="utf-8")
    log.unlink(missing_ok=True)
    threads = document.threads or max(1, available_cpus() // 2)  # it answers beside trainings, for as long
    env = trainer_environment(trainer, threads) | variables(
        document, address, _api_key(document, ports.settings.home)
    )
    return Work(argv=("api", str(path)), env=env, cwd=work, log=log)


def _serve(running: Running, stopping: Stopping, log: Path) -> int:
    stopping.forward(running.terminate)
    echo, code = Echo(log), None
    try:
        while code is None:
            code = running.wait(BEAT_SECONDS)
            echo.follow()
            if stopping.overdue:
                running.kill()
    finally:
        running.kill()
    if stopping.asked:
        return 0  # however the engine took it: that is what was asked for
    if code:
        sys.stdout.write(explain(code, last_lines(log, 3 * TAIL_LINES)) + "\n")
    return code if code >= 0 else 128 - code


def _folder(document: Document, ports: PodPorts) -> Path:
    return ports.settings.home / "work" / document.release


def _api_key(document: Document, home: Path) -> str:
    """The one the gateway will show: derived from the release, unless a file says another."""
    if not document.api_key_file:
        return engine_key(home, document.release)
    key = Path(document.api_key_file).read_text(encoding="utf-8").strip()
    if not key:
        raise Reject(f"{document.api_key_file} is empty; it should hold the key that clients must show")
    return key
