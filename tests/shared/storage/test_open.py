"""Which store a URL names, and what is wrong with one that names none."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import Reject
from shared.local.artifacts import DirectoryArtifacts
from shared.storage.artifactory import credentials
from shared.storage.open import open_artifacts


def test_a_folder(tmp_path: Path):
    artifacts = open_artifacts((tmp_path / "a b").as_uri())
    assert isinstance(artifacts, DirectoryArtifacts)
    artifacts.write("x", b"1")
    assert (tmp_path / "a b" / "x").read_bytes() == b"1"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("ftp://example.com/x", "names no artifact store; it should be like file:///"),
        ("artifacts", "names no artifact store"),
        ("file://folder", "three slashes"),
        ("artifactory://example.com/artifactory", "names no repository"),
        ("artifactory:///x", "names no repository"),
    ],
)
def test_what_is_wrong_is_told(url: str, told: str):
    with pytest.raises(Reject, match=told):
        open_artifacts(url)


@pytest.mark.parametrize(
    ("url", "uri"),
    [
        ("artifactory://a.jfrog.io/artifactory/models", "artifactory://a.jfrog.io/artifactory/models/x%20y"),
        ("artifactory://a.example/models/prod/", "artifactory://a.example/models/prod/x%20y"),
    ],
)
def test_how_a_file_is_named(url: str, uri: str):
    assert open_artifacts(url).uri("x y") == uri


@pytest.mark.parametrize(
    ("environ", "header"),
    [
        ({"JF_ACCESS_TOKEN": "t", "JF_USER": "u"}, "Bearer t"),
        ({"JFROG_CLI_ACCESS_TOKEN": "c"}, "Bearer c"),
        ({"JF_USER": "u", "JF_PASSWORD": "p"}, "Basic dTpw"),
    ],
)
def test_credentials_of_jfrogs_own_ways(environ: dict[str, str], header: str):
    assert credentials("a.example", environ) == {"Authorization": header}


def test_credentials_of_netrc_and_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert credentials("a.example", {}) == {}
    (tmp_path / ".netrc").write_text("machine a.example login u password p\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert credentials("a.example", {}) == {"Authorization": "Basic dTpw"}
