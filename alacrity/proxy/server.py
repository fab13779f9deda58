"""
Connections to servers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from alacrity.http1.errors import ProtocolError
from alacrity.http1.parser import Limits, ResponseParser
from alacrity.pool import State
from alacrity.proxy.balancer import Upstream
from alacrity.proxy.deadlines import NEVER, Deadlines

if TYPE_CHECKING:
    from alacrity.proxy.exchange import Exchange
    from alacrity.proxy.tunnel import Tunnel


@implementer(IHalfCloseableProtocol, IPushProducer)
class ServerConnection(Protocol):
    """
    One connection to a server: with an exchange, idle, or in a tunnel.

    As a push producer, it stands for the request body that is written to it.

    @ivar deadline: until when it may stay idle; see L{Deadlines}.
    @ivar full: whether the server takes no more for now.
    @ivar paused: whether its response is held up by a slow client.
    """

    # ITCPTransport, IConsumer and IPushProducer at once.
    transport: Any

    def __init__(self, factory: ServerFactory) -> None:
        self._factory = factory
        self._upstream = factory.upstream
        self._parser = ResponseParser(factory.limits)
        self._exchange: Exchange | None = None
        self._tunnel: Tunnel | None = None
        self._closing = False
        self.full = False
        self.paused = False
        self.deadline = NEVER

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)
        self._factory.deadlines.add(self)

    def begin(self, exchange: Exchange, data: bytes) -> None:
        """
        Send an exchange's request, or what there is of it.
        """
        self._exchange = exchange
        self.deadline = NEVER
        self._parser.answers(exchange.head.method, exchange)
        self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            if self._tunnel is not None:
                self._tunnel.serverReceived(data)
            else:
                # RFC 9112 9.2: bytes that no request asked for are never the next
                # client's.
                self.abort()
            return
        try:
            end = self._parser.feed(data)
        except ProtocolError as error:
            self.abort()
            exchange.serverFailed(str(error), begun=True)
            return
        if exchange.answered:
            self._end(exchange, reusable=end == len(data))
        elif exchange.status == 101:
            self._exchange = None
            self._tunnel = tunnel = exchange.switch(self)
            tunnel.open(exchange.unsent, data[end:])
        else:
            exchange.progress()

    def _end(self, exchange: Exchange, *, reusable: bool) -> None:
        """
        The response is complete. The connection is free before the exchange ends,
        for the client's next request may want it.
        """
        self._exchange = None
        if self.paused:
            self.resume()
        factory = self._factory
        upstream = self._upstream
        if (
            reusable
            and exchange.reusable
            and not self.full
            and upstream.server.state is State.UP
            and not upstream.retired
            and len(upstream.idle) < factory.idle_limit
        ):
            self.deadline = factory.deadlines.now + factory.idle_timeout
            self._parser.forget()
            upstream.idle.append(self)
        else:
            self.close()
        exchange.finish()

    def readConnectionLost(self) -> None:
        """
        The server sends no more. A request that it has still to take is of no use.
        """
        if self._tunnel is not None:
            self._tunnel.serverEnded()
        elif self._exchange is not None:
            self._ended(self._exchange)
        else:
            self.close()

    def writeConnectionLost(self) -> None:
        """The other half goes as it comes."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._factory.deadlines.discard(self)
        tunnel, self._tunnel = self._tunnel, None
        exchange = self._exchange
        if tunnel is not None:
            tunnel.serverLost()
        elif exchange is None:
            if self in self._upstream.idle:
                self._upstream.idle.remove(self)
        elif reason.check(ConnectionDone):
            self._ended(exchange)
        else:
            self._broken_off(exchange)

    def _ended(self, exchange: Exchange) -> None:
        """
        The server has come to an end, as the response may have by that.
        """
        try:
            self._parser.ended()
        except ProtocolError:
            self._broken_off(exchange)
        else:
            self._end(exchange, reusable=False)

    def _broken_off(self, exchange: Exchange) -> None:
        self._exchange = None
        self.close()
        exchange.serverFailed("the connection was lost", begun=self._parser.begun)

    def expired(self) -> None:
        """It has been idle for too long, or does not take what is still to be sent."""
        if self._closing:
            self.abort()
        elif self._exchange is None:
            self.close()

    def close(self) -> None:
        """
        It is not used any more.
        """
        if self in self._upstream.idle:
            self._upstream.idle.remove(self)
        self._closing = True
        self.deadline = self._factory.deadlines.now + self._factory.idle_timeout
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        """
        Drop the connection, and what is on its way. The exchange is not told.
        """
        self._exchange = None
        self.transport.unregisterProducer()
        self.transport.abortConnection()

    def pause(self) -> None:
        """
        Read no more of the response for now.
        """
        self.paused = True
        self.transport.pauseProducing()

    def resume(self) -> None:
        """
        Read on.
        """
        self.paused = False
        self.transport.resumeProducing()

    def pauseProducing(self) -> None:
        """The server is slower than the client."""
        self.full = True
        if self._exchange is not None:
            self._exchange.pauseRequest()

    def resumeProducing(self) -> None:
        """It has caught up."""
        self.full = False
        if self._exchange is not None:
            self._exchange.resumeRequest()

    def stopProducing(self) -> None:
        """The connection is lost; L{connectionLost} says so too."""


class ServerFactory(Factory):
    """
    Builds the connections to one server.
    """

    noisy = False

    def __init__(
        self,
        upstream: Upstream,
        deadlines: Deadlines,
        limits: Limits,
        idle_limit: int,
        idle_timeout: float,
    ) -> None:
        """
        @param idle_limit: how many connections may stay idle.
        @param idle_timeout: for how many seconds.
        """
        self.upstream = upstream
        self.deadlines = deadlines
        self.limits = limits
        self.idle_limit = idle_limit
        self.idle_timeout = idle_timeout

    def buildProtocol(self, addr: object) -> ServerConnection:
        return ServerConnection(self)
