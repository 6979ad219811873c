"""One platform a home."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest

from services.lock import Endpoints, HomeLock, running
from shared.errors import Reject

HERE = Endpoints(pid=os.getpid(), console="http://127.0.0.1:1", gateway="http://127.0.0.1:2")


def test_a_second_one_is_refused_and_told_where_the_first_answers(tmp_path: Path) -> None:
    lock = HomeLock(tmp_path)
    lock.announce(HERE)
    with pytest.raises(Reject, match=r"already runs on .*console http://127.0.0.1:1.*KUZNIA_HOME"):
        HomeLock(tmp_path)
    lock.close()


def test_the_next_one_may_have_it(tmp_path: Path) -> None:
    HomeLock(tmp_path).close()
    lock = HomeLock(tmp_path)
    assert running(tmp_path) is None
    lock.close()


def test_it_is_running_from_the_announcement_to_the_end(tmp_path: Path) -> None:
    assert running(tmp_path) is None
    lock = HomeLock(tmp_path)
    assert running(tmp_path) is None
    lock.announce(HERE)
    assert running(tmp_path) == HERE
    lock.close()
    assert running(tmp_path) is None


def test_whoever_only_looks_keeps_nobody_out(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as looked_at:
        fcntl.flock(looked_at, fcntl.LOCK_SH)
        release = threading.Timer(0.1, lambda: fcntl.flock(looked_at, fcntl.LOCK_UN))
        release.start()
        HomeLock(tmp_path).close()
        release.join()
