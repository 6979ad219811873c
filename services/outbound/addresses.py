"""Where a webhook may go: into the open Internet, and to networks that an operator allows; never elsewhere inside.

The name is resolved once, and what is checked is what is connected to: a name that answers differently the second
time (DNS rebinding) is never asked a second time.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Mapping, Sequence

from shared.settings import SettingsError

VARIABLE = "KUZNIA_WEBHOOKS_ALLOW"
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Sequence[str]]
_DOCUMENTATION = ipaddress.IPv6Network("3fff::/20")  # which this Python does not know yet
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Refused(Exception):
    """An address that is not to be spoken to; the message says why and what would allow it."""


def allowed_networks(environ: Mapping[str, str]) -> tuple[Network, ...]:
    """KUZNIA_WEBHOOKS_ALLOW: networks such as `10.1.0.0/16, 127.0.0.1`. Raises SettingsError, a line a fault."""
    networks, faults = [], []
    for text in environ.get(VARIABLE, "").replace(",", " ").split():
        try:
            networks.append(ipaddress.ip_network(text))
        except ValueError as error:
            faults.append(f"{VARIABLE} holds {text!r}, which is no network: {error}")
    if faults:
        raise SettingsError("\n".join(faults))
    return tuple(networks)


def choose(host: str, port: int, allowed: Sequence[Network], resolve: Resolve) -> tuple[Address, bool]:
    """An address of the host that may be spoken to, and whether it is in an allowed network.

    Raises Refused where there is none, OSError where the name is not known.
    """
    addresses = [ipaddress.ip_address(text) for text in resolve(host, port)]
    for address in addresses:
        if any(_in(seen, network) for seen in (address, _inner(address)) for network in allowed):
            return address, True
        if open_to_all(address):
            return address, False
    shown = ", ".join(str(address) for address in addresses) or "nothing"
    raise Refused(
        f"{host} is {shown}, which is not in the open Internet:"
        f" {VARIABLE} names networks inside to which webhooks may go"
    )


def open_to_all(address: Address) -> bool:
    """Whether it is globally routed; one that stands for an IPv4 address, by that."""
    seen = _inner(address)
    local = isinstance(seen, ipaddress.IPv6Address) and (seen.is_site_local or seen in _DOCUMENTATION)
    return seen.is_global and not (seen.is_multicast or seen.is_reserved or local)


def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """The host's addresses, in the system's order of preference. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def _inner(address: Address) -> Address:
    """The IPv4 address inside a mapped, 6to4, Teredo or NAT64 one; else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo or address


def _in(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network
