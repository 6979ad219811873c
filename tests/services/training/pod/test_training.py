"""The training pod with the real trainer: to the end, killed, stopped, and with what it finds broken."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.training.pod.main import perform
from services.training.pod.run import Document
from shared.podkit import manifests
from tests.shared.podkit.world import CONFIG, MODEL, PodWorld, alive, wait_for

MODULE = "services.training.pod"
RUN = f"tenants/{MODEL.tenant}/runs/{MODEL.run_id}"
LONG = {**CONFIG, "max_steps": 400, "save_steps": 40, "save_total_limit": 3}


def steps_logged(text: str) -> list[int]:
    lines = [json.loads(line) for line in text.splitlines()]
    return [line["current_steps"] for line in lines if "loss" in line]


def stored_steps(world: PodWorld) -> list[int]:
    paths = [path for path in world.artifacts.list(f"{RUN}/checkpoints") if path.endswith("manifest.json")]
    return sorted(int(path.split("/step-")[1].split("/")[0]) for path in paths)


def train(world: PodWorld, config: dict[str, Any], attempt: int = 1, **more: Any) -> int:
    document = msgspec.convert(
        world.training_document(config, work_dir=str(world.root / "work"), **more), Document
    )
    return perform(document, attempt, world.ports)


@pytest.mark.trainer
@pytest.mark.slow
def test_a_commit_becomes_registered_weights(warm_world: PodWorld) -> None:
    world = warm_world
    assert train(world, CONFIG) == 0

    finals = [event for event in world.said("checkpoint-written") if event.data["final"]]
    assert [event.data["step"] for event in world.said("checkpoint-written")] == [5, 10, 15, 15]
    artifact = finals[0].data["artifact"]
    prefix = manifests.store_path(world.artifacts, artifact["uri"])
    loaded = manifests.load(world.artifacts, prefix)
    assert loaded is not None
    manifest, digest = loaded
    assert digest == artifact["manifest_digest"]
    assert manifests.faults(world.artifacts, prefix, manifest) == []
    names = {file.path for file in manifest.files}
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json"} <= names
    assert not names & {"README.md", "optimizer.pt", "training_args.bin", "trainer_log.jsonl"}
    adapter = json.loads(world.artifacts.read(f"{prefix}/adapter_config.json"))
    assert adapter["base_model_name_or_path"] == CONFIG["model_name_or_path"]

    (finished,) = world.said("training-finished")
    assert finished.data["outcome"] == "succeeded"
    assert finished.data["metrics"]["train_loss"] > 0
    assert finished.data["runtime"]["steps"] == "15"
    assert steps_logged(world.artifacts.read(f"{RUN}/trainer_log.jsonl").decode()) == list(range(1, 16))
    assert (world.root / "work" / "experiment" / "train.json").stat().st_mode & 0o222 == 0

    known = {event.id for event in world.events}
    assert train(world, CONFIG, attempt=2) == 0
    assert {event.id for event in world.events} == known, "a repeat says nothing new"


@pytest.mark.trainer
@pytest.mark.slow
def test_warm_and_cold_make_the_same_weights(tmp_path: Path, cache: Path, warm_home: Path) -> None:
    digests = []
    for name, home in (("warm", warm_home), ("cold", None)):
        world = PodWorld(tmp_path / name, cache, home)
        config = {**CONFIG, "save_steps": 100}
        assert train(world, config, run_id=f"r-same-{name}") == 0
        (finished,) = world.said("training-finished")
        assert finished.data["runtime"]["start"] == name
        loaded = manifests.load(world.artifacts, f"tenants/{MODEL.tenant}/runs/r-same-{name}/final")
        assert loaded is not None
        digests.append({file.path: file.digest for file in loaded[0].files})
    assert digests[0] == digests[1]


@pytest.mark.trainer
@pytest.mark.slow
def test_a_killed_pod_goes_on_from_the_newest_whole_checkpoint(either_world: tuple[str, PodWorld]) -> None:
    """kill -9; then the newest checkpoint is cut short on disk and in the store: the one before is taken."""
    start, world = either_world
    run_id = f"r-killed-{start}"
    work = world.root / "work"
    document = world.training_document(LONG, run_id=run_id, work_dir=str(work))
    prefix = f"tenants/{MODEL.tenant}/runs/{run_id}/checkpoints"
    pod = world.start(MODULE, document)

    def second() -> bool:
        return pod.poll() is not None or f"{prefix}/step-80/manifest.json" in world.artifacts.list(prefix)

    wait_for("a second checkpoint", second)
    pod.kill()
    assert pod.wait() == -signal.SIGKILL, world.log()
    (child,) = world.children()
    wait_for("the trainer's end", lambda: not alive(child), 20)

    newest = max(int(path.name.split("-")[1]) for path in (work / "output").glob("checkpoint-*"))
    for path in (work / "output").glob("checkpoint-*"):
        if int(path.name.split("-")[1]) > 40:
            (path / "optimizer.pt").write_bytes((path / "optimizer.pt").read_bytes()[:100])
    for path in world.artifacts.list(prefix):
        if path.endswith("optimizer.pt") and "/step-40/" not in path:
            world.artifacts.write(path, b"damaged")

    assert newest >= 80
    pod = world.start(MODULE, document, attempt=2)
    assert pod.wait(180) == 0, world.log()
    log = world.artifacts.read(f"tenants/{MODEL.tenant}/runs/{run_id}/trainer_log.jsonl").decode()
    assert steps_logged(log) == list(range(1, 401)), "no step is missing, none is there twice"
    said = [event for event in world.on_the_bus() if event.data.get("run_id") == run_id]
    finished = [event for event in said if event.name == "training-finished"]
    assert [(event.data["attempt"], event.data["outcome"]) for event in finished] == [(2, "succeeded")]
    assert finished[0].data["runtime"]["resumed_from"] == "40"
    finals = [event for event in said if event.name == "checkpoint-written" and event.data["final"]]
    assert len(finals) == 1


@pytest.mark.trainer
@pytest.mark.slow
def test_sigterm_saves_where_it_stands(either_world: tuple[str, PodWorld]) -> None:
    start, world = either_world
    run_id = f"r-stopped-{start}"
    work = world.root / "work"
    config = {**LONG, "save_steps": 10_000, "max_steps": 5_000}
    document = world.training_document(config, run_id=run_id, work_dir=str(work))
    pod = world.start(MODULE, document)
    log = work / "output" / "trainer_log.jsonl"
    wait_for("some steps", lambda: pod.poll() is not None or (log.exists() and len(log.read_text()) > 1000))
    pod.send_signal(signal.SIGTERM)
    assert pod.wait(60) == 75, world.log()
    (saved,) = [
        event
        for event in world.on_the_bus()
        if event.name == "checkpoint-written" and event.data["run_id"] == run_id
    ]
    assert saved.data["step"] >= 5
    assert not saved.data["final"]
    (finished,) = [
        event
        for event in world.on_the_bus()
        if event.name == "training-finished" and event.data["run_id"] == run_id
    ]
    assert finished.data["outcome"] == "preempted"
    assert world.artifacts.list(f"tenants/{MODEL.tenant}/runs/{run_id}/final") == []

    # Another machine, which has nothing but the store.
    elsewhere = {**document, "work_dir": str(world.root / "elsewhere")}
    elsewhere["origin"]["config"] = {**config, "max_steps": saved.data["step"] + 5}
    pod = world.start(MODULE, elsewhere, attempt=2)
    assert pod.wait(120) == 0, world.log()
    again = world.artifacts.read(f"tenants/{MODEL.tenant}/runs/{run_id}/trainer_log.jsonl").decode()
    assert not (world.root / "elsewhere" / "output").exists(), "what lies in the store is not kept twice"
    assert steps_logged(again) == list(range(1, saved.data["step"] + 6))


@pytest.mark.trainer
@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"dataset": "absent"}, "data set absent is not in dataset_info.json"),
        ({"template": "no-such"}, "template no-such does not exist"),
        ({"no_such_key": 1}, "no_such_key"),
    ],
)
def test_what_the_trainer_refuses_is_said_in_words(
    warm_world: PodWorld, change: dict[str, Any], cause: str
) -> None:
    assert train(warm_world, {**CONFIG, **change}, run_id=f"r-refused-{next(iter(change))}") == 1
    (finished,) = warm_world.said("training-finished")
    assert finished.data["outcome"] == "failed"
    assert cause in finished.data["cause"]


@pytest.mark.trainer
def test_what_cannot_be_fetched_fails_at_once(world: PodWorld) -> None:
    document = world.training_document(CONFIG)
    document["origin"]["source"]["commit"] = "0" * 40
    assert perform(msgspec.convert(document, Document), 1, world.ports) == 1
    assert "is not in" in world.said("training-finished")[0].data["cause"]
    pin = msgspec.json.decode(world.artifacts.read(f"{RUN}/base.json"))
    assert pin["name"] == CONFIG["model_name_or_path"], "which base model it is was found out, and kept"
    assert pin["digest"].startswith("sha256:")

    document = world.training_document({**CONFIG, "model_name_or_path": "no/such-model"})
    assert perform(msgspec.convert(document, Document), 2, world.ports) == 1
    assert (
        "base model no/such-model is not on this machine" in world.said("training-finished")[1].data["cause"]
    )


@pytest.mark.trainer
@pytest.mark.slow
def test_a_trainer_killed_for_memory_is_said_so(warm_world: PodWorld) -> None:
    import os  # noqa: PLC0415
    import threading  # noqa: PLC0415

    run_id, work = "r-oom", warm_world.root / "work"
    children = warm_world.root / "children"
    os.environ["KUZNIA_CHILDREN"] = str(children)
    try:
        killer = threading.Thread(
            target=lambda: (
                wait_for("a trainer", (work / "output" / "trainer_log.jsonl").exists),
                os.kill(warm_world.children()[-1], signal.SIGKILL),
            )
        )
        killer.start()
        assert train(warm_world, {**LONG, "max_steps": 5000}, run_id=run_id) == 1
        killer.join()
    finally:
        del os.environ["KUZNIA_CHILDREN"]
    assert "out of memory?" in warm_world.said("training-finished")[0].data["cause"]


@pytest.mark.trainer
@pytest.mark.slow
def test_two_processes_train_one_model(world: PodWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on two GPUs, with gloo; the folder's path has a space, which LLaMA-Factory's own launcher cannot take."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MASTER_PORT", str(probe.getsockname()[1]))
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    world.root = world.root / "with a space"
    config = {**CONFIG, "ddp_backend": "gloo", "max_steps": 6, "save_steps": 3}
    assert train(world, config, resources={"gpus": 2, "nodes": 1}) == 0
    assert [event.data["step"] for event in world.said("checkpoint-written")] == [3, 6, 6]
    (finished,) = world.said("training-finished")
    assert finished.data["outcome"] == "succeeded"
    assert finished.data["metrics"]["epoch"] == 3.0, (
        "six rows are two steps of two processes, not three of one"
    )
