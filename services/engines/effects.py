"""What an engine may ask for: its server, its end, and to be reminded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from events.engine_idle import EngineIdle
from events.workload_changed import WorkloadChanged
from shared.errors import Reject
from shared.forge.server import Server, workload
from shared.record import Do, Record
from shared.service import Effect, Ports, Speech

ENGINE = "vllm-with-adapters"  # no engine of model.yaml: a cluster that only knows those refuses it


def effects(ports: Ports) -> Mapping[str, Effect]:
    """`serve` and `stop`, both idempotent under the server's name; `remind` says that the while is over."""

    def serve(do: Do, record: Record) -> Sequence[Speech]:
        try:
            ports.cluster.apply(workload(_server(do, record), do, record, ports.settings.ready_seconds))
        except Reject as error:  # this cluster cannot have it: its adapters go to servers of their own
            ports.cluster.stop(do.arguments["server"])  # nor shall anything of it stay
            return [_refused(do, record, str(error))]
        return []

    def stop(do: Do, _record: Record) -> Sequence[Speech]:
        ports.cluster.stop(do.arguments["server"])
        return []

    def remind(do: Do, record: Record) -> Sequence[Speech]:
        return [Speech(msgspec.convert(do.arguments, EngineIdle), record.key)]

    return {"serve": serve, "stop": stop, "remind": remind}


def _server(do: Do, record: Record) -> Server:
    data = record.data
    document = {
        "key": record.key,
        "engine": ENGINE,
        "base_model": data["base_model"],
        "base_revision": data["base_revision"],
        "template": data["template"],
        "max_rank": data["max_rank"],
    }
    return Server(
        name=do.arguments["server"],
        service="engines",
        engine="vllm",
        document=document,
        labels={"tenant": data["tenant"]},
    )


def _refused(do: Do, record: Record, message: str) -> Speech:
    said = WorkloadChanged(
        name=do.arguments["server"],
        service="engines",
        key=record.key,
        kind="server",
        phase="failed",
        attempt=1,
        reason="Refused",
        message=message,
    )
    return Speech(said, record.key)
