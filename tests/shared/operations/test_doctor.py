"""A healthy home has no finding; each thing that is broken has its own, with where and how to mend."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import msgspec
import pytest

from services.operations.checks import THOROUGH, USUAL, render_metrics
from services.operations.live import doctor_of
from shared.operations.doctor import examine, metrics
from shared.ports.bus import Query
from shared.ports.cluster import Status
from shared.record import Dead, Do, Record
from tests.services.chain import MODEL_ID
from tests.shared.operations.home import Home

LIVE = f"models/{MODEL_ID}@1.1.0"
RELEASE = f"releases/{MODEL_ID}"


def changed(home: Home, key: str, status: str = "", **data: object) -> Record:
    record = home.store.load(key)
    made = msgspec.structs.replace(record, status=status or record.status, data={**record.data, **data})
    home.overwrite(made)
    return made


def version(home: Home, name: str, **facts: object) -> dict[str, object]:
    versions = home.store.load(RELEASE).data["versions"]
    return {**versions, name: {**versions[name], **facts}}


def event_of(home: Home, name: str) -> str:
    return home.bus.log(Query(name=name))[0].event.id


def lose_decision(home: Home) -> None:
    home.execute("DELETE FROM decisions WHERE event = ?", event_of(home, "push-received"))


def lose_run(home: Home) -> None:
    home.execute("DELETE FROM records WHERE key = ?", home.store.list("runs")[0].key)


def lose_cause(home: Home) -> None:
    home.execute("DELETE FROM log WHERE id = ?", event_of(home, "push-received"))


def owe(home: Home) -> None:
    record = home.store.load(RELEASE)
    wish = Do(id="w", effect="stop", arguments={"release": "x"}, cause=record.inbox[0])
    home.store.commit(msgspec.structs.replace(record, outbox=(wish,)))


def owe_for_later(home: Home) -> None:
    record = home.store.load(RELEASE)
    later = home.clock.now() + timedelta(days=1)
    wish = Do(id="w", effect="stop", arguments={"release": "x"}, cause=record.inbox[0], not_before=later)
    home.store.commit(msgspec.structs.replace(record, outbox=(wish,)))


def bury(home: Home) -> None:
    home.operations.redeliver(event_of(home, "card-rendered"), "deployment")
    (delivery,) = home.bus.lease(1, 0)
    home.bus.bury(delivery, "a bug")


def die(home: Home) -> None:
    record = home.store.load(LIVE)
    home.store.commit(
        msgspec.structs.replace(record, dead=Dead(event=record.inbox[0], cause="x", at=home.clock.now()))
    )


def fail_often(home: Home) -> None:
    home.operations.redeliver(event_of(home, "card-rendered"), "deployment")
    home.execute("UPDATE deliveries SET attempts = 5, error = 'Retry: no'")


def train_on(home: Home) -> None:
    changed(home, home.store.list("runs")[0].key, status="TRAINING")


def wait_for_ever(home: Home) -> None:
    record = changed(
        home, RELEASE, rollout={"version": "1.0.0", "state": "held", "reason": "0 of 50 requests"}
    )
    long_ago = home.clock.now() - timedelta(days=2)
    home.overwrite(msgspec.structs.replace(record, updated_at=long_ago))


def lose_file(home: Home, path: str) -> None:
    home.ports.artifacts.delete(path)


def breakages() -> dict[str, tuple[str, Callable[[Home], object]]]:
    run = "sha256:" + "0" * 64
    return {
        "a push nobody decided": ("pushes", lose_decision),
        "a commit without a run": ("commits", lose_run),
        "a lost cause": ("causes", lose_cause),
        "an outbox that nobody drains": ("owing", owe),
        "a dead letter": ("dead", bury),
        "a dead record": ("dead", die),
        "a delivery that keeps failing": ("deliveries", fail_often),
        "a run whose job is over": ("runs", train_on),
        "an evaluation whose job is over": (
            "evaluations",
            lambda h: changed(h, f"evaluations/{MODEL_ID}@1.1.0", status="MEASURING", results={}),
        ),
        "an engine that never comes": (
            "starts",
            lambda h: changed(h, RELEASE, versions=version(h, "1.0.0", state="starting")),
        ),
        "two live versions": (
            "one-live",
            lambda h: changed(h, RELEASE, versions=version(h, "1.0.0", state="live")),
        ),
        "a live version that is none": ("one-live", lambda h: changed(h, RELEASE, live="")),
        "live without validation": (
            "gates",
            lambda h: changed(h, RELEASE, versions=version(h, "1.1.0", validated_digest=run)),
        ),
        "live without a card": (
            "gates",
            lambda h: changed(h, RELEASE, versions=version(h, "1.1.0", card_digest="")),
        ),
        "live without its approval": (
            "gates",
            lambda h: changed(h, RELEASE, versions=version(h, "1.1.0", approval_needed=True)),
        ),
        "a canary without a card": (
            "gates",
            lambda h: changed(
                h,
                RELEASE,
                weights={"1.1.0": 0.9, "1.0.0": 0.1},
                versions=version(h, "1.0.0", state="canary", card_digest=""),
            ),
        ),
        "shares that are not all": ("weights", lambda h: changed(h, RELEASE, weights={"1.1.0": 0.9})),
        "a canary that waits for ever": ("weights", wait_for_ever),
        "live, but not in the registry": ("registry", lambda h: changed(h, LIVE, status="VALIDATED")),
        "in the registry, but not live": (
            "registry",
            lambda h: changed(h, f"models/{MODEL_ID}@1.0.0", status="DEPLOYED"),
        ),
        "live with other weights than registered": (
            "registry",
            lambda h: changed(h, LIVE, manifest_digest=run),
        ),
        "weights that are gone": (
            "documents",
            lambda h: lose_file(h, h.store.load(LIVE).data["artifact"]["uri"]),
        ),
        "a card that was altered": (
            "documents",
            lambda h: h.ports.artifacts.write(h.store.load(LIVE).data["card_path"], b"# other"),
        ),
    }


def test_a_healthy_home_has_no_finding(home: Home) -> None:
    assert home.findings() == []
    assert examine(home.patient(), THOROUGH) == []


@pytest.mark.parametrize("name", breakages())
def test_what_is_broken_is_found(home: Home, name: str) -> None:
    check, damage = breakages()[name]
    damage(home)
    found = [finding for finding in home.findings() if finding.check == check]
    assert found, name
    assert all(finding.what and finding.where and finding.mend for finding in found)


@pytest.mark.parametrize("state", ["asleep", "starting"])
def test_what_sleeps_or_starts_again_is_live_all_the_same(home: Home, state: str) -> None:
    changed(home, RELEASE, versions=version(home, "1.1.0", state=state))
    assert [
        finding for finding in home.findings(workloads=[]) if finding.check in ("one-live", "engines")
    ] == []


def test_what_is_due_later_is_no_finding(home: Home) -> None:
    owe_for_later(home)
    assert home.findings() == []


def test_what_was_just_changed_is_no_finding_yet(home: Home) -> None:
    """Two records follow each other; in between is no fault."""
    now = home.clock.now()
    record = changed(home, LIVE, status="VALIDATED")
    home.overwrite(msgspec.structs.replace(record, updated_at=now))
    assert home.findings(now=now + timedelta(seconds=5)) == []
    assert home.findings(now=now + timedelta(seconds=500))


def test_an_engine_that_is_gone(home: Home) -> None:
    (finding,) = [f for f in home.findings(workloads=[]) if f.check == "engines"]
    assert finding.where == f"{MODEL_ID}@1.1.0"
    assert home.findings(workloads=[], up=False) == []
    assert home.findings(workloads=None) == []


def test_an_orphan(home: Home) -> None:
    stray = Status(name="train-r-gone", kind="job", phase="running", attempt=1, pid=7)
    (finding,) = home.findings(workloads=[*home.workloads(), stray])
    assert (finding.check, finding.where) == ("orphans", "train-r-gone")
    ended = msgspec.structs.replace(stray, phase="failed")
    assert home.findings(workloads=[*home.workloads(), ended]) == []


def test_a_quiet_run(home: Home) -> None:
    train_on(home)
    run = home.store.list("runs")[0]
    job = Status(name=run.data["job"], kind="job", phase="running", attempt=1)
    others = [status for status in home.workloads() if status.name != job.name]
    (finding,) = home.findings(workloads=[*others, job], now=home.clock.now() + timedelta(hours=3))
    assert "has said nothing for" in finding.what


def test_a_platform_that_is_down_is_the_advice(home: Home) -> None:
    owe(home)
    (finding,) = home.findings(up=False)
    assert finding.mend == "start the platform: `kuznia up`"


def test_deep_finds_what_the_log_does_not_say(home: Home) -> None:
    changed(home, LIVE, owner="somebody else")
    assert home.findings() == []
    (finding,) = examine(home.patient(), THOROUGH)
    assert (finding.check, finding.where) == ("rebuild", LIVE)
    assert "somebody else" in finding.what


def test_deep_looks_at_the_files_of_every_version(home: Home) -> None:
    lose_file(home, home.store.load(f"models/{MODEL_ID}@1.0.0").data["card_path"])
    assert home.findings() == []
    (finding,) = examine(home.patient(), THOROUGH)
    assert "is gone" in finding.what


def test_metrics_say_zero_too(home: Home) -> None:
    bury(home)
    text = render_metrics(home.patient())
    assert 'kuznia_doctor_findings{check="dead"} 1\n' in text
    assert 'kuznia_doctor_findings{check="orphans"} 0\n' in text
    assert text.count("kuznia_doctor_findings{") == len(USUAL)
    assert "# TYPE kuznia_doctor_findings gauge\n" in text


def test_metrics_of_a_check_that_was_not_asked_for() -> None:
    assert metrics([], ["a"], 0.5).endswith("kuznia_doctor_seconds 0.500000\n")


def test_of_a_running_platform(home: Home) -> None:
    """As the console's `/metrics` asks: the cluster is asked each time."""
    cluster = Cluster()
    examine_now = doctor_of(home.local, cluster)
    assert 'kuznia_doctor_findings{check="orphans"} 0' in examine_now()
    cluster.statuses = [Status(name="train-r-gone", kind="job", phase="running", attempt=1)]
    assert 'kuznia_doctor_findings{check="orphans"} 1' in examine_now()


class Cluster:
    """The part of a cluster that is looked at."""

    def __init__(self) -> None:
        self.statuses: list[Status] = []

    def list(self) -> list[Status]:
        return self.statuses
