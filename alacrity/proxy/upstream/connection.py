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
from alacrity.http1.parser import MessageLimits, ResponseParser
from alacrity.net.turns import LARGE, MUCH, READS, Turns
from alacrity.pool import State
from alacrity.proxy.deadlines import NEVER, Deadlines
from alacrity.proxy.upstream.balancer import Upstream
from alacrity.proxy.upstream.slots import Slot

if TYPE_CHECKING:
    from alacrity.proxy.exchange.exchange import Exchange
    from alacrity.proxy.exchange.tunnel import Tunnel
    from alacrity.proxy.front.connection import ClientConnection


@implementer(IHalfCloseableProtocol, IPushProducer)
class ServerConnection(Protocol):
    """
    One connection to a server: with an exchange, idle, or in a tunnel. Idle, it is kept
    for all clients, or by one of them.

    As a push producer, it stands for the request body that is written to it.

    @ivar deadline: until when it may stay idle; when the server has left the pool, until
        when it may stay at all; see L{Deadlines}.
    @ivar full: whether the server takes no more for now.
    @ivar paused: whether its response is held up by a slow client.
    @ivar usable: whether a request may be sent: the server has not ended the connection,
        nor spoken before it was asked.
    @ivar login: whether a client has logged in on it; it is for that one alone.
    @ivar owner: the client that keeps it while it is idle; L{None}: none does.
    """

    # ITCPTransport, IConsumer and IPushProducer at once.
    transport: Any

    def __init__(self, factory: ServerFactory) -> None:
        self._factory = factory
        self.upstream = factory.upstream
        self._parser = ResponseParser(factory.limits)
        self._exchange: Exchange | None = None
        self._tunnel: Tunnel | None = None
        self._closing = False
        self._held = b""
        self._large = 0
        self._yielding = False
        self.full = False
        self.paused = False
        self.usable = True
        self.login = False
        self.owner: ClientConnection | None = None
        self.deadline = NEVER

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)
        self._factory.deadlines.add(self)
        self.upstream.connections.add(self)
        if self.upstream.retired:
            self.retire()

    def begin(self, exchange: Exchange, data: bytes) -> None:
        """
        Send an exchange's request, or what there is of it.
        """
        self._exchange = exchange
        if not self.upstream.retired:
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
        if self._held:
            # It is not read from, but what came before its end may come all the same.
            self._held += data
        elif len(data) > MUCH and self._factory.turns:
            # Others wait to go on already.
            self._yield(data)
        else:
            self._read(exchange, data)
            if len(data) >= LARGE and self._exchange is not None:
                self._large += 1
                if self._large % READS == 0:
                    self._yield(self._held)

    def _read(self, exchange: Exchange, data: bytes) -> None:
        """
        Read on in a response, as far as is right in one turn of the loop.
        """
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
            if end < len(data):
                self._yield(data[end:])
            exchange.progress()

    def _yield(self, rest: bytes) -> None:
        """
        Let others have their turn before the rest is read.
        """
        self._held = rest
        self.transport.pauseProducing()
        if not self._yielding:
            self._yielding = True
            self._factory.turns.add(self._go_on)

    def _go_on(self) -> None:
        self._yielding = False
        if not self.paused:
            self._read_held()

    def _read_held(self) -> None:
        """
        Read what has been held, and then on.
        """
        held, self._held = self._held, b""
        if held and self._exchange is not None:
            self._read(self._exchange, held)
        if not self._held and not self.paused:
            self.transport.resumeProducing()

    def _end(self, exchange: Exchange, *, reusable: bool) -> None:
        """
        The response is complete. The connection is free before the exchange ends,
        for the client's next request may want it.
        """
        self._exchange = None
        if self.paused:
            self.resume()
        factory = self._factory
        upstream = self.upstream
        self.login = self.login or exchange.login
        if (
            not reusable
            or not exchange.reusable
            or not self.usable
            or self.transport.disconnecting
            or self.full
            or upstream.server.state is not State.UP
            or upstream.retired
        ):
            self.close()
        elif self.login or factory.private:
            # A login would be lost with it: it lasts as long as the client.
            idle = NEVER if self.login else factory.idle_timeout
            self.deadline = factory.deadlines.now + idle
            self._parser.forget()
            exchange.keep(self)
        elif len(upstream.idle) < factory.idle_limit:
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
        self.usable = False
        if self._tunnel is not None:
            self._tunnel.serverEnded()
        elif self._exchange is not None:
            self._ended(self._exchange)
        else:
            self.close()

    def writeConnectionLost(self) -> None:
        """The other half goes as it comes."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.usable = False
        self._factory.deadlines.discard(self)
        self._factory.slot.release()
        self.upstream.connections.discard(self)
        while self._held and self._exchange is not None:
            # What came before the end counts, and the end is not to wait.
            held, self._held = self._held, b""
            self._read(self._exchange, held)
        tunnel, self._tunnel = self._tunnel, None
        exchange = self._exchange
        if tunnel is not None:
            tunnel.serverLost()
        elif exchange is None:
            self._forget()
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
        """
        It has been idle for too long, or does not take what is still to be sent, or its
        server has left the pool and had the time to finish.
        """
        exchange = self._exchange
        if self._closing:
            self.abort()
        elif self._tunnel is not None:
            self._tunnel.expired()
        elif exchange is not None:
            self.abort()
            exchange.serverLeft()
        else:
            self.close()

    @property
    def waits(self) -> bool:
        """Whether it is idle, and may be used again."""
        return self.owner is not None or self in self.upstream.idle

    def retire(self) -> None:
        """
        The server has left the pool: close, or finish what is under way in the time that
        there is for it.
        """
        if self.waits:
            self.close()
        elif not self._closing:
            self.deadline = self._factory.deadlines.now + self._factory.drain

    def close(self) -> None:
        """
        It is not used any more.
        """
        self._forget()
        self.usable = False
        self._closing = True
        self.deadline = self._factory.deadlines.now + self._factory.idle_timeout
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        """
        Drop the connection, and what is on its way. The exchange is not told.
        """
        self._exchange = None
        self._held = b""
        self.usable = False
        self._forget()
        self.transport.unregisterProducer()
        self.transport.abortConnection()

    def _forget(self) -> None:
        """
        Let nobody have it who might use it again.
        """
        if self in self.upstream.idle:
            self.upstream.idle.remove(self)
        owner, self.owner = self.owner, None
        if owner is not None:
            owner.own.remove(self)

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
        if self._yielding:
            return
        if self._held:
            self._read_held()
        else:
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
    Builds a connection to a server.
    """

    noisy = False

    def __init__(
        self,
        upstream: Upstream,
        deadlines: Deadlines,
        limits: MessageLimits,
        idle_limit: int,
        idle_timeout: float,
        slot: Slot,
        private: bool,
        drain: float,
        turns: Turns,
    ) -> None:
        """
        @param idle_limit: how many connections may stay idle.
        @param idle_timeout: for how many seconds.
        @param slot: the connection's place among all.
        @param private: whether each serves one client alone.
        @param drain: seconds to finish in, for a server that leaves the pool.
        @param turns: the queue of connections that wait to go on with what they have.
        """
        self.upstream = upstream
        self.deadlines = deadlines
        self.limits = limits
        self.idle_limit = idle_limit
        self.idle_timeout = idle_timeout
        self.slot = slot
        self.private = private
        self.drain = drain
        self.turns = turns

    def buildProtocol(self, addr: object) -> ServerConnection:
        return ServerConnection(self)
