"""Experiments that must not run, or cannot: each ends with a state and a cause that says what to mend."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration import ends, processes
from tests.integration.installation import Installation
from tests.integration.repository import Repository, model_id

pytestmark = pytest.mark.slow
KEY = f"{model_id()}@1.0.0"


def test_paths_that_leave_the_experiment(installation: Installation, repository: Repository) -> None:
    """A link to a file of this machine, and a data set above the folder: both are told, nothing is read."""
    installation.up()
    folder = repository.write()
    (folder / "eval.json").unlink()
    (folder / "eval.json").symlink_to("/etc/passwd")
    info = {"train": {"file_name": "../../../../etc/passwd"}}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    repository.commit()
    repository.push()
    record = installation.wait_status(f"runs/{repository.run()}", "REJECTED")
    faults = "\n".join(record.data["faults"])
    assert "eval.json" in faults
    assert "symbolic link" in faults
    assert "../../../../etc/passwd" in faults
    assert ends.workloads(installation) == []


def test_a_tree_with_a_way_out(installation: Installation, repository: Repository) -> None:
    """Git takes a tree with an entry called `..` if it is made by hand; we do not."""
    installation.up()
    repository.write()
    repository.commit()
    entries = repository.git("ls-tree", "HEAD:experiments/qa").splitlines()
    raw = b"".join(_raw(line) for line in [*entries, entries[0].rpartition("\t")[0] + "\t.."])
    path = repository.work.parent / "tree"
    path.write_bytes(raw)
    tree = repository.git("hash-object", "-t", "tree", "-w", "--literally", str(path)).strip()
    for folder in ("qa", "experiments"):
        path.write_bytes(_raw(f"040000 tree {tree}\t{folder}"))
        tree = repository.git("hash-object", "-t", "tree", "-w", "--literally", str(path)).strip()
    commit = repository.git("commit-tree", tree, "-m", "a way out").strip()
    repository.git("push", "origin", f"{commit}:refs/heads/main")
    run = installation.wait("the run", lambda: installation.ports.store.list("runs"))[0]
    assert run.status == "REJECTED", run
    assert ".." in "\n".join(run.data["faults"])
    ends.settle(installation)
    assert ends.workloads(installation) == []


def _raw(line: str) -> bytes:
    """An entry as Git stores it."""
    head, _, name = line.partition("\t")
    mode, _, identifier = head.split()
    return f"{mode.lstrip('0')} {name}\0".encode() + bytes.fromhex(identifier)


def test_more_memory_than_allowed(installation: Installation, repository: Repository) -> None:
    installation.options |= {"STANDIN_ALLOCATE_MB": "800", "STANDIN_STEP_SECONDS": "1"}
    installation.up()
    run = repository.send(manifest={"resources": {"memory_gb": 0.25}})
    record = installation.wait_status(f"runs/{run}", "FAILED")
    assert "OutOfMemory" in record.data["cause"]
    assert "its limit is 256 MiB" in record.data["cause"]
    _nothing_registered(installation)


def test_a_trainer_that_is_killed(installation: Installation, repository: Repository) -> None:
    """As the kernel does it to whom it chose when memory ran out."""
    installation.options["STANDIN_DIE_AT"] = "3"
    installation.up()
    run = repository.send()
    record = installation.wait_status(f"runs/{run}", "FAILED")
    assert "the trainer was killed: out of memory?" in record.data["cause"]
    assert "resources.memory_gb" in record.data["cause"]
    _nothing_registered(installation)


def test_a_pod_that_is_killed_again_and_again(installation: Installation, repository: Repository) -> None:
    installation.options["STANDIN_STEP_SECONDS"] = "5"
    installation.up()
    run = repository.send()
    killed: set[int] = set()

    def over() -> bool:
        for pid in _pods(installation) - killed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        return installation.record(f"runs/{run}").status not in {"", "QUEUED", "TRAINING"}

    installation.wait("the cluster gives up", over)
    record = installation.wait_status(f"runs/{run}", "FAILED")
    assert "killed by SIGKILL" in record.data["cause"]
    assert len(killed) == 4, "it was started again three times"
    _nothing_registered(installation)


def _pods(installation: Installation) -> set[int]:
    """Training pods: not the shells around them, which have the module's name in their command line as well."""
    found = set()
    for pid in processes.of(installation.home):
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if words[1:3] == [b"-m", b"services.training.pod"]:
                found.add(pid)
    return found


def test_an_engine_that_never_gets_ready(installation: Installation, repository: Repository) -> None:
    installation.options |= {"STANDIN_NEVER_READY": "1", "KUZNIA_READY_SECONDS": "2"}
    installation.up()
    repository.send()
    failed = installation.wait("it is told", lambda: installation.events("deployment-failed"))[0]
    assert "NotReady: /docs did not answer 200 within 2 s" in failed.data["cause"]
    told = "deployment_failure"
    record = installation.wait("the record", lambda: installation.record(f"models/{KEY}").data.get(told))
    assert "NotReady" in record["cause"]
    ends.settle(installation)
    assert installation.record(f"models/{KEY}").status == "VALIDATED"
    assert installation.events("model-deployed") == []


def test_an_engine_that_dies(installation: Installation, repository: Repository) -> None:
    installation.options["STANDIN_ENGINE_DIES"] = "1"
    installation.up()
    repository.send()
    failed = installation.wait("it is told", lambda: installation.events("deployment-failed"))[0]
    assert "the stand-in was told to die" in failed.data["cause"]
    ends.settle(installation)
    assert installation.record(f"models/{KEY}").status == "VALIDATED"


def _nothing_registered(installation: Installation) -> None:
    ends.settle(installation)
    assert installation.events("model-registered") == []
    assert installation.ports.store.list("models") == []
    assert ends.dead(installation) == []
