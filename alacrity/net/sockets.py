"""
The socket under a uvloop connection: its addresses, options and buffers.
"""

from __future__ import annotations

import socket
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from alacrity.net.addresses import peer_host
from alacrity.net.unsent import unacknowledged


def twisted_address(family: int, name: Any) -> IAddress:
    """
    Twisted's address for one of the kernel's.

    @param family: of the socket, such as C{AF_INET}.
    @param name: as C{getsockname} and C{getpeername} give it.
    """
    if family == socket.AF_INET:
        return IPv4Address("TCP", *name)
    if family == socket.AF_INET6:
        return internet_address(*name)
    return UNIXAddress(name or None)


def internet_address(host: str, port: int, *more: int) -> IAddress:
    """
    Twisted's address for one of an IPv6 socket, which may be connected over IPv4.

    @param more: the flow and the scope.
    """
    host = peer_host(host)
    if ":" in host:
        return IPv6Address("TCP", host, port, *more)
    return IPv4Address("TCP", host, port)


_UNSPECIFIED: Final = ("0.0.0.0", 0)  # noqa: S104


def _stream_address(name: Any) -> IAddress:
    """
    Twisted's address for one that uvloop read when it made the connection: its names of IPv4
    sockets have two members, those of IPv6 sockets four, and those of Unix sockets are paths.
    """
    if not isinstance(name, tuple):
        return UNIXAddress(name or None)
    return IPv4Address("TCP", *name) if len(name) == 2 else internet_address(*name)


class ConnectionSocket:
    """
    The part of a transport that concerns its socket, which uvloop may close before it
    tells the transport, or without telling it.
    """

    __slots__ = ("_peer", "_uv")

    def __init__(self) -> None:
        # uvloop's transport, from connection_made to connection_lost.
        self._uv: Any = None
        self._peer: Any = None

    @property
    def is_open(self) -> bool:
        """
        Whether uvloop has told of the connection, and not of its end.
        """
        return self._uv is not None

    def _socket(self) -> Any:
        return self._uv.get_extra_info("socket")

    def _open_socket(self) -> Any:
        """
        The socket; L{None} once uvloop has closed it.
        """
        sock = None if self._uv is None else self._socket()
        return None if sock is None or sock.fileno() < 0 else sock

    def getHandle(self) -> Any:
        """
        The socket, as Twisted's transports give it; L{None} once uvloop has closed it.
        """
        return self._open_socket()

    def unsent(self) -> int:
        """
        See L{unsent<alacrity.net.unsent.unsent>}.
        """
        sock = self._open_socket()
        if sock is None:
            return 0
        waiting: int = self._uv.get_write_buffer_size()
        return waiting + unacknowledged(sock)

    # ITransport

    def getPeer(self) -> Any:
        return self._peer

    def _read_peer(self) -> None:
        """
        Keep the address of the other end.
        """
        # Without one, the other end was gone before it was accepted.
        self._peer = _stream_address(self._uv.get_extra_info("peername", _UNSPECIFIED))

    def getHost(self) -> Any:
        """
        This end's address; an unspecified one, if the connection has ended.
        """
        if self._open_socket() is None:
            if isinstance(self._peer, UNIXAddress):
                return UNIXAddress(None)
            return IPv4Address("TCP", *_UNSPECIFIED)
        return _stream_address(self._uv.get_extra_info("sockname", _UNSPECIFIED))

    # ITCPTransport. To Twisted, a transport with these methods is TCP; a Unix socket has no
    # such options.

    def _option(self, level: int, name: int) -> bool:
        sock = self._open_socket()
        if sock is None or sock.family == socket.AF_UNIX:
            return False
        return bool(sock.getsockopt(level, name))

    def _set_option(self, level: int, name: int, *, enabled: bool) -> None:
        sock = self._open_socket()
        if sock is not None and sock.family != socket.AF_UNIX:
            sock.setsockopt(level, name, enabled)

    def getTcpNoDelay(self) -> bool:
        return self._option(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    def setTcpNoDelay(self, enabled: bool) -> None:
        self._set_option(socket.IPPROTO_TCP, socket.TCP_NODELAY, enabled=enabled)

    def getTcpKeepAlive(self) -> bool:
        return self._option(socket.SOL_SOCKET, socket.SO_KEEPALIVE)

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self._set_option(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled=enabled)
