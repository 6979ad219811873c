"""What a release may ask for: an engine under its name, and its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from events.release_due import ReleaseDue
from services.deployment.sharing import dropped
from shared.forge.server import Server, workload
from shared.ports.cluster import Limits, Workload
from shared.record import Do, Record
from shared.service import Effect, Ports, Speech

JUDGE_SECONDS = 3600.0
JUDGE_NEEDS = {"gpu": "none", "memory_gb": 1}  # it asks, and counts words


def effects(ports: Ports) -> Mapping[str, Effect]:
    """`serve`, `judge` and `stop`, idempotent under a workload's name; `remind` says that a moment has come."""

    def serve(do: Do, record: Record) -> Sequence[Speech]:
        ports.cluster.apply(workload(_server(do, record), do, record, ports.settings.ready_seconds))
        return []

    def judge(do: Do, record: Record) -> Sequence[Speech]:
        ports.cluster.apply(_judge(do, record))
        return []

    def stop(do: Do, _record: Record) -> Sequence[Speech]:
        if engine := do.arguments.get("engine"):
            return [dropped(engine, do.arguments["release"])]
        ports.cluster.stop(do.arguments["release"])
        return []

    def remind(do: Do, record: Record) -> Sequence[Speech]:
        return [Speech(msgspec.convert(do.arguments, ReleaseDue), record.key)]

    return {"serve": serve, "judge": judge, "stop": stop, "remind": remind}


def _server(do: Do, record: Record) -> Server:
    version: dict[str, Any] = record.data["versions"][do.arguments["version"]]
    document = {
        "model": f"{record.name}@{do.arguments['version']}",
        "engine_model": version["engine_model"],
        "artifact": version["artifact"],
        "base_model": version["base_model"],
        "template": version["template"],
        "engine": version["engine"],
    }
    if size := version.get("size"):  # how many of it a cluster runs
        document["deployment"] = size
    return Server(
        name=do.arguments["release"],
        service="deployment",
        engine=version["engine"],
        document=document,
        labels={"tenant": version["tenant"], "model": record.name},
    )


def _judge(do: Do, record: Record) -> Workload:
    told = do.arguments
    known = {name: value for name, value in told.items() if name not in ("job", "tenant")}
    return Workload(
        name=told["job"],
        service="deployment",
        key=record.key,
        kind="job",
        module="services.deployment.judge",
        document={**known, "resources": JUDGE_NEEDS, "cause": do.cause, "traceparent": do.traceparent},
        limits=Limits(deadline_seconds=JUDGE_SECONDS),
        labels={"tenant": told["tenant"], "model": record.name, "version": told["version"]},
    )
