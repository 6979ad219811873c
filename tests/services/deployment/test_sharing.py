"""Versions that share an engine: which do, what is said of them, and where they go without it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from events.adapter_dropped import AdapterDropped
from events.adapter_wanted import AdapterWanted
from events.deployment_failed import DeploymentFailed
from events.model_deployed import ModelDeployed
from events.model_registered import ModelRegistered
from events.rollback_requested import RollbackRequested
from services.deployment import SERVICE
from services.deployment.sharing import facts_of
from shared.ports.cluster import Cluster
from shared.record import Do
from shared.service import Decision, Ports
from tests.services.words import (
    CONFIG,
    MODEL_ID,
    Hearing,
    card,
    changed,
    origin,
    registered,
    said,
    validated,
    wished,
)

KEY = f"releases/{MODEL_ID}"
V1, V2 = "1.0.0", "1.1.0"
VLLM = {"deployment": {"engine": "vllm", "approval": "auto"}}


def tuned(version: str = V1, kind: str = "adapter", **config: Any) -> ModelRegistered:
    word = registered(version, **VLLM)
    whole = msgspec.structs.replace(origin(**VLLM), config={**CONFIG, **config})
    artifact = msgspec.structs.replace(word.artifact, kind=kind)
    return msgspec.structs.replace(word, origin=whole, artifact=artifact)


class Desk(Hearing):
    """The releases of one model whose versions share an engine."""

    def __init__(self) -> None:
        super().__init__(SERVICE, KEY)

    def version(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.data["versions"][name]
        return found

    def engine(self, name: str, phase: str, **facts: Any) -> Decision | None:
        return self.hear(changed(phase, self.version(name)["release"], "deployment", KEY, **facts))

    def live(self, name: str) -> Decision | None:
        self.hear(tuned(name))
        self.hear(validated(name))
        self.hear(card(name))
        return self.engine(name, "ready", address="127.0.0.1:41000")


@pytest.fixture
def desk() -> Desk:
    return Desk()


class TestWhichShare:
    def test_adapters_of_one_tenant_on_one_base(self):
        one, other = facts_of(tuned(V1)), facts_of(tuned(V2))
        assert one["shared"] == other["shared"]
        assert one["shared"].startswith("engine-team-x-")
        assert (one["engine_model"], one["max_rank"]) == (f"{MODEL_ID}@{V1}", 16)

    @pytest.mark.parametrize("rank", [1, 8, 16])
    def test_small_ranks_share_with_each_other(self, rank: int):
        assert facts_of(tuned(lora_rank=rank))["shared"] == facts_of(tuned())["shared"]

    @pytest.mark.parametrize("config", [{"lora_rank": 17}, {"template": "llama3"}])
    def test_others_have_another_engine(self, config: dict[str, Any]):
        assert facts_of(tuned(**config))["shared"] not in ("", facts_of(tuned())["shared"])

    @pytest.mark.parametrize("field", ["base_model", "base_revision", "base_digest"])
    def test_another_base_is_another_engine(self, field: str):
        word = tuned()
        other = msgspec.structs.replace(word.artifact, **{field: "other"})
        assert facts_of(msgspec.structs.replace(word, artifact=other))["shared"] != facts_of(word)["shared"]

    def test_another_tenant_is_another_engine(self):
        word = tuned()
        other = msgspec.structs.replace(word.model, tenant="team-y")
        assert facts_of(msgspec.structs.replace(word, model=other))["shared"] != facts_of(word)["shared"]

    @pytest.mark.parametrize(
        "config",
        [
            {"finetuning_type": "full"},
            {"use_dora": True},
            {"pissa_init": True},
            {"additional_target": "lm_head"},
            {"lora_rank": 513},
            {"lora_rank": "16"},
        ],
    )
    def test_what_is_more_than_an_adapter_has_a_server_of_its_own(self, config: dict[str, Any]):
        assert facts_of(tuned(**config)) == {"engine_model": f"{MODEL_ID}@{V1}", "shared": ""}

    def test_and_so_has_a_whole_model_and_every_model_of_the_other_engine(self):
        assert facts_of(tuned(kind="model"))["shared"] == ""
        assert facts_of(registered()) == {"engine_model": MODEL_ID, "shared": ""}


class TestItsLife:
    def test_it_is_wanted_in_the_engine_and_no_server_is_started(self, desk: Desk):
        decision = desk.hear(tuned())
        assert wished(decision) == []
        (word,) = said(decision)
        assert isinstance(word, AdapterWanted)
        assert (word.release, word.engine) == (desk.version(V1)["release"], desk.version(V1)["shared"])
        assert decision is not None
        assert decision.says[0].subject == f"engines/{word.engine}"

    def test_loaded_it_goes_through_the_same_gates(self, desk: Desk):
        desk.hear(tuned())
        assert said(desk.engine(V1, "ready", address="127.0.0.1:41000")) == []
        desk.hear(validated())
        (word,) = said(desk.hear(card()))
        assert isinstance(word, ModelDeployed)
        assert desk.version(V1)["address"] == "127.0.0.1:41000"

    def test_replaced_it_is_dropped_after_its_drain(self, desk: Desk):
        desk.live(V1)
        decision = desk.live(V2)
        ((effect, arguments),) = wished(decision)
        assert effect == "stop"
        assert arguments == {"release": desk.version(V1)["release"], "engine": desk.version(V1)["shared"]}
        (speech,) = perform("stop", arguments)
        assert speech.payload == AdapterDropped(engine=arguments["engine"], release=arguments["release"])
        assert speech.subject == f"engines/{arguments['engine']}"

    def test_rolled_back_to_it_is_wanted_again_under_a_new_release(self, desk: Desk):
        desk.live(V1)
        before = desk.version(V1)["release"]
        desk.live(V2)
        (word,) = said(desk.hear(RollbackRequested(model_id=MODEL_ID, version="", by="ben", reason="")))
        assert isinstance(word, AdapterWanted)
        assert word.release != before
        assert word.engine_model == f"{MODEL_ID}@{V1}", "what the engine calls it stays"


class TestWithoutItsEngine:
    @pytest.mark.parametrize("state", ["starting", "ready", "live"])
    def test_it_gets_a_server_of_its_own(self, desk: Desk, state: str):
        if state == "live":
            desk.live(V1)
        else:
            desk.hear(tuned())
        if state == "ready":
            desk.engine(V1, "ready", address="127.0.0.1:41000")
        assert desk.version(V1)["state"] == state
        lost = dict(desk.version(V1))
        decision = desk.engine(V1, "failed", reason="Refused", message="it does not fit")
        version = desk.version(V1)
        assert wished(decision) == [
            ("stop", {"release": lost["release"], "engine": lost["shared"]}),
            ("serve", {"version": V1, "release": version["release"]}),
        ]
        assert said(decision) == []
        assert (version["state"], version["shared"], version["address"]) == ("starting", "", "")
        assert version["own_because"] == "Refused: it does not fit"
        assert version["engine_model"] == lost["engine_model"]
        desk.engine(V1, "ready", address="127.0.0.1:42000")
        assert version_state(desk) == ("live" if state == "live" else "ready")

    def test_a_live_one_stays_live_meanwhile_so_that_it_answers_as_soon_as_it_can(self, desk: Desk):
        desk.live(V1)
        desk.engine(V1, "failed", reason="Killed", message="")
        assert desk.data["live"] == V1
        desk.engine(V1, "ready", address="127.0.0.1:42000")
        assert desk.version(V1)["address"] == "127.0.0.1:42000"

    def test_where_that_fails_too_it_has_failed(self, desk: Desk):
        desk.live(V1)
        desk.engine(V1, "failed", reason="Killed", message="")
        words = said(desk.engine(V1, "failed", reason="Error", message="rank 64 is too large"))
        assert isinstance(words[0], DeploymentFailed)
        assert "rank 64 is too large" in words[0].cause
        assert desk.data["live"] == ""

    def test_it_never_goes_back_to_the_engine_in_common(self, desk: Desk):
        desk.hear(tuned())
        lost = desk.version(V1)["release"]
        desk.engine(V1, "failed", reason="Refused", message="")
        assert desk.hear(changed("ready", lost, "deployment", KEY, address="127.0.0.1:1")) is None
        assert desk.version(V1)["shared"] == ""


def version_state(desk: Desk) -> str:
    return str(desk.version(V1)["state"])


def perform(effect: str, arguments: dict[str, Any]) -> Any:
    class Untouched:
        def stop(self, name: str) -> None:
            pytest.fail(f"{name} is no server")

    cluster: Cluster = Untouched()  # type: ignore[assignment]
    ports: Any = Ports(store=None, artifacts=None, cluster=cluster, clock=None, settings=None)  # type: ignore[arg-type]
    do = Do(id="do-1", effect=effect, arguments=arguments, cause="e-1")
    return SERVICE.effects(ports)[effect](do, None)  # type: ignore[arg-type]
