"""
Admission of client connections: how many there may be, in all and from one network.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

import msgspec

from alacrity.net.addresses import TrustedPeers


def network(address: str) -> bytes:
    """
    The key of all addresses that one client can have: an IPv4 address alone,
    the upper 64 bits of an IPv6 one (RFC 4291 2.5.4).

    @raise ValueError: if it is not an address.
    """
    ip = ip_address(address)
    if isinstance(ip, IPv6Address):
        return ip.packed[:8] if ip.ipv4_mapped is None else ip.ipv4_mapped.packed
    return ip.packed


class Admitted(msgspec.Struct, frozen=True, gc=False):
    """
    A client connection that has been counted.

    @ivar is_served: whether its requests are served; else it is one too many.
    @ivar network: the network that it counts for; L{None}: it counts for none.
    """

    is_served: bool
    network: bytes | None


class Admission:
    """
    Counts client connections, and decides which are served.

    @ivar trusts: tells whether an IP address is that of a trusted proxy; of an empty one,
        whether what connects over a Unix socket is.
    """

    def __init__(
        self,
        *,
        connections: int,
        refused: int,
        per_address: int,
        trusted: TrustedPeers,
    ) -> None:
        """
        @param connections: connections that are served at once.
        @param refused: connections beyond that which are told so; more are closed without a
            word.
        @param per_address: connections that are served at once from one network; 0: any
            number.
        @param trusted: proxies in front, which are not counted by network.
        """
        self._connections = connections
        self._most = connections + refused
        self._per_address = per_address
        self.trusts = trusted.trusts
        self._count = 0
        self._networks: dict[bytes, int] = {}

    @property
    def has_room(self) -> bool:
        """Whether one more connection gets an answer at all."""
        return self._count < self._most

    def enter(self, host: str, *, trusted: bool) -> Admitted:
        """
        Count a connection.

        @param host: the client's IP address; empty: it has none.
        """
        self._count += 1
        is_served = self._count <= self._connections
        key: bytes | None = None
        if self._per_address and host and not trusted:
            key = network(host)
            count = self._networks.get(key, 0) + 1
            self._networks[key] = count
            is_served &= count <= self._per_address
        return Admitted(is_served, key)

    def leave(self, admitted: Admitted) -> None:
        """
        Count a connection no longer.
        """
        self._count -= 1
        key = admitted.network
        if key is None:
            return
        count = self._networks[key] - 1
        if count:
            self._networks[key] = count
        else:
            del self._networks[key]
