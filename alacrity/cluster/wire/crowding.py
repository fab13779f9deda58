"""
The choice among connections that have not finished the handshake, when there are too many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address
from typing import TypeAlias

from alacrity.cluster.wire.link import Link
from alacrity.net.addresses import unmapped

Source: TypeAlias = tuple[str, str]
"""The network that one client may have all of, and the address in it."""


def source_of(host: str) -> Source:
    """
    The source of a connection. The network of an IPv6 address is its upper 64 bits (RFC 4291
    2.5.4), that of an IPv4 address the address itself. An IPv4 address that is written as an
    IPv6 one counts as IPv4.

    @param host: an address, or another text, which is a network of its own.
    """
    try:
        address = unmapped(ip_address(host))
    except ValueError:
        return host, host
    if isinstance(address, IPv6Address):
        return address.packed[:8].hex(), address.packed.hex()
    return str(address), str(address)


def first_to_go(waiting: Sequence[Link], newcomer: str) -> Link:
    """
    The connection to close: the oldest one of the busiest address in the busiest network, so
    that a client that opens many loses its own, and a member that connects is let in.

    @param waiting: the connections, the oldest first; at least one.
    @param newcomer: the host of the connection that is to be made, which counts, too.
    """
    sources = [source_of(link.host) for link in waiting]
    counted = [*sources, source_of(newcomer)]
    networks = Counter(network for network, _ in counted)
    addresses = Counter(counted)
    # Of equal ones, `max` takes the first.
    return max(
        zip(waiting, sources, strict=True),
        key=lambda pair: (networks[pair[1][0]], addresses[pair[1]]),
    )[0]
