"""
Listening on Twisted's own ports, where uvloop does not listen: on another reactor, and for
C{ssl}.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
)
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.tcp import Port, Server
from twisted.protocols.tls import TLSMemoryBIOFactory

from alacrity.net.addresses import bindable_host, is_any_host
from alacrity.net.sockets import internet_address


class _Connection(Server):
    """
    A connection whose ends over IPv4 have IPv4 addresses, on an IPv6 socket, too.
    """

    def getPeer(self) -> IAddress:
        """See L{twisted.internet.interfaces.ITransport}."""
        client: Any = self.client
        return internet_address(*client)

    def getHost(self) -> IAddress:
        """See L{twisted.internet.interfaces.ITransport}."""
        return internet_address(*self.getHandle().getsockname())


class _Port(Port):
    """
    A port that takes connections over IPv6 alone, if so told.
    """

    transport = _Connection
    ipv6_only = False

    def createInternetSocket(self) -> socket.socket:
        """See L{twisted.internet.base.BasePort}."""
        sock: socket.socket = super().createInternetSocket()  # type: ignore[no-untyped-call]
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, self.ipv6_only)
        return sock


class TwistedListeningReactor:
    """
    The part of a reactor that Twisted's endpoints over TCP use, with ports of this module.
    """

    def __init__(self, reactor: PosixReactorBase, *, ipv6_only: bool) -> None:
        """
        @param ipv6_only: whether a socket on all addresses takes connections over IPv6 alone.
        """
        self._reactor = reactor
        self._ipv6_only = ipv6_only

    def listenTCP(
        self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        """
        See L{twisted.internet.interfaces.IReactorTCP}.
        """
        interface = bindable_host(interface)
        listening: Any = _Port(port, factory, backlog, interface, self._reactor)
        listening.ipv6_only = self._ipv6_only or not is_any_host(interface)
        listening.startListening()
        bound: IListeningPort = listening
        return bound

    def adoptStreamPort(
        self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory
    ) -> IListeningPort:
        """
        See L{twisted.internet.interfaces.IReactorSocket}.
        """
        if addressFamily == socket.AF_UNIX:
            reactor: Any = self._reactor
            unix: IListeningPort = reactor.adoptStreamPort(fileDescriptor, addressFamily, factory)
            return unix
        # Twisted's own reactors call this, too; no public function takes a class.
        adopt: Any = _Port._fromListeningDescriptor  # noqa: SLF001
        listening = adopt(self._reactor, fileDescriptor, addressFamily, factory)
        listening.startListening()
        adopted: IListeningPort = listening
        return adopted

    def listenSSL(
        self,
        port: int,
        factory: IProtocolFactory,
        contextFactory: Any,
        backlog: int = 50,
        interface: str = "",
    ) -> IListeningPort:
        """
        See L{twisted.internet.interfaces.IReactorSSL}.
        """
        encrypting = TLSMemoryBIOFactory(contextFactory, False, factory)
        return self.listenTCP(port, encrypting, backlog, interface)
