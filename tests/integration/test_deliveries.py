"""Deliveries: the same push many times, none at all, forged, replayed, too large."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration import ends
from tests.integration.deliveries import ZERO, body, post
from tests.integration.ends import Sent
from tests.integration.installation import Installation
from tests.integration.repository import Repository

pytestmark = pytest.mark.slow
TIMES = 5


@pytest.mark.parametrize("same", [True, False], ids=["one delivery id", "five delivery ids"])
def test_delivered_five_times_at_once(installation: Installation, repository: Repository, same: bool) -> None:
    installation.up()
    repository.write()
    commit = repository.commit()
    (repository.bare / "hooks" / "post-receive").unlink()
    repository.push()
    deliveries = ["d-1"] * TIMES if same else [str(uuid.uuid4()) for _ in range(TIMES)]
    with ThreadPoolExecutor(TIMES) as pool:
        told = list(pool.map(lambda delivery: post(installation, body(commit), delivery), deliveries))
    assert [status for status, _ in told] == [202] * TIMES, told
    ends.check(installation, Sent(run=repository.run()))
    received = installation.events("push-received")
    assert len(received) == (1 if same else TIMES)
    assert len(installation.ports.store.list("runs")) == 1


def test_a_push_while_the_platform_is_down_is_found(
    installation: Installation, repository: Repository
) -> None:
    installation.up()
    installation.kill()
    repository.write()
    repository.commit()
    assert "will be found when the platform is up" in repository.push()
    installation.up()
    ends.check(installation, Sent(run=repository.run()))


def test_refused_deliveries(installation: Installation, repository: Repository) -> None:
    """Each is told what is wrong with it, and none of them starts anything."""
    installation.options["KUZNIA_MAX_BODY_BYTES"] = "4096"
    installation.up()
    repository.write()
    commit = repository.commit()
    wrong = post(installation, body(commit), "d-1", "sha256=" + "0" * 64)
    assert (wrong[0], "same secret" in wrong[1]["error"]) == (401, True)
    long = post(installation, body(commit, padding="x" * 5000), "d-2")
    assert (long[0], "limit is 4096" in long[1]["error"]) == (413, True)
    stranger = post(installation, body(commit, repository={"full_name": "other"}), "d-3")
    assert (stranger[0], "kuznia hook install" in stranger[1]["error"]) == (404, True)
    garbage = post(installation, body(commit, ref=7), "d-4")
    assert (garbage[0], "no push payload" in garbage[1]["error"]) == (400, True)
    tag = post(installation, body(commit, ref="refs/tags/v1"), "d-5")
    assert (tag[0], "no branch" in tag[1]["ignored"]) == (200, True)
    assert installation.events() == []


def test_a_replayed_delivery(installation: Installation, repository: Repository) -> None:
    """The same delivery again is the same event; its id under another push is refused."""
    installation.up()
    ends.check(installation, Sent(run=repository.send()))
    commit = repository.git("rev-parse", "HEAD").strip()
    first, again = (post(installation, body(commit), "d-1") for _ in range(2))
    assert (first[1]["duplicate"], again[1]["duplicate"]) == (False, True)
    assert first[1]["accepted"] == again[1]["accepted"]
    status, told = post(installation, body(ZERO, before=commit), "d-1")
    assert (status, "already used for another push" in told["error"]) == (409, True)
    ends.settle(installation)
    assert len(installation.events("training-started")) == 1
