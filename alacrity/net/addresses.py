"""
Addresses and host names as text: C{host:port}, IP addresses, authorities of URLs. Without
I/O.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, TypeAlias

import msgspec

Ip: TypeAlias = IPv4Address | IPv6Address

ADDRESS: Final = "host:port, such as 10.0.0.1:8688 or [2001:db8::1]:8688"
"""The form of an address, in words."""

NODE_NAME: Final = "1 to 128 ASCII letters, digits and -._:[]"
"""The form of a node's name, in words. An address has this form, too."""

_MAPPED_BITS: Final = 96
"""Bits before an IPv4 address that is written as an IPv6 one (RFC 4291 2.5.5.2)."""

_LABEL: Final = r"[0-9A-Za-z_]([0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?"
_HOST_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*\Z")
_NODE_NAME: Final = re.compile(r"[0-9A-Za-z._:\[\]-]{1,128}")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_AUTHORITY: Final = re.compile(r"(\[[^\[\]]+\]|[^\[\]:@/?#\\,\s]+)(?::([0-9]{0,5}))?")
_ZONE: Final = re.compile(r"(?:25)?[0-9A-Za-z._~-]+")


class NodeAddress(msgspec.Struct, frozen=True):
    """
    A node of a cluster, by its name and its address.

    @ivar address: where the other nodes reach it, in its one spelling; empty: nowhere.
    """

    name: str
    address: str


def is_ip(text: str) -> bool:
    """
    Whether a text is an IP address, without brackets.
    """
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def unmapped(address: Ip) -> Ip:
    """
    An IPv4 address that is written as an IPv6 one, as an IPv4 address; others as they are.
    """
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def peer_host(host: str) -> str:
    """
    The IP address of a connection's end, in the one form in which addresses are compared and
    shown: an IPv4 address that an IPv6 socket gives is an IPv4 address, and there is no zone,
    which has a meaning on this machine alone.

    @param host: an IP address, as the kernel gives it.
    """
    if host.startswith("::ffff:") and "." in host:
        return host[7:]
    return host.partition("%")[0]


def bindable_host(host: str) -> str:
    """
    The address to bind a socket to, so that its family is that of its connections: an IPv4
    address that is written as an IPv6 one becomes an IPv4 address. Others stay as they are.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return host
    plain = unmapped(address)
    return host if plain is address else str(plain)


def is_any_host(host: str) -> bool:
    """
    Whether a socket that is bound to a host is bound to all addresses.
    """
    return host == "" or (is_ip(host) and ip_address(host).is_unspecified)


class TrustedPeers(msgspec.Struct, frozen=True):
    """
    The proxies in front, by the addresses from which they connect.

    @ivar networks: of their IP addresses. Those of IPv4 hold IPv4 addresses alone, and those
        of IPv6 the others.
    @ivar unix: whether all that connect over Unix sockets are among them.
    """

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    unix: bool = False

    def __bool__(self) -> bool:
        return self.unix or bool(self.networks)

    def trusts(self, host: str) -> bool:
        """
        Whether an address is that of a trusted proxy.

        @param host: an IP address; empty: there is none, as on a Unix socket.
        @raise ValueError: it is neither.
        """
        if not host:
            return self.unix
        if not self.networks:
            return False
        address = unmapped(ip_address(host))
        return any(address in network for network in self.networks)


def plain_network(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """
    A network of IPv4 addresses that is written as one of IPv6 addresses, such as
    C{::ffff:10.0.0.0/104}, as an IPv4 network; others as they are.
    """
    if isinstance(network, IPv4Network) or network.prefixlen < _MAPPED_BITS:
        return network
    first = network.network_address.ipv4_mapped
    return network if first is None else IPv4Network((first, network.prefixlen - _MAPPED_BITS))


def is_host_name(text: str) -> bool:
    """
    Whether a text is a host name, rather than an IP address.
    """
    return re.fullmatch(r"[0-9.]*", text) is None and _HOST_NAME.match(text) is not None


def is_node_name(text: str) -> bool:
    """
    Whether a node of a cluster may have this name: see L{NODE_NAME}.
    """
    return _NODE_NAME.fullmatch(text) is not None


def split_address(address: str) -> tuple[str, int]:
    """
    The host and the port of an address.

    @return: the host is an IP address in its canonical form, an IPv4 address that is written
        as an IPv6 one being an IPv4 address; or a name in lower case.
    @raise ValueError: it is no address; the message says what is wrong, in a few words.
    """
    host, colon, port = address.rpartition(":")
    if not colon:
        raise ValueError("there is no port")
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= 65535:
        raise ValueError("the port is not from 1 to 65535")
    if host.startswith("[") and host.endswith("]"):
        literal = host[1:-1]
        if ":" not in literal or not is_ip(literal):
            raise ValueError("there is no IPv6 address between the brackets")
        return str(unmapped(ip_address(literal))), int(port)
    if ":" in host:
        raise ValueError("an IPv6 address needs brackets")
    if is_ip(host):
        return host, int(port)
    if not is_host_name(host):
        raise ValueError("the host is neither an IP address nor a name")
    return host.lower(), int(port)


def is_address(text: str) -> bool:
    """
    Whether a text is an address: see L{split_address}.
    """
    try:
        split_address(text)
    except ValueError:
        return False
    return True


def join_address(host: str, port: int) -> str:
    """
    The one spelling of an address, in which addresses are compared.
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def normalized_address(address: str) -> str:
    """
    An address in its one spelling: see L{join_address}.

    @raise ValueError: it is no address.
    """
    return join_address(*split_address(address))


def split_authority(text: str) -> tuple[str, int | None] | None:
    """
    The host and the port of a C{Host} field or of the authority of a URL (RFC 3986 3.2).

    @return: the host in the one form in which hosts are compared: in lower case, without
        the root's dot at its end, an IPv6 address in brackets and without a zone; the port,
        L{None}: there is none. L{None} in place of both: it is no authority.
    """
    found = _AUTHORITY.fullmatch(text)
    if found is None or not text.isascii():
        return None
    host = found[1].lower().removesuffix(".")
    port = int(found[2]) if found[2] else None
    if not host.startswith("["):
        return (host, port) if host else None
    address, percent, zone = host[1:-1].partition("%")
    try:
        host = f"[{IPv6Address(address)}]"
    except ValueError:
        return None
    if percent and _ZONE.fullmatch(zone) is None:
        return None
    return host, port


def is_ip_authority(host: str) -> bool:
    """
    Whether the host of L{split_authority} is an IP address.
    """
    if host.startswith("["):
        return True
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True


def is_http_url(text: str) -> bool:
    """
    Whether a text is the URL of something over HTTP, as far as its scheme tells.
    """
    return text.startswith(("http://", "https://"))
