"""
The sockets that endpoint strings stand for, compared without binding anything.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
from twisted.internet.address import IPv4Address as TwistedIPv4Address
from twisted.internet.address import IPv6Address as TwistedIPv6Address
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort

PATH_BYTES: Final = 107
"""The longest path of a Unix socket on Linux: 108 bytes with the one that ends it."""

ANY_IPV4: Final = "0.0.0.0"  # noqa: S104 - compared with, never bound
ANY: Final = "::"
"""As it is bound here, this takes IPv4 connections, too."""

Ip: TypeAlias = IPv4Address | IPv6Address


class TcpSocket(msgspec.Struct, frozen=True):
    """
    A TCP socket that listens.

    @ivar host: an IP address in its canonical form, or a name that is not known here.
    """

    host: str
    port: int

    def overlaps(self, other: Socket) -> bool:
        """
        Whether only one of the two can listen.
        """
        if not isinstance(other, TcpSocket) or self.port != other.port or not self.port:
            return False
        hosts = {self.host, other.host}
        if len(hosts) == 1 or ANY in hosts:
            return True
        return ANY_IPV4 in hosts and not any(":" in host for host in hosts)

    def answers(self, ip: str, port: int, is_here: Callable[[str], bool]) -> bool:
        """
        Whether it is what is reached at an address.

        @param ip: in its canonical form.
        @param is_here: whether an address is one of this machine's.
        """
        if port != self.port:
            return False
        wild = self.host == ANY or (self.host == ANY_IPV4 and ":" not in ip)
        return ip == self.host or (wild and is_here(ip))


def _real(path: str) -> tuple[str, str]:
    """
    The directory of a path, without links, and the name in it. A socket is made beside a
    link of its name, not where that leads.
    """
    parent, name = os.path.split(os.path.abspath(path))
    return os.path.realpath(parent), name


class UnixSocket(msgspec.Struct, frozen=True):
    """
    A Unix socket that listens.

    @ivar path: as it was given.
    """

    path: str

    def overlaps(self, other: Socket) -> bool:
        """
        Whether only one of the two can listen.
        """
        return isinstance(other, UnixSocket) and _real(self.path) == _real(other.path)

    def fault(self, directory: Path) -> tuple[str, str] | None:
        """
        Why it cannot be made: what was found, and what is allowed; L{None}: nothing
        speaks against it.

        @param directory: as seen from which a relative path is.
        """
        if not self.path:
            return "an empty path", "the path of a socket, such as unix:/run/alacrity.sock"
        length = len(os.fsencode(self.path))
        if length > PATH_BYTES:
            return f"a path of {length} bytes", f"at most {PATH_BYTES} bytes"
        path = directory / self.path
        if path.exists() and not path.is_socket():
            kind = "directory" if path.is_dir() else "file"
            return f"the path of a {kind}", "one where nothing is, or a socket"
        parent = path.parent
        if not parent.is_dir():
            return (
                f"a socket in {str(parent)!a}, which is no directory",
                "a path in a directory that exists",
            )
        return None


class OtherSocket(msgspec.Struct, frozen=True):
    """
    A socket of which nothing is known but its endpoint string.
    """

    description: str

    def overlaps(self, other: Socket) -> bool:
        """
        Whether only one of the two can listen, as far as is known.
        """
        return self == other


def socket_at(address: object) -> TcpSocket | None:
    """
    The TCP socket that listens at an address of Twisted's; L{None}: it is another kind.
    """
    if isinstance(address, TwistedIPv4Address | TwistedIPv6Address):
        return TcpSocket(str(plain(ip_address(address.host))), address.port)
    return None


def listener_at(
    ip: str, port: int, listeners: Mapping[str, Sequence[IListeningPort]]
) -> str | None:
    """
    Which of some listeners is reached at an address: its name; L{None}: none is.

    @param ip: in its canonical form.
    @param listeners: the ports, by names.
    """
    for name, ports in listeners.items():
        for each in ports:
            listening = socket_at(each.getHost())
            if listening is not None and listening.answers(ip, port, is_here):
                return name
    return None


def is_here(ip: str) -> bool:
    """
    Whether an IP address is one of this machine's, by what the kernel says: it sends from
    the address itself what goes to one of its own.
    """
    address = ip_address(ip)
    if address.is_loopback:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            # Of a datagram socket, this sends nothing. The port does not matter.
            probe.connect((ip, 9))
            return ip_address(probe.getsockname()[0].partition("%")[0]) == address
    except OSError:
        return False


Socket: TypeAlias = TcpSocket | UnixSocket | OtherSocket


def socket_of(description: str) -> Socket:
    """
    The socket that an endpoint string stands for.

    @param description: one that Twisted understands.
    """
    if description.partition(":")[0] not in {"tcp", "tcp6", "ssl", "unix"}:
        return OtherSocket(description)
    asked = _Asked()
    # Twisted's endpoint does not look at its factory.
    serverFromString(asked, description).listen(None)
    return OtherSocket(description) if asked.socket is None else asked.socket


def names_mode(description: str) -> bool:
    """
    Whether the endpoint string of a Unix socket says which mode it is to have.
    """
    positional, named = 0, False
    for part in _parts(description):
        named |= part.startswith("mode=")
        positional += "=" not in part
    # unix:PATH:MODE
    return named or positional > 2


def _parts(description: str) -> list[str]:
    """
    An endpoint string at its colons. What a backslash precedes is left out.
    """
    parts, escaped = [""], False
    for character in description:
        if escaped or character == "\\":
            escaped = not escaped
        elif character == ":":
            parts.append("")
        else:
            parts[-1] += character
    return parts


class _Asked:
    """
    A reactor that is asked to listen, and notes where.
    """

    def __init__(self) -> None:
        self.socket: TcpSocket | UnixSocket | None = None

    def listenTCP(self, port: int, *arguments: Any, interface: str = "", **more: Any) -> None:
        """
        See L{twisted.internet.interfaces.IReactorTCP}.
        """
        self.socket = TcpSocket(_canonical(interface), port)

    def listenSSL(self, port: int, *arguments: Any, interface: str = "", **more: Any) -> None:
        """
        See L{twisted.internet.interfaces.IReactorSSL}.
        """
        self.socket = TcpSocket(_canonical(interface), port)

    def listenUNIX(self, address: str, *arguments: Any, **more: Any) -> None:
        """
        See L{twisted.internet.interfaces.IReactorUNIX}.
        """
        self.socket = UnixSocket(address)


def _canonical(interface: str) -> str:
    """
    An address in the one form in which addresses are compared.
    """
    if interface == "":
        return ANY_IPV4
    if interface.lower() == "localhost":
        return "127.0.0.1"
    try:
        return str(plain(ip_address(interface)))
    except ValueError:
        pass
    try:
        # The kernel's other spellings, such as 127.1 or 0.
        return str(IPv4Address(socket.inet_aton(interface)))
    except (OSError, UnicodeEncodeError):
        return interface.lower()


def plain(address: Ip) -> Ip:
    """
    An IPv4 address that is written as an IPv6 one, as what it is; others as they are.
    """
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped
