"""Watches of the fake API server: replay, selectors, gaps, bookmarks; and its faults."""

from __future__ import annotations

import pytest

from shared.kubernetes.fake.failures import Failure
from shared.kubernetes.fake.faults import PlannedFaults
from shared.kubernetes.fake.server import LOST, REFUSED
from shared.kubernetes.fake.watching import Feed
from tests.shared.kubernetes.fake.requests import CONFIG_MAPS, Hands, config_map


@pytest.fixture
def hands() -> Hands:
    return Hands()


def watch(hands: Hands, revision: str = "", **query: str) -> Feed:
    answer = hands.ask("GET", CONFIG_MAPS, watch="1", resourceVersion=revision, **query)
    assert answer.feed, answer.body
    return answer.feed


def said(feed: Feed) -> list[tuple[str, str]]:
    return [(kind, obj["metadata"].get("name", "")) for kind, obj in feed.take()]


def test_it_tells_what_happened_since(hands: Hands):
    revision = hands.get(CONFIG_MAPS)["metadata"]["resourceVersion"]
    hands.create(CONFIG_MAPS, config_map("a"))
    feed = watch(hands, revision)
    hands.merge(f"{CONFIG_MAPS}/a", {"data": {"x": "1"}})
    hands.delete(f"{CONFIG_MAPS}/a")
    assert said(feed) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    assert said(feed) == []


def test_without_a_revision_it_begins_with_all_there_is(hands: Hands):
    hands.create(CONFIG_MAPS, config_map("a"))
    assert said(watch(hands)) == [("ADDED", "a")]
    feed = watch(hands, sendInitialEvents="true", allowWatchBookmarks="true")
    *_, (kind, last) = feed.take()
    assert (kind, last["metadata"]["annotations"]) == ("BOOKMARK", {"k8s.io/initial-events-end": "true"})
    assert feed.farewell()[0][0] == "BOOKMARK"


def test_what_comes_to_match_is_added_and_what_ceases_to_is_deleted(hands: Hands):
    revision = hands.get(CONFIG_MAPS)["metadata"]["resourceVersion"]
    feed = watch(hands, revision, labelSelector="x=1")
    hands.create(CONFIG_MAPS, config_map("a"))
    hands.merge(f"{CONFIG_MAPS}/a", {"metadata": {"labels": {"x": "1"}}})
    hands.merge(f"{CONFIG_MAPS}/a", {"metadata": {"labels": {"x": "2"}}})
    hands.create(
        "/api/v1/namespaces/kube-system/configmaps", {"metadata": {"name": "b", "labels": {"x": "1"}}}
    )
    assert said(feed) == [("ADDED", "a"), ("DELETED", "a")]


def test_what_was_compacted_is_gone(hands: Hands):
    revision = hands.get(CONFIG_MAPS)["metadata"]["resourceVersion"]
    feed = watch(hands, revision)
    hands.create(CONFIG_MAPS, config_map("a"))
    hands.cluster.compact()
    answer = hands.ask("GET", CONFIG_MAPS, watch="1", resourceVersion=revision)
    assert (answer.code, answer.body["reason"]) == (410, "Expired")
    with pytest.raises(Failure, match="too old resource version"):
        feed.take()
    now = hands.get(CONFIG_MAPS)["metadata"]["resourceVersion"]
    assert said(watch(hands, now)) == []


def test_only_so_much_is_kept():
    hands = Hands(keep_changes=5)
    revision = hands.get(CONFIG_MAPS)["metadata"]["resourceVersion"]
    for number in range(6):
        hands.create(CONFIG_MAPS, config_map(f"m-{number}"))
    assert hands.ask("GET", CONFIG_MAPS, watch="1", resourceVersion=revision).code == 410


class TestFaults:
    @pytest.fixture
    def faults(self, hands: Hands) -> PlannedFaults:
        planned = hands.cluster.server.faults = PlannedFaults()
        return planned

    def test_answers(self, hands: Hands, faults: PlannedFaults):
        for code in ("429", "500", "503", "403", "409"):
            faults.plan(code, "create", "configmaps")  # type: ignore[arg-type]
            answer = hands.ask("POST", CONFIG_MAPS, config_map())
            assert answer.code == int(code)
            assert answer.retry_after == (1 if code == "429" else 0)
        assert hands.get(CONFIG_MAPS)["items"] == []
        assert faults.left == 0

    def test_no_answer_before_and_after(self, hands: Hands, faults: PlannedFaults):
        faults.plan("refused", "create", "configmaps")
        assert hands.ask("POST", CONFIG_MAPS, config_map("a")).code == REFUSED
        faults.plan("lost", "create", "configmaps")
        assert hands.ask("POST", CONFIG_MAPS, config_map("b")).code == LOST
        assert [item["metadata"]["name"] for item in hands.get(CONFIG_MAPS)["items"]] == ["b"]

    def test_a_stale_list(self, hands: Hands, faults: PlannedFaults):
        hands.create(CONFIG_MAPS, config_map("a", x="old"))
        for number in range(19):
            hands.merge(f"{CONFIG_MAPS}/a", {"data": {"x": str(number)}})
        hands.create(CONFIG_MAPS, config_map("b"))
        faults.plan("stale", "list", "configmaps")
        stale = hands.get(CONFIG_MAPS)
        assert [(item["metadata"]["name"], item["data"]) for item in stale["items"]] == [("a", {"x": "old"})]
        assert len(said(watch(hands, stale["metadata"]["resourceVersion"]))) == 20, (
            "a watch goes on from there"
        )

    def test_gone_and_dropped_watches(self, hands: Hands, faults: PlannedFaults):
        faults.plan("gone", "watch", "configmaps")
        assert hands.ask("GET", CONFIG_MAPS, watch="1", resourceVersion="1").code == 410
        faults.plan("dropped", "watch", "configmaps")
        assert watch(hands, "1").dropped
