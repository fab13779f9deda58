"""
The sockets that endpoint strings bind, as values: compared with each other and with
addresses, without binding anything.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
from twisted.internet.address import IPv4Address as TwistedIPv4Address
from twisted.internet.address import IPv6Address as TwistedIPv6Address
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort

from alacrity.net.addresses import is_ip, unmapped
from alacrity.net.descriptions import parse_description

PATH_BYTES: Final = 107
"""Most bytes of a Unix socket's path on Linux: 108 with the one that ends it."""

ANY_IPV4: Final = "0.0.0.0"  # noqa: S104 - compared with, never bound
"""The host of a socket on all IPv4 addresses."""

ANY: Final = "::"
"""
The host of a socket on all addresses. It takes IPv4 connections, too, unless another socket
takes those of the same port.
"""


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
        if len(hosts) == 1:
            return True
        if ANY in hosts:
            # Beside a socket for IPv4, it leaves IPv4 to that.
            return not any(is_ip(host) and ":" not in host for host in hosts)
        return ANY_IPV4 in hosts and not any(":" in host for host in hosts)

    def leaves_ipv4(self, others: Iterable[Socket]) -> bool:
        """
        Whether the socket, on all addresses, takes no IPv4 connections, as another socket
        takes some of its port.
        """
        return (
            self.host == ANY
            and self.port != 0
            and any(
                isinstance(other, TcpSocket) and other.port == self.port and ":" not in other.host
                for other in others
            )
        )

    def answers(self, ip: str, port: int, is_here: Callable[[str], bool]) -> bool:
        """
        Whether a connection to an address reaches this socket.

        @param ip: in its canonical form.
        @param is_here: whether an address is one of this machine's.
        """
        if port != self.port:
            return False
        wild = self.host == ANY or (self.host == ANY_IPV4 and ":" not in ip)
        return ip == self.host or (wild and is_here(ip))


def _real(path: str) -> tuple[str, str]:
    """
    The directory of a path, without links, and the name in it. A socket is made in place
    of a link of its name, not at the link's target.
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
        The reason why the socket cannot be made, as words for what was found and what is
        allowed; L{None}: there is none.

        @param directory: the one that relative paths begin at.
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
    A listening socket of which only the endpoint string is known.
    """

    description: str

    def overlaps(self, other: Socket) -> bool:
        """
        Whether only one of the two can listen, as far as is known.
        """
        return self == other


def socket_at(address: object) -> TcpSocket | None:
    """
    The TCP socket that listens at one of Twisted's addresses; L{None}: that is no address
    over TCP.
    """
    if isinstance(address, TwistedIPv4Address | TwistedIPv6Address):
        return TcpSocket(str(unmapped(ip_address(address.host))), address.port)
    return None


def listener_at(
    ip: str, port: int, listeners: Mapping[str, Sequence[IListeningPort]]
) -> str | None:
    """
    The name of the listener that is reached at an address; L{None}: none is.

    @param ip: in its canonical form.
    @param listeners: the ports, by names.
    """
    found = [
        (name, socket)
        for name, ports in listeners.items()
        for socket in (socket_at(each.getHost()) for each in ports)
        if socket is not None
    ]
    sockets = [socket for _, socket in found]
    for name, listening in found:
        if ":" not in ip and listening.leaves_ipv4(sockets):
            continue
        if listening.answers(ip, port, is_here):
            return name
    return None


def is_here(ip: str) -> bool:
    """
    Whether an IP address is one of this machine's. The kernel tells: to an address of its
    own, it sends from that very address.
    """
    address = ip_address(ip)
    if address.is_loopback:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            # With a datagram socket, this sends nothing. The port does not matter.
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
    if parse_description(description).kind not in {"tcp", "tcp6", "ssl", "unix"}:
        return OtherSocket(description)
    recorder = _ListenRecorder()
    # Twisted's endpoint does not look at its factory.
    serverFromString(recorder, description).listen(None)
    return OtherSocket(description) if recorder.socket is None else recorder.socket


def ipv6_only_of(descriptions: Iterable[str]) -> frozenset[str]:
    """
    Those endpoint strings whose sockets are on all IPv6 addresses, and leave IPv4 to another
    of them with the same port.

    @param descriptions: all that a process listens on.
    """
    sockets = {each: socket_of(each) for each in descriptions}
    return frozenset(
        each
        for each, socket in sockets.items()
        if isinstance(socket, TcpSocket) and socket.leaves_ipv4(sockets.values())
    )


class _ListenRecorder:
    """
    A reactor that keeps the socket it is asked to listen on, and listens on none.
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
    The host of an endpoint's interface, in the one form in which hosts are compared.
    """
    if interface == "":
        return ANY_IPV4
    if interface.lower() == "localhost":
        return "127.0.0.1"
    try:
        return str(unmapped(ip_address(interface)))
    except ValueError:
        pass
    try:
        # Other spellings that the kernel takes, such as 127.1 or 0.
        return str(IPv4Address(socket.inet_aton(interface)))
    except (OSError, UnicodeEncodeError):
        return interface.lower()
