"""What follows from a push."""

from __future__ import annotations

import pytest

from events.push_received import PushReceived
from services.webhook import SERVICE
from services.webhook.decide import KEPT_PUSHES, NO_COMMIT
from tests.services.words import Hearing, wished

A, B, C = "a" * 40, "b" * 40, "c" * 40


def push(before: str, after: str, delivery: str = "d-1", branch: str = "main") -> PushReceived:
    return PushReceived(
        repository="org/repo",
        url="https://git.example/repo.git",
        branch=branch,
        before=before,
        after=after,
        delivery=delivery,
        pusher="ann",
    )


@pytest.fixture
def branch() -> Hearing:
    return Hearing(SERVICE, "branches/org/repo/main")


def since(decision: object) -> list[tuple[str, str]]:
    return [(arguments["before"], arguments["after"]) for _, arguments in wished(decision)]  # type: ignore[arg-type]


def test_a_push_is_remembered_and_inspected(branch: Hearing):
    decision = branch.hear(push(NO_COMMIT, A))
    assert [effect for effect, _ in wished(decision)] == ["inspect"]
    assert branch.status == "WATCHED"
    assert (branch.data["head"], branch.data["repository"], branch.data["branch"]) == (A, "org/repo", "main")
    (kept,) = branch.data["pushes"]
    assert (kept["delivery"], kept["before"], kept["after"], kept["pusher"]) == ("d-1", NO_COMMIT, A, "ann")


def test_what_is_new_is_new_against_the_head_that_was_known(branch: Hearing):
    assert since(branch.hear(push(NO_COMMIT, A))) == [(NO_COMMIT, A)]
    assert since(branch.hear(push(B, C))) == [(A, C)]  # the delivery of A..B never came
    assert since(branch.hear(push(C, A))) == [(C, A)]  # force push


def test_of_a_branch_first_heard_of_all_is_new(branch: Hearing):
    assert since(branch.hear(push(A, B))) == [(NO_COMMIT, B)]


def test_a_deleted_branch_asks_for_nothing_and_all_is_new_when_it_comes_back(branch: Hearing):
    branch.hear(push(NO_COMMIT, A))
    assert wished(branch.hear(push(A, NO_COMMIT))) == []
    assert branch.data["head"] == NO_COMMIT
    assert since(branch.hear(push(NO_COMMIT, B))) == [(NO_COMMIT, B)]


def test_only_the_last_pushes_are_remembered(branch: Hearing):
    for number in range(KEPT_PUSHES + 3):
        branch.hear(push(A, B, f"d-{number}"))
    kept = [entry["delivery"] for entry in branch.data["pushes"]]
    assert len(kept) == KEPT_PUSHES
    assert kept[-1] == f"d-{KEPT_PUSHES + 2}"


def test_other_events_are_none_of_its_business(branch: Hearing):
    event = branch.event(push(A, B))
    assert SERVICE.key(event) == "branches/org/repo/main"
    other = Hearing(SERVICE, "x").event(push(A, B))
    assert SERVICE.key(type(other)(**{**_fields(other), "name": "config-committed"})) is None


def _fields(event: object) -> dict[str, object]:
    return {name: getattr(event, name) for name in event.__struct_fields__}  # type: ignore[attr-defined]
