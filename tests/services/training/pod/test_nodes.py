"""Several nodes train one model: the first uploads and speaks, all stop together, none is blamed for another."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from services.training.pod import nodes
from services.training.pod.config import Places, compose
from services.training.pod.run import node_rank
from services.training.pod.upload import Uploader
from shared.errors import Reject, Retry
from shared.local.artifacts import DirectoryArtifacts
from shared.podkit import manifests
from shared.podkit.causes import explain
from shared.podkit.patience import Patience
from tests.shared.podkit.world import CONFIG, PodWorld, wait_for

MODULE = "services.training.pod"
PATIENCE = Patience(tries=1)
TORCHRUN = [
    "E1123 10:57:43.905000 26552 torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: {code}) local_rank: 0",
    "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ",
    "Root Cause (first observed failure):",
    "  exitcode  : {code} (pid: 4711)",
]


def torchrun(code: int, *before: str) -> list[str]:
    return [*before, *(line.format(code=code) for line in TORCHRUN)]


class TestHowATrainerEnded:
    def test_asked_on_any_node_all_leave_with_their_state_saved(self):
        assert nodes.stopped_together(torchrun(75))
        assert not nodes.stopped_together(torchrun(1))
        assert not nodes.stopped_together(torchrun(-9))

    @pytest.mark.parametrize(
        "line",
        [
            "RuntimeError: [../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.7]:1",
            "[rank1]: torch.distributed.DistBackendError: NCCL error in: ../ProcessGroupNCCL.cpp:2, ncclRemoteError: A call failed",
            "torch.distributed.DistNetworkError: Connection was reset by peer",
            "[rank0]:[E1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7)",
            "torch.distributed.elastic.rendezvous.api.RendezvousConnectionError: The connection has failed",
        ],
    )
    def test_it_could_not_go_on_without_the_others(self, line: str):
        told = nodes.without_report(torchrun(1, line))
        assert nodes.lost_peer(told) == line.removeprefix("[rank1]: ").removeprefix("[rank0]:")

    @pytest.mark.parametrize(
        "line",
        ["torch.OutOfMemoryError: CUDA out of memory.", "[rank0]: ValueError: Template x does not exist."],
    )
    def test_an_error_of_its_own_is_its_own(self, line: str):
        peers = "RuntimeError: Connection closed by peer"
        assert nodes.lost_peer(nodes.without_report(torchrun(1, line))) == ""
        assert nodes.lost_peer(nodes.without_report(torchrun(1, line, peers))) == ""

    def test_the_cause_is_the_trainer_s_and_not_torchrun_s(self):
        lines = torchrun(1, "step 1", "[rank0]: ValueError: Template x does not exist.")
        assert explain(1, nodes.without_report(lines)).startswith("template x does not exist: correct")


def test_a_rank_is_a_number():
    assert node_rank({}) == node_rank({"NODE_RANK": ""}) == 0
    assert node_rank({"NODE_RANK": "3"}) == 3
    with pytest.raises(Reject, match="NODE_RANK is 'x'"):
        node_rank({"NODE_RANK": "x"})


def test_each_node_keeps_what_it_needs_to_go_on(tmp_path: Path):
    (tmp_path / "data").mkdir()
    places = Places(folder=tmp_path, output=tmp_path, model="m", gpus=0, nodes=2)
    composed = compose({}, places)
    assert (composed["save_on_each_node"], composed["ddp_backend"]) == (True, "gloo")
    alone = compose({}, msgspec.structs.replace(places, nodes=1))
    assert not {"save_on_each_node", "ddp_backend"} & set(alone)
    assert "ddp_backend" not in compose({}, msgspec.structs.replace(places, gpus=1))


def test_the_first_node_s_name_is_waited_for():
    asked: list[int] = []
    nodes.await_first("127.0.0.1", lambda: asked.append(1))
    assert asked == []
    with pytest.raises(Retry, match=r"no\.such\.name\.invalid, was not known"):
        nodes.await_first("no.such.name.invalid", lambda: asked.append(1), seconds=0)
    assert asked == [1]


class Node:
    """One node of a run, as far as its uploads go: a disk of its own, a store that all share."""

    def __init__(self, root: Path, rank: int, count: int = 2, attempt: int = 1) -> None:
        self.said: list[Any] = []
        self.rank, self.nodes, self.leads, self.attempt = rank, count, rank == 0, attempt
        self.work = root / f"node-{rank}"
        self.output = self.work / "output"
        self.prefix = "tenants/team-x/runs/r-1"
        self.subject, self.base, self.base_name, self.makes_adapter = "runs/r-1", None, "m", True
        self.document = SimpleNamespace(job="train-r-1", run_id="r-1")
        self.trainer = SimpleNamespace(versions={})
        self.stopping = SimpleNamespace(overdue=False)
        self.ports = SimpleNamespace(artifacts=DirectoryArtifacts(root / "store"))
        self.voice = SimpleNamespace(say=lambda word, **_: self.said.append(word))

    @property
    def uploader(self) -> Uploader:
        return Uploader(self, PATIENCE)  # type: ignore[arg-type]

    def checkpoint(self, step: int) -> None:
        folder = self.output / f"checkpoint-{step}"
        (folder / "global_step").mkdir(parents=True)
        header = json.dumps({"x": {"data_offsets": [0, 0]}}).encode()
        (folder / "adapter_model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
        (folder / f"rng_state_{self.rank}.pth").write_bytes(b"rng%d" % self.rank)
        (folder / "global_step" / f"bf16_zero_pp_rank_{self.rank}_optim.pt").write_bytes(
            b"shard%d" % self.rank
        )
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))

    def stored(self, step: int) -> list[str] | None:
        store = self.ports.artifacts
        loaded = manifests.load(store, f"{self.prefix}/checkpoints/step-{step}")
        if loaded is None:
            return None
        assert manifests.faults(store, f"{self.prefix}/checkpoints/step-{step}", loaded[0]) == []
        return [file.path for file in loaded[0].files]


class TestACheckpointOfSeveralNodes:
    def test_is_whole_once_all_have_added_what_only_they_have(self, tmp_path: Path):
        first, second = Node(tmp_path, 0), Node(tmp_path, 1)
        for node in (first, second):
            node.checkpoint(5)
        leading = first.uploader
        leading.catch_up()
        assert (first.stored(5), first.said) == (None, [])
        second.uploader.catch_up()
        leading.catch_up()
        assert first.stored(5) == [
            "adapter_model.safetensors",
            "global_step/bf16_zero_pp_rank_0_optim.pt",
            "global_step/bf16_zero_pp_rank_1_optim.pt",
            "rng_state_0.pth",
            "rng_state_1.pth",
            "trainer_state.json",
        ]
        assert [(word.step, word.final) for word in first.said] == [(5, False)]
        assert second.said == []

    def test_what_an_earlier_start_left_does_not_count(self, tmp_path: Path):
        second = Node(tmp_path, 1, attempt=1)
        second.checkpoint(5)
        second.uploader.catch_up()
        first = Node(tmp_path, 0, attempt=2)
        first.checkpoint(5)
        leading = first.uploader
        leading.catch_up()
        assert first.stored(5) is None

    def test_it_is_held_while_the_trainer_rotates_it_away(self, tmp_path: Path):
        first, second = Node(tmp_path, 0), Node(tmp_path, 1)
        first.checkpoint(5)
        leading = first.uploader
        leading.catch_up()
        (first.output / "checkpoint-5").rename(tmp_path / "rotated")
        second.checkpoint(5)
        second.uploader.catch_up()
        leading.catch_up()
        assert first.stored(5) is not None

    def test_at_the_end_the_others_are_waited_for_but_not_for_ever(self, tmp_path: Path):
        first = Node(tmp_path, 0)
        first.checkpoint(5)
        leading = first.uploader
        leading.catch_up()
        leading.close(seconds=0.3)
        assert first.stored(5) is None
        first.stopping.overdue = True
        leading.close(seconds=600)

    def test_one_node_waits_for_nobody(self, tmp_path: Path):
        alone = Node(tmp_path, 0, count=1)
        alone.checkpoint(5)
        alone.uploader.catch_up()
        assert alone.stored(5) is not None

    @pytest.mark.parametrize("count", [1, 2])
    @pytest.mark.parametrize("away", ["store", "bus"])
    def test_what_could_not_be_brought_to_its_end_is_tried_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, away: str
    ):
        first = Node(tmp_path, 0, count)
        leading = first.uploader
        for node in (first, *(Node(tmp_path, rank, count) for rank in range(1, count))):
            node.checkpoint(5)
            if node is not first:
                node.uploader.catch_up()

        def gone(*_words: Any, **_more: Any) -> None:
            raise Retry("away")

        with monkeypatch.context() as patch:
            if away == "store":
                patch.setattr(first.ports.artifacts, "upload", gone)
            else:
                patch.setattr(first.voice, "say", gone)
            for _ in range(2):
                with pytest.raises(Retry):
                    leading.catch_up()
        leading.catch_up()
        assert first.stored(5) is not None
        assert [word.step for word in first.said] == [5]
        leading.catch_up()
        assert len(first.said) == 1


@pytest.mark.trainer
@pytest.mark.slow
def test_two_nodes_are_stopped_by_one_and_go_on_together(tmp_path: Path, cache: Path) -> None:
    """The real trainer under torchrun, gloo between two pods; the second one is told to stop in the middle."""
    worlds = [PodWorld(tmp_path / f"node-{rank}", cache) for rank in (0, 1)]
    store = worlds[0].settings.artifacts
    worlds[1].root.mkdir(parents=True)
    store.mkdir(parents=True)
    worlds[1].settings.artifacts.parent.mkdir(parents=True)
    worlds[1].settings.artifacts.symlink_to(store)
    config = {**CONFIG, "max_steps": 30, "save_steps": 20}
    document = worlds[0].training_document(config, resources={"nodes": 2}, job="train-r")

    def start(attempt: int) -> list[Any]:
        env = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "GLOO_SOCKET_IFNAME": "lo"}
        return [
            world.start(
                MODULE, document | {"work_dir": str(world.root / f"work-{attempt}")}, attempt,
                **env, KUZNIA_RESTARTS=str(attempt - 1), NODE_RANK=str(rank),
            )
            for rank, world in enumerate(worlds)
        ]  # fmt: skip

    def said(name: str) -> list[dict[str, Any]]:
        return [event.data for event in worlds[0].on_the_bus() if event.name == name]

    try:
        pods = start(1)
        log = worlds[0].root / "work-1" / "output" / "trainer_log.jsonl"
        wait_for(
            "step 5",
            lambda: pods[0].poll() is not None or (log.exists() and '"current_steps": 5,' in log.read_text()),
            180,
        )
        assert pods[0].poll() is None, worlds[0].log()
        pods[1].send_signal(signal.SIGTERM)
        assert [pod.wait(60) for pod in pods] == [75, 75], worlds[0].log() + worlds[1].log()
        (checkpoint,) = said("checkpoint-written")
        assert 5 <= checkpoint["step"] < 20, "all stopped at the end of one step, and saved it"
        assert [end["outcome"] for end in said("training-finished")] == ["preempted"]

        pods = start(2)
        assert [pod.wait(240) for pod in pods] == [0, 0], worlds[0].log() + worlds[1].log()
        end = said("training-finished")[-1]
        assert (end["outcome"], end["runtime"]["resumed_from"]) == ("succeeded", str(checkpoint["step"]))
        assert end["runtime"]["device"].startswith("2 nodes, each ")
        assert worlds[1].on_the_bus() == [], "of several nodes only the first one speaks"
        prefix = manifests.store_path(worlds[0].artifacts, checkpoint["artifact"]["uri"])
        loaded = manifests.load(worlds[0].artifacts, prefix)
        assert loaded
        assert {"rng_state_0.pth", "rng_state_1.pth"} <= {file.path for file in loaded[0].files}
    finally:
        for world in worlds:
            world.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
