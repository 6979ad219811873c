"""Settings: defaults, what the environment says, and every fault at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.settings import Settings, SettingsError, from_environment


def test_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    settings = from_environment({"HOME": "/home/ann"})
    assert settings == Settings(home=tmp_path / ".kuznia", cache=Path("/home/ann/.cache/kuznia"))
    assert settings.host == "127.0.0.1"
    assert settings.database == tmp_path / ".kuznia" / "kuznia.db"
    assert settings.artifacts == tmp_path / ".kuznia" / "artifacts"
    assert settings.cluster == tmp_path / ".kuznia" / "cluster"
    assert settings.models == Path("/home/ann/.cache/kuznia/models")


def test_all_that_can_be_set(tmp_path: Path):
    settings = from_environment(
        {
            "KUZNIA_HOME": str(tmp_path / "home"),
            "XDG_CACHE_HOME": "/var/cache",
            "KUZNIA_HOST": "::1",
            "KUZNIA_PORT": "0",
            "KUZNIA_GATEWAY_PORT": "9000",
            "KUZNIA_WARM": "no",
            "KUZNIA_MAX_ATTEMPTS": "3",
            "KUZNIA_LEASE_SECONDS": "1.5",
            "KUZNIA_RECONCILE_SECONDS": "0.5",
            "KUZNIA_MAX_BODY_BYTES": "1024",
        }
    )
    assert settings == Settings(
        home=tmp_path / "home",
        cache=Path("/var/cache/kuznia"),
        host="::1",
        port=0,
        gateway_port=9000,
        warm=False,
        max_attempts=3,
        lease_seconds=1.5,
        reconcile_seconds=0.5,
        max_body_bytes=1024,
    )


def test_what_is_empty_counts_as_unset(tmp_path: Path):
    environ = {"KUZNIA_HOME": "", "KUZNIA_HOST": "", "KUZNIA_PORT": "", "XDG_CACHE_HOME": "/c"}
    assert from_environment(environ) == from_environment({"XDG_CACHE_HOME": "/c"})


@pytest.mark.parametrize(
    ("text", "warm"), [("1", True), ("TRUE", True), ("yes", True), ("0", False), ("False", False)]
)
def test_flags(text: str, warm: bool):
    assert from_environment({"KUZNIA_WARM": text, "HOME": "/h"}).warm is warm


def test_every_fault_at_once_each_with_its_variable():
    environ = {
        "KUZNIA_PORT": "eight",
        "KUZNIA_GATEWAY_PORT": "-1",
        "KUZNIA_LEASE_SECONDS": "soon",
        "KUZNIA_WARM": "maybe",
        "HOME": "/h",
    }
    with pytest.raises(SettingsError) as raised:
        from_environment(environ)
    assert str(raised.value).splitlines() == [
        "KUZNIA_PORT is 'eight'; it should be a whole number",
        "KUZNIA_GATEWAY_PORT is -1; it should not be negative",
        "KUZNIA_LEASE_SECONDS is 'soon'; it should be a number",
        "KUZNIA_WARM is 'maybe'; it should be 1 or 0",
    ]


@pytest.mark.parametrize("text", ["nan", "inf", "1.5"])
def test_a_number_that_is_none_is_a_fault(text: str):
    variable = "KUZNIA_PORT" if text == "1.5" else "KUZNIA_LEASE_SECONDS"
    with pytest.raises(SettingsError, match=variable):
        from_environment({variable: text, "HOME": "/h"})


@pytest.mark.parametrize("port", ["65536", "100000"])
def test_a_port_beyond_the_last_is_a_fault(port: str):
    with pytest.raises(SettingsError, match=f"KUZNIA_PORT is {port}; .*65535"):
        from_environment({"KUZNIA_PORT": port, "HOME": "/h"})
