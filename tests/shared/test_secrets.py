"""Secrets: made once, kept in files that only their owner reads."""

from __future__ import annotations

import stat
from pathlib import Path

from shared.secrets import ensure_webhook_secret, webhook_secret


def test_made_once_and_kept(tmp_path: Path):
    made = ensure_webhook_secret(tmp_path, "org/repo")
    assert len(made) == 64
    assert ensure_webhook_secret(tmp_path, "org/repo") == made == webhook_secret(tmp_path, "org/repo")


def test_each_repository_has_its_own(tmp_path: Path):
    names = ["org/repo", "org-repo", "org.repo", "ORG/repo"]
    assert len({ensure_webhook_secret(tmp_path, name) for name in names}) == len(names)


def test_a_given_one_replaces_what_was_there(tmp_path: Path):
    ensure_webhook_secret(tmp_path, "org/repo")
    assert ensure_webhook_secret(tmp_path, "org/repo", "żółw") == "żółw".encode()
    assert webhook_secret(tmp_path, "org/repo") == "żółw".encode()


def test_of_an_unknown_repository_there_is_none(tmp_path: Path):
    ensure_webhook_secret(tmp_path, "org/repo")
    for name in ("org/other", "", "../../etc/passwd", "org/repo/../repo"):
        assert webhook_secret(tmp_path, name) == b""


def test_only_their_owner_reads_them(tmp_path: Path):
    ensure_webhook_secret(tmp_path / "home", "org/repo")
    folder = tmp_path / "home" / "secrets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()] == [0o600]
