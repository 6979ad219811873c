"""The key between gateway and engines: derived, stable, private, made once whoever comes first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.engine_key import engine_key
from shared.errors import Reject


def test_each_release_has_its_own_key_and_keeps_it(tmp_path: Path):
    home = tmp_path / "home"
    first = engine_key(home, "serve-a")
    assert first == engine_key(home, "serve-a")
    assert len(first) == 64
    assert engine_key(home, "serve-b") != first
    assert engine_key(tmp_path / "elsewhere", "serve-a") != first
    assert (home / "engine.secret").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in home.iterdir()] == ["engine.secret"]


def test_many_who_come_first_agree(tmp_path: Path):
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(lambda _: engine_key(tmp_path, "serve-a"), range(64)))) == 1


def test_a_damaged_or_open_secret_is_refused(tmp_path: Path):
    engine_key(tmp_path, "serve-a")
    secret = tmp_path / "engine.secret"
    secret.chmod(0o644)
    with pytest.raises(Reject, match=r"can be read by others: `chmod 600 "):
        engine_key(tmp_path, "serve-a")
    secret.write_bytes(b"")
    with pytest.raises(Reject, match="holds 0 bytes where 32 belong"):
        engine_key(tmp_path, "serve-a")
