"""What is promised of every accepted push: one run, one record, one release, each said once; and it answers."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec
import openai

from shared.local.cluster.process_cluster import ProcessCluster
from shared.ports.bus import Query
from shared.ports.cluster import Status
from tests.integration.installation import Installation
from tests.integration.repository import ANSWER, QUESTION, model_id

ONCE = ("training-started", "model-registered", "model-validated", "card-rendered", "model-deployed")


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A push of one version of one experiment, and the run that follows from it."""

    run: str
    name: str = "qa"
    version: str = "1.0.0"

    @property
    def key(self) -> str:
        """Of its version: `<model_id>@<version>`."""
        return f"{model_id(self.name)}@{self.version}"


def settle(installation: Installation, seconds: float = 150) -> None:
    """Until nothing is under way: no delivery, nothing owed, no job that still runs.

    seconds: how long it may be that nothing is said before it counts as stuck; a backlog takes what it takes.
    """
    seen = 0
    while news := _later(installation, seen, seconds):
        seen = news


def _later(installation: Installation, seen: int, seconds: float) -> int:
    """The position of the newest event once there is one after `seen`; 0 once all is quiet."""

    def quiet_or_news() -> tuple[int] | None:
        if _quiet(installation):
            return (0,)
        logged = installation.ports.bus.log(Query(after=seen, limit=1_000_000))
        return (logged[-1].position,) if logged else None

    (news,) = installation.wait("all is quiet", quiet_or_news, seconds)
    time.sleep(0.1 if news else 0)  # what waits must not keep the machine from what it waits for
    return news


def _quiet(installation: Installation) -> bool:
    ports = installation.ports
    jobs = {status.phase for status in workloads(installation) if status.kind == "job"}
    return (
        not {"pending", "running"} & jobs
        and ports.bus.pending() == 0
        and not ports.store.owing(before=datetime.now(UTC))
    )


def workloads(installation: Installation) -> list[Status]:
    """Everything that the cluster was ever asked for."""
    clock = installation.ports.clock
    return list(ProcessCluster(installation.settings.cluster, lambda _: None, {}, clock).list())


def faults(installation: Installation, sent: Sent, *, live: bool = True) -> list[str]:
    """What is not as promised, a line each. live: it is the version that is to answer."""
    found = [*_run_faults(installation, sent), *_event_faults(installation, sent)]
    record = installation.record(f"models/{sent.key}")
    if record.data.get("run_id") != sent.run:
        found.append(f"{sent.key} is registered by run {record.data.get('run_id')}")
    if live and record.status != "DEPLOYED":
        found.append(f"{sent.key} is {record.status}")
    release = installation.record(f"releases/{model_id(sent.name)}").data
    alive = [name for name, version in release.get("versions", {}).items() if version["state"] == "live"]
    if live and (release.get("live") != sent.version or alive != [sent.version]):
        found.append(
            f"live of {model_id(sent.name)} is {release.get('live')!r}, and in state live are {alive}"
        )
    return found


def engine_faults(installation: Installation, names: set[str]) -> list[str]:
    """Models without exactly one engine that is ready, once the old ones are drained."""
    ready = Counter(
        status.name.removeprefix("serve-").rsplit("-v1-", 1)[0]
        for status in workloads(installation)
        if status.kind == "server" and status.phase in {"pending", "running", "ready"}
    )
    wanted = {f"team-x-{name}": 1 for name in names}
    return [] if dict(ready) == wanted else [f"engines: {dict(ready)}, and should be {wanted}"]


def dead(installation: Installation) -> list[str]:
    """Dead letters and dead records, a line each."""
    letters = [f"{d.service} {d.event.name}: {d.cause}" for d in installation.ports.bus.dead_letters()]
    kinds = ("branches", "runs", "models", "evaluations", "cards", "releases")
    records = [record for kind in kinds for record in installation.ports.store.list(kind) if record.dead]
    return letters + [f"{record.key}: {record.dead.cause}" for record in records if record.dead]


def check(installation: Installation, sent: Sent) -> None:
    """That a push has its one end, and that the model answers what it was taught."""
    installation.wait_status(f"models/{sent.key}", "DEPLOYED")
    settle(installation)
    found = [*faults(installation, sent), *dead(installation)]
    assert not found, "\n".join([*found, installation.story()])
    answers(installation, sent.name)


def answers(installation: Installation, name: str = "qa") -> None:
    """Wait until the gateway gives the answer that the model was taught; an engine may just be starting."""
    with client(installation) as asking:

        def answered() -> bool:
            try:
                return ask(asking, name) == ANSWER
            except openai.APIError:
                return False

        installation.wait(f"{name} answers", answered)


def client(installation: Installation) -> openai.OpenAI:
    """The official client, at the gateway."""
    return openai.OpenAI(
        base_url=f"{installation.endpoints.gateway}/v1",
        api_key=installation.token(),
        max_retries=0,
        timeout=20,
    )


def ask(asking: openai.OpenAI, name: str = "qa", question: str = QUESTION) -> str:
    """The answer to a question."""
    found = asking.chat.completions.create(
        model=model_id(name), messages=[{"role": "user", "content": question}]
    )
    return (found.choices[0].message.content or "").strip()


def _run_faults(installation: Installation, sent: Sent) -> list[str]:
    record = installation.record(f"runs/{sent.run}")
    found = [] if record.status == "SUCCEEDED" else [f"{record.key} is {record.status}: {record.data}"]
    jobs = [status.name for status in workloads(installation) if sent.run in status.name]
    wanted = [f"{kind}-{sent.run}" for kind in ("eval-base", "eval-tuned", "train")]
    return found if sorted(jobs) == wanted else [*found, f"jobs of {sent.run}: {sorted(jobs)}"]


def _event_faults(installation: Installation, sent: Sent) -> list[str]:
    subjects = {f"runs/{sent.run}", f"models/{sent.key}"}
    ours = [event for event in installation.events() if event.subject in subjects]
    said = Counter(event.name for event in ours if event.data.get("reason", "") == "")
    found = [f"{name} of {sent.key} was said {said[name]} times" for name in ONCE if said[name] != 1]
    finals = [_outcome(event.data) for event in ours if event.name == "training-finished"]
    if finals != ["succeeded"]:
        found.append(f"the ends of {sent.run} that were told: {finals}")
    weights = [event for event in ours if event.name == "checkpoint-written" and event.data["final"]]
    if len(weights) != 1:
        found.append(f"final weights of {sent.run} were told {len(weights)} times")
    return found


def _outcome(data: dict[str, Any]) -> str:
    return str(data["outcome"])
