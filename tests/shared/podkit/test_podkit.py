"""The small parts that all pods share."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import msgspec
import pytest

from events.training_progressed import TrainingProgressed
from shared.errors import Reject, Retry
from shared.podkit import document
from shared.podkit.causes import explain
from shared.podkit.echo import Echo
from shared.podkit.locked import locked
from shared.podkit.machine import device_name, peak_memory, visible_gpus
from shared.podkit.patience import Patience
from shared.podkit.stopping import Preempted, Stopping
from shared.podkit.tail import Tail, last_lines
from shared.podkit.voice import Voice
from tests.shared.podkit.world import PodWorld, wait_for


class Told(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    count: int = 1


def test_a_document_is_read_or_its_fault_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pod.json"
    path.write_bytes(b'{"name": "x"}')
    assert document.read(Told, {"KUZNIA_POD": str(path)}) == Told(name="x")
    with pytest.raises(Reject, match="KUZNIA_POD is not set"):
        document.read(Told, {})
    with pytest.raises(Reject, match="cannot be read"):
        document.read(Told, {"KUZNIA_POD": str(tmp_path / "none")})
    path.write_bytes(b'{"name": 1}')
    with pytest.raises(Reject, match=r"Expected `str`.*\$\.name"):
        document.read(Told, {"KUZNIA_POD": str(path)})


def test_the_attempt_counts_from_one() -> None:
    assert document.attempt({}) == 1
    assert document.attempt({"KUZNIA_ATTEMPT": "3"}) == 3
    for text in ("0", "-1", "two"):
        with pytest.raises(Reject, match="KUZNIA_ATTEMPT"):
            document.attempt({"KUZNIA_ATTEMPT": text})


def test_patience_waits_longer_each_time_and_ends() -> None:
    slept: list[float] = []
    patience = Patience(tries=5, first=1, longest=3, sleep=slept.append)

    def never() -> None:
        raise Retry("the disk is full")

    with pytest.raises(Retry, match="the disk is full"):
        patience.insist("writing", never)
    assert slept == [1, 2, 3, 3]

    answers = iter([Retry("no", after=0.5), "yes"])

    def once_more() -> str:
        answer = next(answers)
        if isinstance(answer, Retry):
            raise answer
        return str(answer)

    slept.clear()
    assert patience.insist("writing", once_more) == "yes"
    assert slept == [0.5]


def test_the_same_words_are_the_same_event(world: PodWorld) -> None:
    voice = Voice(ports=world.ports, source="/kuznia/training", cause="cause-1", traceparent="00-a-b-01")
    said = TrainingProgressed(run_id="r-1", attempt=1, phase="training", step=3)
    first = voice.say(said, subject="runs/r-1", discriminator="1/3")
    again = voice.say(said, subject="runs/r-1", discriminator="1/3")
    other = voice.say(said, subject="runs/r-1", discriminator="2/3")
    assert first.id == again.id != other.id
    assert world.events == [first, again, other]
    assert (first.name, first.cause, first.traceparent) == ("training-progressed", "cause-1", "00-a-b-01")
    assert first.data["step"] == 3


def test_a_tail_gives_whole_lines_only(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = Tail(path)
    assert tail.lines() == []
    with path.open("ab", buffering=0) as file:
        file.write(b"one\nhalf of zw")
        assert tail.lines() == ["one"]
        file.write("ö"[:1].encode()[:1])  # half of a character
        assert tail.lines() == []
        file.write("ö".encode()[1:] + b"lf\n\n")
        assert tail.lines() == ["half of zwölf", ""]
    assert Tail(path, from_end=True).lines() == []


def test_last_lines_know_progress_bars(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert last_lines(path, 3) == []
    path.write_bytes(b"first\n\n 0%|\r 50%|\r100%| done\nError: no\n")
    assert last_lines(path, 2) == ["100%| done", "Error: no"]


def test_echo_leaves_the_noise_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"[INFO|x] config\n10%|#| 3/30 [00:01<00:09, 3.1it/s]\n\n\nloading\nError: no\n")
    Echo(path).follow()
    assert capsys.readouterr().out == "loading\nError: no\n"


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [(None, 2), ("", 0), ("-1", 0), ("1", 1), ("0,1", 2), ("0,1,2", 2), ("0,-1,1", 1)],
)
def test_gpus_are_those_that_a_trainer_would_see(tmp_path: Path, chosen: str | None, expected: int) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    environ = {} if chosen is None else {"CUDA_VISIBLE_DEVICES": chosen}
    assert visible_gpus(environ, tmp_path) == expected


def test_the_machine_has_a_name(tmp_path: Path) -> None:
    assert device_name(0).startswith("CPU (")
    folder = tmp_path / "driver" / "nvidia" / "gpus" / "0000:01:00.0"
    folder.mkdir(parents=True)
    (folder / "information").write_text("Model: \t\t NVIDIA L4\nIRQ: 1\n", encoding="utf-8")
    assert device_name(2, tmp_path) == "2 × NVIDIA L4"
    assert peak_memory(os.getpid()) > 1_000_000
    assert peak_memory(2**22 + 1) == 0


def test_sigterm_is_heard_and_handed_on() -> None:
    before = signal.getsignal(signal.SIGTERM)
    forwarded: list[str] = []
    try:
        stopping = Stopping(grace_seconds=0.05)
        stopping.check()
        stopping.forward(lambda: forwarded.append("first"))
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for("the signal", lambda: stopping.asked, 5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        assert forwarded == ["first"], "told once"
        stopping.forward(lambda: forwarded.append("late"))
        assert forwarded == ["first", "late"]
        with pytest.raises(Preempted):
            stopping.check()
        wait_for("the end of the grace", lambda: stopping.overdue, 5)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "lock"
    with locked(path, 0), pytest.raises(Retry, match="another process holds"), locked(path, 0.1):
        pytest.fail("held by two")
    with locked(path, 0):
        pass


@pytest.mark.parametrize(
    ("code", "lines", "said"),
    [
        (1, ["RuntimeError: CUDA out of memory. Tried to allocate"], "the GPU ran out of memory"),
        (1, ["OSError: [Errno 28] No space left on device"], "the disk is full"),
        (-9, ["step 3"], "the trainer was killed: out of memory?"),
        (137, [], "the trainer was killed: out of memory?"),
        (-11, ["x"], "died of signal 11 (SIGSEGV)"),
        (-99, ["x"], "died of signal 99 (unknown)"),
        (
            1,
            ["raise ValueError(f'Undefined dataset {n} in')", "ValueError: Undefined dataset a in x"],
            "data set a ",
        ),
        (1, ["ValueError: Template chatlm does not exist."], "template chatlm does not exist"),
        (1, ["ValueError: Some keys are not used by the HfArgumentParser: ['lr']"], "unknown keys: ['lr']"),
        (1, ["  deep", "KeyError: 'x'", "and more"], "KeyError: 'x'"),
        (3, ["nothing known"], "ended with exit code 3"),
        (3, [], "It printed nothing."),
    ],
)
def test_causes_say_what_to_do(code: int, lines: list[str], said: str) -> None:
    assert said in explain(code, lines)


def test_a_cause_ends_with_the_output(tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(100)] + ["[INFO|x] narration"]
    cause = explain(1, lines)
    assert "line 99" in cause
    assert "line 79" not in cause
    assert "narration" not in cause
