"""
Servers to check, without a network.
"""

from __future__ import annotations

import errno
from typing import Any

from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from alacrity.health.checks import (
    Verdict,
)
from alacrity.pool import Check, Server, State


def server_at(ip: str, port: int, check: Check) -> Server:
    return Server(
        ip=ip,
        port=port,
        check=check,
        weight=1,
        state=State.PENDING,
        reason="not checked yet",
        since=0.0,
        registered=0.0,
        revision=1,
    )


def passes(reason: str) -> Verdict:
    return Verdict(passed=True, reason=reason)


def fails(reason: str) -> Verdict:
    return Verdict(passed=False, reason=reason)


def answers_wrongly(reason: str) -> Verdict:
    return Verdict(passed=False, reason=reason, answered=True)


class Wire(StringTransport):
    """
    One connection to a server, seen from the server.
    """

    aborted = False
    closed = False
    protocol: Any = None

    def abortConnection(self) -> None:
        self.aborted = True

    def loseConnection(self) -> None:
        self.closed = True

    def settle(self) -> None:
        """End the connection, if it was to be ended."""
        if self.aborted:
            self.lost(error.ConnectionAborted())
        elif self.closed:
            self.lost(error.ConnectionDone())

    def send(self, data: bytes) -> None:
        """As a connection does, which delivers nothing after its end."""
        if self.protocol is not None:
            self.protocol.dataReceived(data)
        self.settle()

    def lost(self, reason: Exception) -> None:
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.connectionLost(Failure(reason))


@implementer(IStreamClientEndpoint)
class Network:
    """
    A network whose latest connection can be let through or failed.
    """

    def __init__(self) -> None:
        self.addresses: list[tuple[str, int, float]] = []
        self.cancelled = 0

    def __call__(self, host: str, port: int, timeout: float) -> Network:
        self.addresses.append((host, port, timeout))
        return self

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        def cancel(connecting: Deferred[IProtocol]) -> None:
            self.cancelled += 1
            # What Twisted's endpoints say when they are cancelled.
            connecting.errback(error.ConnectingCancelledError(address))

        address = IPv4Address("TCP", *self.addresses[-1][:2])
        self._factory = factory
        self._connecting: Deferred[IProtocol] = Deferred(cancel)
        return self._connecting

    def make(self) -> Wire:
        """
        Make the connection, and do not tell yet who waits for it.
        """
        wire = Wire()
        protocol = self._factory.buildProtocol(IPv4Address("TCP", "10.0.0.7", 80))
        assert protocol is not None
        wire.protocol = protocol
        protocol.makeConnection(wire)
        return wire

    def tell(self, wire: Wire) -> None:
        """
        Tell who waits for a connection that it is made.
        """
        self._connecting.callback(wire.protocol)

    def accept(self) -> Wire:
        wire = self.make()
        self.tell(wire)
        return wire

    def forget(self) -> None:
        """
        Forget the latest connection.
        """
        del self._factory, self._connecting

    def refuse(self, reason: Exception) -> None:
        self._connecting.errback(reason)


FAILURES = [
    (error.ConnectionRefusedError(), "connection refused"),
    (error.TimeoutError(), "no answer in 2.0 s"),
    (error.NoRouteError(), "no route to host"),
    (error.ConnectError(errno.ENETUNREACH), "network is unreachable"),
    (error.ConnectError(), "cannot connect"),
    (OSError(errno.EHOSTDOWN, "x"), "host is down"),
]
"""Failures to connect, and the reason that each gives a verdict."""
