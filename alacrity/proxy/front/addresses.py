"""
How many connections there are from where.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address


def network(address: str) -> bytes:
    """
    What stands for all addresses that one client can have: an IPv4 address alone,
    the upper 64 bits of an IPv6 one (RFC 4291 2.5.4).

    @raise ValueError: if it is not an address.
    """
    ip = ip_address(address)
    if isinstance(ip, IPv6Address):
        return ip.packed[:8] if ip.ipv4_mapped is None else ip.ipv4_mapped.packed
    return ip.packed


class Addresses:
    """
    Counts connections by network.
    """

    def __init__(self) -> None:
        self._connections: dict[bytes, int] = {}

    def enter(self, network: bytes) -> int:
        """
        One more.

        @return: how many there are now.
        """
        connections = self._connections.get(network, 0) + 1
        self._connections[network] = connections
        return connections

    def leave(self, network: bytes) -> None:
        """
        One less.
        """
        connections = self._connections[network] - 1
        if connections:
            self._connections[network] = connections
        else:
            del self._connections[network]
