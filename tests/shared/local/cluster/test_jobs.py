"""Jobs: how they end, and what is made of it."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from shared.errors import Reject, Retry
from shared.local.cluster import logs, supervisor
from shared.local.cluster.layout import Layout


class TestOwnVerdict:
    def test_a_job_succeeds(self, rig: Any) -> None:
        rig.run(rig.job(["say", "hello"]))
        status = rig.reached("job", "succeeded")
        assert (status.exit_code, status.reason, status.pid, status.kind) == (0, "", 0, "job")
        assert rig.story("job") == [("running", 1, ""), ("succeeded", 1, "")]

    def test_what_is_said_is_the_same_whoever_says_it(self, rig: Any) -> None:
        rig.run(rig.job())
        rig.reached("job", "succeeded")
        first = rig.said[0]
        assert (first.name, first.source, first.subject) == (
            "workload-changed",
            "/kuznia/cluster",
            "runs/r-1",
        )
        assert (first.traceparent, first.cause) == ("00-1-2-01", "e-1")
        assert first.data["service"] == "training"
        assert first.data["key"] == "runs/r-1"
        assert len({event.id for event in rig.said}) == 2

    def test_another_exit_code_is_a_failure_with_its_last_words(self, rig: Any) -> None:
        rig.run(rig.job(["say", "loss is nan"], ["leave", 3]))
        status = rig.reached("job", "failed")
        assert (status.exit_code, status.reason, status.attempt) == (3, "Error", 1)
        assert status.message == "loss is nan"
        assert rig.story("job") == [("running", 1, ""), ("failed", 1, "Error")]

    def test_a_silent_failure_still_says_something(self, rig: Any) -> None:
        rig.run(rig.job(["leave", 4]))
        assert "exit code 4" in rig.reached("job", "failed").message

    def test_a_module_that_is_not_there(self, rig: Any) -> None:
        workload = rig.job()
        rig.run(type(workload)(**{**_fields(workload), "module": "no_such_pod"}))
        assert "no_such_pod" in rig.reached("job", "failed").message


class TestRestarts:
    def test_a_killed_job_is_started_again(self, rig: Any) -> None:
        rig.run(rig.job(["on_attempt", 1, "die", signal.SIGKILL]))
        rig.reached("job", "succeeded", attempt=2)
        assert rig.story("job") == [("running", 1, ""), ("running", 2, "Killed"), ("succeeded", 2, "")]
        assert "SIGKILL" in next(event.data["message"] for event in rig.said if event.data["attempt"] == 2)

    def test_a_preempted_job_is_started_again(self, rig: Any) -> None:
        rig.run(rig.job(["on_attempt", 1, "leave", 75]))
        rig.reached("job", "succeeded", attempt=2)
        assert ("running", 2, "Preempted") in rig.story("job")

    def test_restarts_run_out(self, rig: Any) -> None:
        rig.run(rig.job(["say", "bang"], ["die", signal.SIGSEGV], restarts=1))
        status = rig.reached("job", "failed", attempt=2)
        assert (status.reason, status.exit_code) == ("Killed", 128 + signal.SIGSEGV)
        assert status.message.splitlines() == ["killed by SIGSEGV", "bang"]

    def test_a_wrapper_that_is_killed_takes_the_pod_with_it(self, rig: Any) -> None:
        rig.run(rig.job(["note", str(rig.folder / "pods")], ["on_attempt", 1, "sleep", 600]))
        first = int(rig.read("pods").split()[1])
        os.kill(rig.reached("job", "running").pid, signal.SIGKILL)
        rig.reached("job", "succeeded", attempt=2)
        assert rig.gone(first)
        assert ("running", 2, "Vanished") in rig.story("job")


class TestLimits:
    def test_too_much_memory(self, rig: Any) -> None:
        rig.run(rig.job(["allocate", 300], ["sleep", 600], memory_bytes=100 * 2**20))
        status = rig.reached("job", "failed")
        assert status.reason == "OutOfMemory"
        assert "its limit is 100 MiB" in status.message
        assert rig.story("job") == [("running", 1, ""), ("failed", 1, "OutOfMemory")]

    @pytest.mark.parametrize("kind", ["listed_child", "group_child"])
    def test_memory_of_helpers_counts(self, rig: Any, kind: str) -> None:
        rig.run(rig.job([kind, str(rig.folder / "helper")], ["sleep", 600], memory_bytes=80 * 2**20))
        assert rig.reached("job", "failed").reason == "OutOfMemory"
        assert rig.gone(int(rig.read("helper")))

    @pytest.mark.slow
    def test_shared_memory_counts_once(self, rig: Any) -> None:
        steps = ["share", 100, 3], ["note", str(rig.folder / "shared")], ["sleep", 3]
        rig.run(rig.job(*steps, memory_bytes=250 * 2**20))
        rig.reached("job", "succeeded")

    @pytest.mark.slow
    def test_a_job_past_its_deadline(self, rig: Any) -> None:
        rig.run(rig.job(["say", "step 1"], ["sleep", 600], deadline_seconds=3))
        status = rig.reached("job", "failed")
        assert status.reason == "DeadlineExceeded"
        assert status.message.startswith("it did not end within 3 s")
        assert status.message.endswith("step 1")

    @pytest.mark.slow
    def test_the_deadline_covers_all_attempts(self, rig: Any) -> None:
        rig.run(rig.job(["sleep", 1], ["die", signal.SIGKILL], deadline_seconds=2, restarts=1000))
        status = rig.until(lambda: (s := rig.cluster.status("job")).phase == "failed" and s)
        assert status.reason == "DeadlineExceeded"
        assert status.attempt > 1


class TestStop:
    def test_a_stop_asks_the_pod_alone_and_says_nothing(self, rig: Any) -> None:
        rig.run(
            rig.job(
                ["on_term", 0, str(rig.folder / "term")], ["note", str(rig.folder / "up")], ["sleep", 600]
            )
        )
        rig.read("up")
        rig.cluster.stop("job")
        status = rig.reached("job", "failed")
        assert (status.reason, status.exit_code) == ("Stopped", 0)
        assert rig.read("term") == rig.read("up")
        assert rig.story("job") == [("running", 1, "")]

    def test_a_stubborn_pod_is_killed_with_all_its_processes(self, rig: Any) -> None:
        kinds = ["listed_child", "unlisted_child", "group_child"]
        helpers = [[kind, str(rig.folder / kind)] for kind in kinds]
        rig.run(rig.job(["ignore_term"], *helpers, ["sleep", 600], grace_seconds=0.5))
        pids = [int(rig.read(kind)) for kind in kinds]
        rig.cluster.stop("job")
        assert rig.reached("job", "failed").exit_code == 128 + signal.SIGKILL
        for pid in pids:
            assert rig.gone(pid)

    def test_what_a_pod_leaves_behind_is_killed(self, rig: Any) -> None:
        kinds = ["listed_child", "unlisted_child"]
        rig.run(rig.job(*[[kind, str(rig.folder / kind)] for kind in kinds]))
        pids = [int(rig.read(kind)) for kind in kinds]
        rig.reached("job", "succeeded")
        for pid in pids:
            assert rig.gone(pid)

    def test_a_stop_before_the_start(self, rig: Any) -> None:
        rig.cluster.apply(rig.job(["note", str(rig.folder / "up")]))
        rig.cluster.stop("job")
        rig.cluster.start()
        assert rig.reached("job", "failed").reason == "Stopped"
        rig.cluster.apply(rig.job(["note", str(rig.folder / "up")]))
        assert not (rig.folder / "up").exists()
        assert rig.said == []


class TestSurroundings:
    def test_what_a_pod_sees(self, rig: Any) -> None:
        rig.run(rig.job(["environment", str(rig.folder / "seen")], ["sleep", 600]))
        seen = json.loads(rig.read("seen"))
        status = rig.reached("job", "running")
        attempt = rig.root / "job" / "attempt-1"
        assert seen["KUZNIA_POD"] == str(rig.root / "job" / "document.json")
        assert seen["KUZNIA_ATTEMPT"] == "1"
        assert seen["KUZNIA_CHILDREN"] == str(attempt / "children")
        assert seen["cwd"] == str(attempt)
        assert seen["sid"] == status.pid
        assert "HOME" not in seen

    def test_logs_keep_all_attempts(self, rig: Any) -> None:
        rig.run(rig.job(["say", "words"], ["on_attempt", 1, "die", signal.SIGKILL]))
        rig.reached("job", "succeeded", attempt=2)
        lines = rig.cluster.logs("job").splitlines()
        assert [line.split(",")[0] for line in lines] == [
            "=== attempt 1 of job", "words", "=== attempt 2 of job", "words",
        ]  # fmt: skip
        assert rig.cluster.logs("job", tail=1) == "words\n"

    def test_a_large_log_is_bounded(self, rig: Any) -> None:
        layout = Layout(rig.folder)
        layout.log.write_text("".join(f"line {number}\n" for number in range(1000)))
        assert not logs.rotate(layout, limit=10**6)
        assert logs.rotate(layout, limit=1000)
        with layout.log.open("a") as file:
            file.write("line 1000\nline 1001\n")
        assert logs.tail(layout, 3) == "line 999\nline 1000\nline 1001\n"
        assert logs.tail(layout, 0) == ""


class TestForget:
    def test_a_finished_one_can_be_forgotten(self, rig: Any) -> None:
        rig.run(rig.job())
        rig.reached("job", "succeeded")
        rig.until(lambda: _forgets(rig, "job"))
        rig.cluster.forget("job")
        assert rig.cluster.status("job") is None
        assert rig.cluster.list() == []
        assert [path.name for path in rig.root.iterdir()] == [".lock"]

    def test_a_running_one_cannot(self, rig: Any) -> None:
        rig.run(rig.job(["sleep", 600]))
        rig.reached("job", "running")
        with pytest.raises(Reject, match="stop it first"):
            rig.cluster.forget("job")


class TestTrouble:
    def test_what_could_not_be_said_is_said_later(self, rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(supervisor, "_TROUBLE_SECONDS", 0.05)
        rig.fault = Retry("the bus is down")
        rig.run(rig.job())
        rig.until(lambda: rig.cluster.status("job").phase == "succeeded")
        with pytest.raises(Retry, match="not yet said"):
            rig.cluster.forget("job")
        rig.fault = None
        rig.reached("job", "succeeded")
        assert rig.story("job") == [("running", 1, ""), ("succeeded", 1, "")]

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_a_dead_supervisor_is_told_and_the_next_one_goes_on(self, rig: Any) -> None:
        rig.fault = ZeroDivisionError("a fault of ours")
        rig.run(rig.job(["wait_for", str(rig.folder / "go")]))
        rig.until(lambda: not rig.cluster._supervisor.running)
        with pytest.raises(Retry, match="restart the platform"):
            rig.cluster.apply(rig.job(name="other"))
        rig.cluster.close(stop_workloads=True)
        rig.fault = None
        rig.again()
        (rig.folder / "go").touch()
        rig.reached("job", "succeeded")
        rig.reached("other", "succeeded")
        assert rig.story("job") == [("running", 1, ""), ("succeeded", 1, "")]

    def test_one_that_cannot_be_read_harms_nobody(self, rig: Any, caplog: pytest.LogCaptureFixture) -> None:
        rig.cluster.apply(rig.job(name="broken"))
        content = (rig.root / "broken" / "workload.json").read_bytes()
        (rig.root / "broken" / "workload.json").write_bytes(b"{")
        rig.run(rig.job())
        rig.reached("job", "succeeded")
        assert "broken cannot be read" in caplog.text
        (rig.root / "broken" / "workload.json").write_bytes(content)


def _fields(workload: Any) -> dict[str, Any]:
    return {field: getattr(workload, field) for field in workload.__struct_fields__}


def _forgets(rig: Any, name: str) -> bool:
    try:
        rig.cluster.forget(name)
    except Retry:
        return False
    return True
