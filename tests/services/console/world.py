"""A forge of its own for a test: ports over a database, and words to fill it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from events.envelope import Event
from services.console.app import ConsolePorts
from shared.identity import content_digest, event_id
from shared.local.bus import SqliteBus
from shared.local.store import SqliteStore, open_database
from shared.record import Record
from shared.settings import Settings

DAWN = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
COMMIT = "4f1c2d3e" * 5
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CARD = b"""---
license: apache-2.0
tags: [team-x]
---
# team-x.llm-qa.v1

| field | value |
|---|---|
| owner | A & B |

<script>alert(1)</script> and [a bad link](javascript:alert(2)) and [a good one](https://example.org/risk).

![pixel](https://example.org/pixel.png)
"""
REPORT = b"# Evaluation\n\nThe tuned model answers **24 of 25**.\n"
LOG = "loading\n\x1b[32m 10%|#\x1b[0m\r 50%|#####\r100%|##########\n<b>done</b>\n"


class Files:
    """The reading half of an artifact store, in memory."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def read(self, path: str) -> bytes:
        if path not in self.content:
            raise FileNotFoundError(path)
        return self.content[path]

    def uri(self, path: str) -> str:
        return f"file:///store/{path}"


class Logs:
    """The reading half of a cluster."""

    def __init__(self) -> None:
        self.text: dict[str, str] = {}

    def logs(self, name: str, tail: int = 200) -> str:
        if name not in self.text:
            raise FileNotFoundError(name)
        return "".join(self.text[name].splitlines(keepends=True)[-tail:])


class World:
    """Ports over a database of its own, and words to fill them."""

    def __init__(self, home: Path) -> None:
        self.database = open_database(home / "kuznia.db")
        self.store = SqliteStore(self.database)
        self.bus = SqliteBus(self.database)
        self.files, self.cluster = Files(), Logs()
        self.ports = ConsolePorts(
            store=self.store,
            bus=self.bus,
            artifacts=self.files,
            cluster=self.cluster,
            settings=Settings(home=home, cache=home),
        )
        self.now = DAWN

    def put(self, key: str, status: str, **data: object) -> Record:
        """Write a record's next revision; what is not given stays."""
        old = self.store.load(key)
        self.now += timedelta(seconds=1)
        return self.store.commit(
            msgspec.structs.replace(
                old,
                status=status,
                data={**old.data, **data},
                created_at=old.created_at or self.now,
                updated_at=self.now,
            )
        )

    def say(self, name: str, subject: str, data: dict[str, object], cause: str = "") -> Event:
        """Publish an event."""
        self.now += timedelta(seconds=1)
        event = Event(
            id=event_id(cause or subject, name, self.now.isoformat()),
            name=name,
            source="/kuznia/test",
            subject=subject,
            time=self.now,
            data=data,
            traceparent=TRACE,
            cause=cause,
        )
        self.bus.publish([event])
        return event

    def bury(self, service: str, event: Event, cause: str) -> None:
        """Let a service give an event up."""
        self.bus.subscribe(service, [event.name])
        self.bus.publish([event])
        (delivery,) = self.bus.lease(1, 0)
        assert self.bus.bury(delivery, cause)

    def model(self, model_id: str, version: str, run_id: str, **more: object) -> Record:
        """A version that was trained."""
        fields = {
            "model_id": model_id,
            "version": version,
            "base_model": "HuggingFaceTB/SmolLM2-135M",
            "tenant": model_id.split(".", maxsplit=1)[0],
            "risk_class": "GENERAL_PURPOSE",
            "artifact_path": f"runs/{run_id}/final",
            "config_path": f"experiments/qa/config.yaml@{COMMIT}",
            "data_id": "forge-facts",
            "metrics": {"train_loss": 0.21},
            "owner": "lead of team-x",
            "ai_act_notes": "decision 12/2026",
            "run_id": run_id,
            "commit": COMMIT,
            "tree": "ab" * 20,
            "manifest_digest": "sha256:" + "1" * 64,
            "artifact": {"kind": "adapter", "size": 4096},
            "approval_needed": False,
            "approvals": [],
        }
        return self.put(f"models/{model_id}@{version}", "TRAINED", **{**fields, **more})

    def carry_to_deployed(self, model_id: str, version: str) -> None:
        """Validation, card and release of a version."""
        key = f"models/{model_id}@{version}"
        record = self.store.load(key)
        self.files.content[f"evaluations/{version}/report.md"] = REPORT
        self.files.content[f"cards/{version}/README.md"] = CARD
        self.files.content[f"cards/{version}/card.json"] = b'{"identification": {"model_id": "x"}}'
        validation = {
            "passed": True,
            "gates": [{"metric": "exact_match", "demand": ">= 0.8", "measured": 0.96, "passed": True}],
            "baseline": {"exact_match": 0.04},
            "report": f"evaluations/{version}/report.md",
            "report_digest": content_digest(REPORT),
            "at": self.now.isoformat(),
        }
        metrics = {**record.data["metrics"], "exact_match": 0.96}
        self.put(key, "VALIDATED", validation=validation, metrics=metrics)
        self.put(
            key,
            "VALIDATED",
            card_path=f"cards/{version}/README.md",
            card_document=f"cards/{version}/card.json",
            card_digest=content_digest(CARD),
            card_completeness=0.9,
            card_missing=["contact.incidents"],
        )
        self.put(key, "DEPLOYED", release=f"qa-{version}", deployed_at=self.now.isoformat())

    def release(self, model_id: str, live: str, previous: str = "") -> None:
        """What answers under a model's name."""
        gates = {"manifest_digest": "sha256:" + "1" * 64, "validated_digest": "sha256:" + "1" * 64}
        versions = {
            version: {
                "state": state,
                "address": "127.0.0.1:41000",
                "release": f"qa-{version}",
                "card_digest": content_digest(CARD),
                "approval_needed": False,
                **gates,
            }
            for version, state in ((live, "live"), (previous, "stopped"))
            if version
        }
        data = {
            "model_id": model_id,
            "tenant": model_id.split(".", maxsplit=1)[0],
            "live": live,
            "previous": previous,
        }
        self.put(f"releases/{model_id}", "ACTIVE", **data, versions=versions)

    def run(self, run_id: str, model_id: str, version: str, steps: int) -> Event:
        """A run under way; returns its first event."""
        key = f"runs/{run_id}"
        committed = self.say("config-committed", key, {"run_id": run_id})
        self.say("training-started", key, {"run_id": run_id}, committed.id)
        model = {
            "model_id": model_id,
            "version": version,
            "tenant": model_id.split(".", maxsplit=1)[0],
            "run_id": run_id,
        }
        source = {
            "repository": "experiments",
            "url": "file:///srv/git/experiments.git",
            "experiment": "qa",
            "commit": COMMIT,
            "tree": "ab" * 20,
            "branch": "main",
            "author": "somebody",
        }
        progress = {}
        for step in range(1, steps + 1):
            progress = {
                "run_id": run_id,
                "attempt": 1,
                "phase": "training",
                "step": step,
                "total_steps": 48,
                "loss": round(3.2 * 0.93**step, 4),
                "elapsed_seconds": step * 2.5,
                "eta_seconds": (48 - step) * 2.5,
            }
            self.say("training-progressed", key, progress, committed.id)
        self.put(
            key,
            "TRAINING",
            run_id=run_id,
            model=model,
            source=source,
            warnings=["warmup is longer than the training"],
            job=f"train-{run_id}",
            checkpoints=[{"step": 10, "uri": f"{key}/checkpoints/10", "digest": "sha256:" + "2" * 64}],
            started_at=self.now.isoformat(),
            progress={**progress, "at": self.now.isoformat()},
        )
        self.cluster.text[f"train-{run_id}"] = LOG
        return committed
