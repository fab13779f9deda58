"""
The check of type C{tcp}: it passes if a connection can be opened.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, ITCPTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from alacrity.health.checks.verdict import (
    EndpointFactory,
    Verdict,
    port_of,
    unconnected_verdict,
)
from alacrity.pool import Server, TcpCheck

TcpCheckFunction: TypeAlias = Callable[[Server, TcpCheck, float], Deferred[Verdict]]
"""Runs a check of a server, with a time limit in seconds."""


class _ResetOnConnect(Protocol):
    """
    A connection that is reset as soon as it is open.

    A normal close would keep the address pair in TIME_WAIT for a minute: with 10,000 servers and
    an interval of 5 s, 120,000 address pairs. A reset leaves no such state on either side.
    """

    transport: ITCPTransport

    def connectionMade(self) -> None:
        self.transport.abortConnection()


_FACTORY: Final = Factory.forProtocol(_ResetOnConnect)
_FACTORY.noisy = False
_CONNECTED: Final = Verdict(passed=True, reason="connected")


def tcp_check(connect: EndpointFactory) -> TcpCheckFunction:
    """
    Build the check that passes if a connection can be opened.
    """

    # Callbacks instead of a coroutine, because this runs thousands of times a second.
    def check(server: Server, check: TcpCheck, timeout: float) -> Deferred[Verdict]:
        def connected(protocol: IProtocol) -> Verdict:
            return _CONNECTED

        def failed(failure: Failure) -> Verdict:
            assert failure.value is not None
            return unconnected_verdict(failure.value, timeout)

        endpoint = connect(server.ip, port_of(server, check), timeout)
        return endpoint.connect(_FACTORY).addCallbacks(connected, failed)

    return check
