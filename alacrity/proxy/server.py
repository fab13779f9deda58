"""
Connections to servers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
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


@implementer(IPushProducer)
class ServerConnection(Protocol):
    """
    One connection to a server: with an exchange, or idle.

    As a push producer, it stands for the request body that is written to it.

    @ivar deadline: until when it may stay idle; see L{Deadlines}.
    @ivar paused: whether its response is held up by a slow client.
    """

    # ITCPTransport, IConsumer and IPushProducer at once.
    transport: Any

    def __init__(self, factory: ServerFactory) -> None:
        self._factory = factory
        self._upstream = factory.upstream
        self._parser = ResponseParser(factory.limits)
        self._exchange: Exchange | None = None
        self._full = False
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
            # Bytes that no request asked for are never the next client's.
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
            and not self._full
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

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._factory.deadlines.discard(self)
        exchange = self._exchange
        if exchange is None:
            if self in self._upstream.idle:
                self._upstream.idle.remove(self)
            return
        if reason.check(ConnectionDone):
            try:
                self._parser.ended()
            except ProtocolError:
                pass
            else:
                self._end(exchange, reusable=False)
                return
        self._exchange = None
        exchange.serverFailed("the connection was lost", begun=self._parser.begun)

    def expired(self) -> None:
        """It has been idle for too long."""
        if self._exchange is None:
            self.close()

    def close(self) -> None:
        """
        It is not used any more.
        """
        if self in self._upstream.idle:
            self._upstream.idle.remove(self)
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
        self._full = True
        if self._exchange is not None:
            self._exchange.pauseRequest()

    def resumeProducing(self) -> None:
        """It has caught up."""
        self._full = False
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
