"""Which start of a run this is, by whoever counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.training.pod.attempts import attempt
from shared.errors import Reject
from shared.local.artifacts import DirectoryArtifacts


@pytest.fixture
def store(tmp_path: Path) -> DirectoryArtifacts:
    return DirectoryArtifacts(tmp_path)


def test_the_cluster_s_count_is_taken(store: DirectoryArtifacts):
    assert attempt(store, "runs/r-1", {"KUZNIA_ATTEMPT": "3", "KUZNIA_INSTANCE": "a"}) == 3
    assert attempt(store, "runs/r-1", {"KUZNIA_RESTARTS": "0"}) == 1
    assert attempt(store, "runs/r-1", {"KUZNIA_RESTARTS": "2", "KUZNIA_INSTANCE": "a"}) == 3
    assert attempt(store, "runs/r-1", {}) == 1
    assert list(store.list("")) == []
    with pytest.raises(Reject, match="KUZNIA_ATTEMPT is 'x'"):
        attempt(store, "runs/r-1", {"KUZNIA_ATTEMPT": "x"})


def test_where_nobody_counts_each_start_leaves_its_name(store: DirectoryArtifacts):
    started = [
        attempt(store, "runs/r-1", {"KUZNIA_INSTANCE": name}) for name in ("6f-a", "0c-b", "6f-a", "z")
    ]
    assert started == [1, 2, 1, 3]
    assert attempt(store, "runs/r-2", {"KUZNIA_INSTANCE": "6f-a"}) == 1
