"""A home on disk, filled by the real services; only the cluster is played, and the clock moves by hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from events.catalog import encode, name_of
from events.envelope import Event
from events.push_received import PushReceived
from services.discovery import discover
from services.operations.checks import USUAL
from shared.delivery import handle, sweep
from shared.hosts.driver import Driver
from shared.identity import event_id
from shared.local import LocalPorts, open_ports
from shared.operations.dead import Ward
from shared.operations.doctor import Finding, Patient, examine
from shared.ports.cluster import Status
from shared.ports.operations import Note
from shared.record import Do, Record
from shared.service import Ports
from shared.settings import Settings
from tests.memory import ManualClock
from tests.services.chain import FakeCluster, Pods, committed, experiment

ATTEMPTS = 3
CHAIN = ("webhook", "training", "registration", "validation", "cards", "deployment")
BEGUN = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Home:
    """Ports, services and pods of one home. It has what `tests.services.chain.FakeCluster` wants of a world."""

    def __init__(self, path: Path, pods: Pods | None = None, begun: datetime = BEGUN) -> None:
        self.path = path
        self.pods = pods or Pods()
        self.clock = ManualClock(begun)
        self.settings = Settings(home=path, cache=path / "cache")
        self.local: LocalPorts = open_ports(self.settings)
        self.store, self.bus, self.operations = self.local.store, self.local.bus, self.local.operations
        self.services = {name: discover()[name] for name in CHAIN}
        self.cluster = FakeCluster(self)  # type: ignore[arg-type]
        self.ports = Ports(
            store=self.store,
            artifacts=self.local.artifacts,
            cluster=self.cluster,
            clock=self.clock,
            settings=self.settings,
        )
        self.driver = Driver(self.services, self.ports, self.bus)
        for service in self.services.values():
            self.bus.subscribe(service.name, service.hears)
        self._said = 0

    def say(self, payload: Any, subject: str, source: str = "/kuznia/cli") -> Event:
        """Publish a payload; what pods and cluster say has the cause of their workload."""
        self._said += 1
        self.clock.move(0.25)
        name, cause = name_of(payload), ""
        if source in ("/kuznia/pod", "/kuznia/cluster"):
            cause = self._cause(payload, subject)
        event = Event(
            id=event_id(f"{source}/{self._said}", name, subject),
            name=name,
            source=source,
            subject=subject,
            time=self.clock.now(),
            data=encode(payload),
            traceparent=TRACE,
            cause=cause,
        )
        if name == "checkpoint-written":
            document = f"{payload.run_id}/{payload.step}".encode()
            self.ports.artifacts.create(f"{payload.artifact.uri}/manifest.json", document)
        self.bus.publish([event])
        return event

    def train(self, folder: Path, **edits: str) -> str:
        """Commit the example with these lines of its files changed, and let all come of it; the run's id."""
        self.clock.move(10)
        payload = committed(experiment(folder, **edits))
        push = self.say(_push(payload.source.commit), "branches/experiments/main", "/kuznia/webhook/github")
        event = Event(
            id=event_id(push.id, "config-committed", payload.run_id),
            name="config-committed",
            source="/kuznia/webhook",
            subject=f"runs/{payload.run_id}",
            time=self.clock.now(),
            data=encode(payload),
            traceparent=TRACE,
            cause=push.id,
        )
        self.bus.publish([event])
        self.pump()
        return payload.run_id

    def pump(self, until: Callable[[], bool] = lambda: False) -> None:
        """Handle deliveries, and what is delayed, until nothing is left to do, or until that has come true."""
        for _ in range(5000):
            if until():
                return
            deliveries = self.bus.lease(1, 0) or (self.bus.lease(1, 5) if self.bus.pending() else [])
            for delivery in deliveries:
                self.clock.move(0.01)
                if delivery.service in self.services:
                    self.driver.run(handle(self.services[delivery.service], delivery, ATTEMPTS))
                else:  # commands subscribe all services that there are
                    self.bus.ack(delivery)
            if not deliveries and not self._delayed():
                return
        raise AssertionError("something is still to be done")

    def close(self) -> None:
        self.local.close()

    @property
    def ward(self) -> Ward:
        return Ward(self.services, self.store, self.bus, self.operations)

    def note(self, action: str = "test", **detail: Any) -> Note:
        return Note(at=self.clock.now(), who="Ann", action=action, reason="because", detail=detail)

    def patient(self, **changes: Any) -> Patient:
        """As the doctor sees it, an hour later."""
        usual: dict[str, Any] = {
            "services": self.services,
            "store": self.store,
            "bus": self.bus,
            "operations": self.operations,
            "artifacts": self.ports.artifacts,
            "workloads": self.workloads(),
            "now": self.clock.now() + timedelta(hours=1),
        }
        return Patient(**{**usual, **changes})

    def findings(self, **changes: Any) -> list[Finding]:
        return examine(self.patient(**changes), USUAL)

    def workloads(self) -> list[Status]:
        """As they should be: jobs have ended well, and what is live is ready."""
        jobs = [run.data["job"] for run in self.store.list("runs") if "job" in run.data]
        servers = [
            version["release"]
            for release in self.store.list("releases")
            for version in release.data["versions"].values()
            if version["state"] == "live"
        ]
        return [
            *(Status(name=name, kind="job", phase="succeeded", attempt=1) for name in jobs),
            *(Status(name=name, kind="server", phase="ready", attempt=1) for name in servers),
        ]

    def overwrite(self, record: Record) -> None:
        """Write a record past every guard, as a fault of the disk or a wrong hand would."""
        self.local.database.write(
            lambda c: c.execute(
                "UPDATE records SET body = ?, status = ? WHERE key = ?",
                (msgspec.json.encode(record), record.status, record.key),
            )
        )

    def execute(self, sql: str, *parameters: object) -> None:
        """SQL past every port."""
        self.local.database.write(lambda connection: connection.execute(sql, parameters))

    def _cause(self, payload: Any, subject: str) -> str:
        for workload in reversed(self.cluster.applied.values()):
            if workload.key == subject or subject == f"workloads/{workload.name}":
                return str(workload.document.get("cause", ""))
        return ""

    def _delayed(self) -> bool:
        due = [
            intent.not_before
            for record in self.store.owing(before=self.clock.now() + timedelta(days=365))
            for intent in record.outbox
            if isinstance(intent, Do) and intent.not_before is not None
        ]
        if not due:
            return False
        self.clock.moment = max(self.clock.now(), min(due)) + timedelta(milliseconds=1)
        self.driver.run(sweep(self.services, 0))
        return True


def set_home(path: Path, monkeypatch: Any) -> None:
    """Let commands find this home."""
    monkeypatch.setenv("KUZNIA_HOME", str(path))
    monkeypatch.setenv("KUZNIA_USER", "Ann")
    for name in [
        name
        for name in os.environ
        if name.startswith("KUZNIA_") and name not in ("KUZNIA_HOME", "KUZNIA_USER")
    ]:
        monkeypatch.delenv(name)


def _push(commit: str) -> PushReceived:
    return PushReceived(
        repository="experiments",
        url="https://git.example/experiments.git",
        branch="main",
        before="0" * 40,
        after="0" * 40,  # a branch that is gone: nothing is fetched, but the push is decided
        delivery=commit,
    )
