"""What stands in the forge of most tests."""

from __future__ import annotations

from events.envelope import Event
from tests.services.console.world import COMMIT, World

RUN, RUNNING, REFUSED = "r-00000000000000a1", "r-00000000000000b2", "r-00000000000000c3"
QA = "team-x.llm-qa.v1"


def fill(world: World) -> None:
    """Two tenants; a live version, an older one, one being trained, a refused run and a dead letter."""
    committed = world.run(RUN, QA, "1.0.0", 48)
    world.put(
        f"runs/{RUN}", "SUCCEEDED", metrics={"train_loss": 0.21}, finished_at=world.now.isoformat(), cause=""
    )
    world.model(QA, "1.0.0", RUN)
    registered = world.say("model-registered", f"models/{QA}@1.0.0", {"metrics": {}}, committed.id)
    world.carry_to_deployed(QA, "1.0.0")
    world.say("model-deployed", f"models/{QA}@1.0.0", {"version": "1.0.0"}, registered.id)
    world.model(QA, "1.1.0", RUN)
    world.carry_to_deployed(QA, "1.1.0")
    world.put(
        f"models/{QA}@1.0.0",
        "DEPRECATED",
        deprecation={
            "by": "deployment",
            "reason": "1.1.0 took over",
            "successor": "1.1.0",
            "at": world.now.isoformat(),
        },
    )
    world.release(QA, "1.1.0", "1.0.0")
    world.model("team-y.sorter.v0", "4f1c2d3e4f1c", RUN, risk_class="HIGH_RISK", approval_needed=True)
    world.run(RUNNING, QA, "1.2.0", 21)
    source = {"repository": "experiments", "experiment": "broken", "commit": COMMIT}
    world.say("config-committed", f"runs/{REFUSED}", {"run_id": REFUSED})
    faults = [
        "config.yaml: learning_rat: no such key; did you mean learning_rate?",
        "model.yaml: owner is missing",
    ]
    world.put(f"runs/{REFUSED}", "REJECTED", run_id=REFUSED, source=source, faults=faults, cause="2 fault(s)")
    event = Event(
        id="of another/system",
        name="push-received",
        source="/elsewhere",
        subject="branches/experiments/main",
        time=world.now,
        data={"text": "<script>alert(3)</script>"},
    )
    world.bury("webhook", event, "Reject: the repository <is> not connected")
