"""What killed processes left half uploaded goes, in whichever store, and a store that refuses stops nobody."""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from pathlib import Path

import pytest

from shared.errors import Retry
from shared.local.artifacts import DirectoryArtifacts
from shared.storage.cleaning import Cleaner
from shared.storage.open import open_artifacts
from tests.memory import ManualClock

DAY = 24 * 3600


class Counting:
    def __init__(self) -> None:
        self.asked: list[float] = []

    def sweep(self, now: float) -> int:
        self.asked.append(now)
        return 2


def test_at_once_and_then_once_a_day():
    clock, store = ManualClock(), Counting()
    cleaner = Cleaner(store, clock)
    assert [cleaner.clean(), cleaner.clean()] == [2, 0]
    clock.move(DAY - 1)
    assert cleaner.clean() == 0
    clock.move(1)
    assert cleaner.clean() == 2
    assert store.asked == [(clock.now() - timedelta(days=1)).timestamp(), clock.now().timestamp()]


def test_a_store_that_does_not_let_us_is_told_and_asked_the_next_day(caplog: pytest.LogCaptureFixture):
    class Refusing(Counting):
        def sweep(self, now: float) -> int:
            super().sweep(now)
            raise Retry("403")

    clock, store = ManualClock(), Refusing()
    cleaner = Cleaner(store, clock)
    with caplog.at_level(logging.WARNING):
        assert [cleaner.clean(), cleaner.clean()] == [0, 0]
    assert "could not be removed: 403" in caplog.text
    clock.move(DAY)
    cleaner.clean()
    assert len(store.asked) == 2


def test_a_folder(tmp_path: Path):
    store = DirectoryArtifacts(tmp_path)
    store.write("a/b", b"whole")
    clock = ManualClock()
    left = tmp_path / ".unfinished" / "of-a-killed-one"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"half")
    before = clock.now().timestamp() - 2 * DAY
    os.utime(left, (before, before))
    assert Cleaner(store, clock).clean() == 1
    assert store.list("") == ["a/b"]
    assert not left.exists()


def test_a_server_that_keeps_no_parts(artifactory: str):
    assert Cleaner(open_artifacts(artifactory), ManualClock()).clean() == 0


@pytest.mark.slow
def test_a_bucket_of_google(gcs: str):
    store = open_artifacts(f"{gcs}/cleaning")
    store.write("kept", b"whole")
    store._transport.put(f"cleaning/.unfinished/x/{0:016}", b"half", "")
    young, old = ManualClock(), ManualClock()
    old.move(400 * 365 * DAY)
    assert Cleaner(store, young).clean() == 0
    assert Cleaner(store, old).clean() == 1
    assert store.list("") == ["kept"]


@pytest.mark.slow
def test_a_bucket_of_s3(s3: str):
    """The fake says of every upload that it is old; those of others in the same bucket stay all the same."""
    store = open_artifacts(f"{s3}/cleaning")
    client = store._transport._client
    begun = [
        client.create_multipart_upload(Bucket="kuznia-test", Key=f"{name}/half")
        for name in ("cleaning", "others")
    ]
    assert Cleaner(store, ManualClock()).clean() == 1
    (left,) = client.list_multipart_uploads(Bucket="kuznia-test")["Uploads"]
    assert left["Key"] == "others/half"
    client.abort_multipart_upload(Bucket="kuznia-test", Key=left["Key"], UploadId=begun[1]["UploadId"])
