"""
Connecting: client endpoints for IP addresses and host names, on uvloop where possible.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any, TypeAlias

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
)
from twisted.internet.error import (
    ConnectingCancelledError,
    ConnectionAborted,
    NoProtocol,
    TimeoutError,
    getConnectError,
)
from twisted.internet.interfaces import (
    IAddress,
    IProtocol,
    IProtocolFactory,
    IReactorCore,
    IStreamClientEndpoint,
)
from twisted.internet.posixbase import PosixReactorBase
from twisted.python.failure import Failure
from zope.interface import implementer

from alacrity.net.addresses import is_ip
from alacrity.net.early_answers import EarlyAnswerReactor
from alacrity.net.loops import after_turns, uvloop_of
from alacrity.net.transports import StreamTransport

_Create: TypeAlias = Callable[[Callable[[], StreamTransport]], Any]
"""Returns the coroutine that has uvloop connect a transport, which the argument makes."""


def client_endpoint(
    reactor: IReactorCore, host: str, port: int, timeout: float
) -> IStreamClientEndpoint:
    """
    An endpoint for TCP connections to an IP address, on uvloop where possible.

    @param timeout: in seconds.
    """
    loop = uvloop_of(reactor)
    if loop is not None:
        return UvClientEndpoint(
            loop,
            lambda protocol: loop.create_connection(protocol, host, port),
            (IPv6Address if ":" in host else IPv4Address)("TCP", host, port),
            timeout,
        )
    kind = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
    if isinstance(reactor, PosixReactorBase):
        # Not a test's reactor, which has no sockets.
        return kind(EarlyAnswerReactor(reactor), host, port, timeout)
    return kind(reactor, host, port, timeout)


def host_endpoint(reactor: Any, host: str, port: int, timeout: float) -> IStreamClientEndpoint:
    """
    An endpoint for TCP connections to an IP address or a host name. A name is resolved at
    each connection, without blocking.

    @param timeout: in seconds, for one address.
    """
    if is_ip(host):
        return client_endpoint(reactor, host, port, timeout)
    endpoint: IStreamClientEndpoint = HostnameEndpoint(reactor, host, port, timeout)
    return endpoint


@implementer(IStreamClientEndpoint)
class UvClientEndpoint:
    """
    Connects through uvloop.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        create: _Create,
        address: IAddress,
        timeout: float,
    ) -> None:
        """
        @param create: C{create_connection} of the loop, with all arguments but the first.
        @param address: to which it connects.
        @param timeout: in seconds.
        """
        self._loop = loop
        self._create = create
        self._address = address
        self._timeout = timeout

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        See L{IStreamClientEndpoint}. If the attempt is cancelled or times out, the protocol
        is either not built, or told by C{connectionLost} that it has no connection.
        """
        return _ConnectionAttempt(
            self._loop, self._create, self._address, self._timeout, factory
        ).outcome


class _ConnectionAttempt:
    """
    One attempt to connect through uvloop.

    @ivar outcome: fires once, with the connected protocol or the failure. Until uvloop's
        task is done, the attempt goes on after that, and closes what comes of it.
    """

    __slots__ = (
        "_address",
        "_factory",
        "_late",
        "_loop",
        "_protocol",
        "_task",
        "_transport",
        "outcome",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        create: _Create,
        address: IAddress,
        timeout: float,
        factory: IProtocolFactory,
    ) -> None:
        self._loop = loop
        self._address = address
        self._factory = factory
        self._transport: StreamTransport | None = None
        self._protocol: Any = None
        self._task = loop.create_task(create(self._make))
        self._late = loop.call_later(timeout, self._expire)
        self.outcome: Deferred[IProtocol] = Deferred(self._cancel)
        self._task.add_done_callback(self._finish)

    def __repr__(self) -> str:
        phase = "ended" if self.outcome.called else "connecting"
        return f"<_ConnectionAttempt {phase}: {self._address}>"

    def _make(self) -> StreamTransport:
        self._transport = StreamTransport(self._loop, self._build)
        return self._transport

    def _build(self, address: IAddress) -> IProtocol | None:
        if self.outcome.called:
            # It was given up while uvloop had the connection in hand.
            return None
        self._protocol = self._factory.buildProtocol(address)
        protocol: IProtocol | None = self._protocol
        return protocol

    def _expire(self) -> None:
        # Timers run before the sockets are polled. After a stall of the loop, the connection
        # may long be made: it takes three turns until uvloop tells.
        after_turns(self._loop, 3, self._give_up, TimeoutError())

    def _cancel(self, outcome: object) -> None:
        self._give_up(ConnectingCancelledError(self._address))

    def _give_up(self, reason: Exception) -> None:
        # The loop may have both in hand, that it is late and that it is cancelled.
        self._late.cancel()
        if self.outcome.called:
            return
        transport = self._transport
        if transport is not None and transport.is_open:
            # A cancelled task would close the socket and tell nobody.
            transport.abortConnection()
        else:
            self._task.cancel()
        self.outcome.errback(Failure(reason))

    def _finish(self, task: asyncio.Task[Any]) -> None:
        """
        Tell the outcome, unless the attempt was given up; close a connection that nobody
        has.
        """
        self._late.cancel()
        transport, self._transport = self._transport, None
        # A transport that was not connected still holds C{_build}, and so this attempt.
        protocol, self._protocol = self._protocol, None
        outcome = self.outcome
        error = ConnectingCancelledError(self._address) if task.cancelled() else task.exception()
        if error is not None:
            # uvloop has closed the connection, if there was one, and tells nobody.
            if transport is not None:
                transport.connection_lost(ConnectionAborted())
            if not outcome.called:
                outcome.errback(Failure(_connect_error(error)))
            return
        # The factory or connectionMade may have raised, which uvloop logs.
        usable = protocol is not None and transport is not None and transport.was_taken
        if usable and not outcome.called:
            outcome.callback(protocol)
            return
        # It was given up, or is of no use, and nobody else will close it.
        if transport is not None:
            transport.abortConnection()
        task.result()[0].abort()
        if not outcome.called:
            outcome.errback(Failure(NoProtocol()))


def _connect_error(error: BaseException) -> BaseException:
    """
    Twisted's exception for one of uvloop's.
    """
    if isinstance(error, OSError) and error.errno is not None:
        known: BaseException = getConnectError((error.errno, os.strerror(error.errno)))
        return known
    return error
