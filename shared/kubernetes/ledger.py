"""What was applied, how it stands, what is still to be said of it, and the ends of its output: a ConfigMap each.

Jobs go by themselves after a while, pods with their nodes; this stays. All of it lies in the platform's own
namespace, out of the tenants' reach, and is written by compare-and-set, so that two watches do no harm.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from events.envelope import Event
from shared.errors import Conflict, Reject, Retry
from shared.kubernetes.api import Api, Object
from shared.kubernetes.kinds import CONFIG_MAP, KINDS, Kind, Ref
from shared.local.cluster import spec
from shared.ports.cluster import Workload

STATE = "kuznia.dev/ledger"
OPEN, CLOSED = "open", "closed"
WORKLOAD = "kuznia.dev/workload"
FINISHED = frozenset({"succeeded", "failed"})
LOG_BYTES = 64 * 1024  # of each start
KEPT_LOGS = 5  # starts
_LOG = "log-"


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """We are taking it away, and this is why. since: Unix seconds."""

    reason: str
    since: float
    message: str = ""
    exit_code: int | None = None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """made: its main object was there. attempt: number of the running or the next start. starts: uids of its pods
    in order. collected: those whose output lies here whole. doom: why its pod is being taken away.
    unsaid: events that wait to be published. began, finished_at: first start and end, Unix seconds.
    """

    phase: Literal["pending", "running", "ready", "succeeded", "failed"] = "pending"
    attempt: int = 1
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    address: str = ""
    made: bool = False
    starts: tuple[str, ...] = ()
    collected: tuple[str, ...] = ()
    doom: str = ""
    ending: Ending | None = None
    began: float = 0
    finished_at: float = 0
    unsaid: tuple[Event, ...] = ()


class Main(msgspec.Struct, frozen=True, kw_only=True):
    """The object that stands for the workload, whatever settings say later."""

    api_version: str
    kind: str
    namespace: str

    def ref(self, name: str) -> Ref:
        """Of the workload of this name."""
        return Ref(self.found, self.namespace, name)

    @property
    def found(self) -> Kind:
        """Of the kinds that are known."""
        return next(kind for kind in KINDS if (kind.api_version, kind.kind) == (self.api_version, self.kind))


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One workload. revision: of the ConfigMap. packed: ends of outputs by the number of the start, from 1."""

    workload: Workload
    main: Main
    standing: Standing
    revision: str
    packed: Mapping[int, str]

    def log(self, number: int) -> str:
        """The end of the output of one start. Raises KeyError."""
        return gzip.decompress(base64.b64decode(self.packed[number])).decode()


class Ledger:
    """Raises what the API raises."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    def create(self, workload: Workload, main: Main) -> Entry:
        """The new entry, or the one that is there of the same workload. Raises Reject where it is another's."""
        manifest = {
            "apiVersion": CONFIG_MAP.api_version,
            "kind": CONFIG_MAP.kind,
            "metadata": {
                "name": workload.name,
                "namespace": self._namespace,
                "labels": _labels(workload.name, Standing()),
            },
            "data": {
                "workload": _text(workload),
                "main": _text(main),
                "standing": _text(Standing()),
            },
        }
        try:
            return _entry(self._api.create(manifest))
        except Conflict:
            present = self.read(workload.name)
        if present is None:
            raise Retry(
                f"workload {workload.name!r} is just being forgotten, or a ConfigMap that is not ours has its name in"
                f" namespace {self._namespace}",
                after=1,
            )
        _require_same(workload, present.workload)
        return present

    def read(self, name: str) -> Entry | None:
        """None where it was never applied, or was forgotten; other ConfigMaps of the namespace are none of ours."""
        found = self._api.read(self._ref(name))
        return _entry(found) if found and STATE in (found["metadata"].get("labels") or {}) else None

    def save(self, entry: Entry, standing: Standing, logs: Mapping[int, str] | None = None) -> Entry:
        """logs: packed, by the number of the start. Raises Conflict where it was changed since it was read."""
        if standing == entry.standing and not logs:
            return entry
        name = entry.workload.name
        patch: Object = {
            "metadata": {"resourceVersion": entry.revision, "labels": _labels(name, standing)},
            "data": {"standing": _text(standing)},
        }
        if logs:
            patch["binaryData"] = _binary(entry, logs)
        saved = self._api.merge(self._ref(name), patch)
        if saved is None:
            raise Conflict(f"workload {name!r} was forgotten meanwhile")
        return _entry(saved)

    def names(self) -> Sequence[str]:
        """Of those of which something is still to be done or said."""
        found = self._api.list(CONFIG_MAP, self._namespace, f"{STATE}={OPEN}").items
        return sorted(item["metadata"]["name"] for item in found)

    def all(self) -> Sequence[Entry]:
        """In order of name."""
        found = self._api.list(CONFIG_MAP, self._namespace, STATE).items
        return sorted((_entry(item) for item in found), key=lambda entry: entry.workload.name)

    def remove(self, name: str) -> None:
        """Absent is success."""
        self._api.delete(self._ref(name))

    def _ref(self, name: str) -> Ref:
        return Ref(CONFIG_MAP, self._namespace, name)


def closed(standing: Standing) -> bool:
    """Nothing is to be done or said of it any more."""
    return standing.phase in FINISHED and not standing.unsaid


def _labels(name: str, standing: Standing) -> dict[str, str]:
    return {
        "app.kubernetes.io/part-of": "kuznia",
        "app.kubernetes.io/managed-by": "kuznia",
        WORKLOAD: name,
        STATE: CLOSED if closed(standing) else OPEN,
    }


def _text(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


def _entry(obj: Object) -> Entry:
    data = obj["data"]
    return Entry(
        workload=msgspec.json.decode(data["workload"], type=Workload),
        main=msgspec.json.decode(data["main"], type=Main),
        standing=msgspec.json.decode(data["standing"], type=Standing),
        revision=str(obj["metadata"]["resourceVersion"]),
        packed={
            int(name.removeprefix(_LOG)): str(content)
            for name, content in (obj.get("binaryData") or {}).items()
        },
    )


def packed(text: str) -> str:
    """The end of an output as it is kept."""
    content = text.encode()[-LOG_BYTES:].decode(errors="ignore").encode()
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def _binary(entry: Entry, logs: Mapping[int, str]) -> dict[str, str | None]:
    """The new ones, and None for those that are too old to be kept."""
    numbers = sorted({*entry.packed, *logs})
    old = {f"{_LOG}{number}": None for number in numbers[:-KEPT_LOGS] if number in entry.packed}
    return old | {f"{_LOG}{number}": logs[number] for number in numbers[-KEPT_LOGS:] if number in logs}


def _require_same(wanted: Workload, present: Workload) -> None:
    wanted = msgspec.json.decode(msgspec.json.encode(wanted), type=Workload)
    if wanted == present:
        return
    differing = [
        field for field in Workload.__struct_fields__ if getattr(wanted, field) != getattr(present, field)
    ]
    raise Reject(
        f"another workload is already called {wanted.name!r}; it differs in {', '.join(differing)}. "
        "Use another name, or stop and forget that one first"
    )


def check(workload: Workload) -> None:
    """Raises Reject with all that is wrong with it."""
    found = spec.faults(workload)
    try:
        msgspec.json.encode(workload)
    except (TypeError, ValueError) as error:
        found.append(f"document is not made of JSON types: {error}")
    if found:
        raise Reject(f"workload {workload.name!r} cannot be run:\n" + "\n".join(found))
