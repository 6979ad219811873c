"""Webhooks go into the open Internet, or where an operator allows; by no disguise anywhere else."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from services.outbound.addresses import Refused, allowed_networks, choose
from shared.settings import SettingsError

INSIDE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "192.0.2.1", "198.18.0.1", "203.0.113.9", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::", "2002:c0a8:101::", "fe80::1%eth0", "fec0::1", "3fff::1", "64:ff9b:1::a00:1", "::10.0.0.1",
]  # fmt: skip
OUTSIDE = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", INSIDE)
def test_inside(address: str):
    with pytest.raises(Refused, match="KUZNIA_WEBHOOKS_ALLOW"):
        choose("hooks.example", 443, (), lambda _host, _port: [address])


@pytest.mark.parametrize("address", OUTSIDE)
def test_outside(address: str):
    chosen, inside = choose("hooks.example", 443, (), lambda _host, _port: [address])
    assert (chosen, inside) == (ip_address(address), False)


def test_of_several_the_first_that_is_open():
    chosen, _ = choose("h", 443, (), lambda _host, _port: ["10.0.0.1", "8.8.8.8", "1.1.1.1"])
    assert str(chosen) == "8.8.8.8"


@pytest.mark.parametrize(
    ("allow", "address", "allowed"),
    [
        ("10.1.0.0/16", "10.1.2.3", True), ("10.1.0.0/16", "10.2.0.1", False), ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False), ("fd00::/8", "fd12::1", True), ("10.0.0.0/8 fd00::/8", "10.9.9.9", True),
        ("10.0.0.0/8", "::ffff:10.0.0.1", True), ("::/0", "10.0.0.1", False),
    ],
)  # fmt: skip
def test_allowed_networks(allow: str, address: str, allowed: bool):
    networks = allowed_networks({"KUZNIA_WEBHOOKS_ALLOW": allow})
    if allowed:
        assert choose("h", 1, networks, lambda _host, _port: [address])[1] is True
    else:
        with pytest.raises(Refused):
            choose("h", 1, networks, lambda _host, _port: [address])


def test_nothing_is_allowed_where_nothing_is_set():
    assert allowed_networks({}) == ()


def test_all_that_is_no_network_is_told():
    with pytest.raises(SettingsError, match=r"10\.0\.0\.1/8(.|\n)*nonsense"):
        allowed_networks({"KUZNIA_WEBHOOKS_ALLOW": "10.0.0.1/8, nonsense 127.0.0.1"})


def test_no_address_at_all():
    with pytest.raises(Refused, match="h is nothing"):
        choose("h", 1, (), lambda _host, _port: [])
