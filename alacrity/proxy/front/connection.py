"""
Connections from clients.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import (
    IAddress,
    IHalfCloseableProtocol,
    IPushProducer,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from alacrity.http1.errors import ProtocolError
from alacrity.http1.forwarding import Forwarder, goes_round
from alacrity.http1.messages import RequestHead
from alacrity.http1.parser import RequestParser
from alacrity.http1.responses import own_response
from alacrity.net.turns import LARGE, MUCH, READS
from alacrity.net.unsent import unsent
from alacrity.pool import State
from alacrity.proxy.deadlines import NEVER
from alacrity.proxy.exchange.exchange import Exchange
from alacrity.proxy.exchange.pace import ReaderPace
from alacrity.proxy.exchange.tunnel import Tunnel
from alacrity.proxy.upstream.balancer import Upstream
from alacrity.proxy.upstream.connection import ServerConnection

if TYPE_CHECKING:
    from alacrity.proxy.front.frontend import Frontend

LINGER: Final = 5.0
"""
Seconds that a connection is read from after its last response, since the client sent
last, so that the response is not lost to a reset (RFC 9112 9.6). This and the next are
nginx's C{lingering_timeout} and C{lingering_time}.
"""

LINGER_IN_ALL: Final = 30.0
"""Seconds that it is read from at most, however busily the client sends."""

LAST_LINGER: Final = 1.0
"""Seconds that it is read from at most once the proxy stops."""

TURN: Final = 16
"""Requests of one connection that are answered at once in one turn of the loop."""

OWN: Final = 16
"""Server connections that are kept for one client alone."""

PROBE: Final = 0.5
"""
For how many seconds the answer to a probe is awaited.
"""


@implementer(IHalfCloseableProtocol, IPushProducer)
class ClientConnection(Protocol):
    """
    One connection from a client: its requests one after the other, each in an
    exchange.

    As a push producer, it stands for the responses that are written to it.

    @ivar deadline: until when the next thing must happen; see
        L{alacrity.proxy.deadlines.Deadlines}.
    @ivar forwarder: writes this client's requests.
    @ivar full: whether the client takes no more for now.
    @ivar network: what it is counted under, if it is; see
        L{alacrity.proxy.front.addresses.network}.
    @ivar leaving: whether the connection is to be closed after this response.
    @ivar own: idle server connections that are kept for this client alone.
    @ivar shares: whether its requests may go over connections that others have used.
    @ivar reason: what was wrong with what came last, if it did not come to an exchange.
    """

    # ITCPTransport, IConsumer and IPushProducer at once.
    transport: Any

    network: bytes | None = None
    reason = ""
    _reading_pace: ReaderPace | None = None
    _linger_until = 0.0
    _large = 0
    # The deadline that a probe is made before.
    _after_probe = NEVER

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend
        self._parser = RequestParser(self, frontend.message_limits)
        self._exchange: Exchange | None = None
        self._tunnel: Tunnel | None = None
        self._held = b""
        self._held_from = 0
        self._requests = 0
        self._body_size = 0
        self._in_head = False
        self._reading = False
        self.full = False
        self._yielding = False
        self._ended = False
        self._probing = False
        self._lingering = False
        self.leaving = False
        self.own: list[ServerConnection] = []
        self.shares = frontend.reuse == "always"
        self.deadline = frontend.deadlines.now + frontend.timeouts.client_idle

    def connectionMade(self) -> None:
        frontend = self._frontend
        transport = self.transport
        self.forwarder = Forwarder(
            via=frontend.via,
            client=_address(transport.getPeer()),
            authority=_authority(transport.getHost()),
            trusted=frontend.trusts(transport.getPeer()),
        )
        transport.registerProducer(self, True)
        if not frontend.admit(self):
            frontend.stats.client.failed += 1
            self.reason = "there are too many connections"
            frontend.explain(self, None, 503, self.reason)
            self.respond(503, None)
            if frontend.record is not None:
                frontend.record(self, None, 503)
            self._close()

    # From the client

    def dataReceived(self, data: bytes) -> None:
        if self._lingering:
            if self._tunnel is not None:
                self._tunnel.clientReceived(data)
            elif self._linger_until:
                now = self._frontend.deadlines.now
                self.deadline = min(now + LINGER, self._linger_until)
                if len(data) >= LARGE:
                    self._count_large()
            return
        if self._held:
            self._hold(self._held[self._held_from :] + data, 0)
        elif len(data) > MUCH and self._frontend.turns:
            # Others wait to go on already.
            self._yield(data, 0)
        else:
            self._read(data, 0)
            if len(data) >= LARGE and self._tunnel is None:
                self._count_large()

    def _read(self, data: bytes, start: int) -> None:
        """
        Read on until a request is complete. What follows it, waits as it came; so does
        what is too much for one turn of the loop.
        """
        self._reading = True
        size = len(data)
        answered = 0
        parser = self._parser
        try:
            while start < size:
                exchange = self._exchange
                if exchange.complete if exchange is not None else self.full:
                    self._hold(data, start)
                    return
                start = parser.feed(data, start)
                exchange = self._exchange
                if exchange is not None and not exchange.started:
                    exchange.start()
                if self._lingering:
                    return
                if start < size:
                    exchange = self._exchange
                    if exchange is None:
                        answered += 1
                    if answered >= TURN or (exchange is not None and not exchange.complete):
                        self._yield(data, start)
                        return
        except ProtocolError as error:
            self._reject(error)
            return
        finally:
            self._reading = False
        if self._exchange is None and not self._in_head and parser.begun:
            self._in_head = True
            frontend = self._frontend
            self.deadline = frontend.deadlines.now + frontend.timeouts.client_header

    def _hold(self, data: bytes, start: int) -> None:
        self._held = data
        self._held_from = start
        self.transport.pauseProducing()

    def _yield(self, data: bytes, start: int) -> None:
        """
        Let others have their turn before the rest is read.
        """
        self._hold(data, start)
        self._pause_for_a_turn()

    def _count_large(self) -> None:
        """
        After some large reads, let others have their turn before the next.
        """
        self._large += 1
        if self._large % READS == 0:
            self._pause_for_a_turn()

    def _pause_for_a_turn(self) -> None:
        if not self._yielding:
            self._yielding = True
            self.transport.pauseProducing()
            self._frontend.turns.add(self._go_on)

    def _go_on(self) -> None:
        self._yielding = False
        exchange = self._exchange
        if self._tunnel is not None:
            return
        if self._lingering:
            if self._linger_until:
                self.transport.resumeProducing()
        elif not (exchange.paused if exchange is not None else self._held and self.full):
            self.resume()

    def resume(self) -> None:
        """
        Read on, what was held first.
        """
        if self._yielding:
            return
        if not self._ended:
            self.transport.resumeProducing()
        if self._held and not self._reading:
            data, start = self._held, self._held_from
            self._held = b""
            self._read(data, start)

    def requestReceived(self, head: RequestHead) -> None:
        """
        Part of L{alacrity.http1.parser.RequestReceiver}.
        """
        frontend = self._frontend
        self._in_head = False
        self._requests += 1
        if self._requests == frontend.limits.requests_per_connection:
            self.leaving = True
        if not self.shares and self._requests > 1 and frontend.reuse == "safe":
            self.shares = True
        if head.via and goes_round(head.via, frontend.pseudonym):
            raise ProtocolError("the request goes round in a loop: see its Via", 508)
        if head.length > frontend.limits.body_bytes > 0:
            raise ProtocolError("the request body is too large", 413)
        self._body_size = 0
        self._exchange = Exchange(self, frontend, head)

    def requestBodyReceived(self, data: bytes) -> None:
        """
        Part of L{alacrity.http1.parser.RequestReceiver}.
        """
        exchange = self._exchange
        if exchange is not None:
            self._body_size += len(data)
            if self._body_size > self._frontend.limits.body_bytes > 0:
                raise ProtocolError("the request body is too large", 413)
            exchange.requestBodyReceived(data)

    def requestFinished(self, trailers: list[bytes]) -> None:
        """
        Part of L{alacrity.http1.parser.RequestReceiver}.
        """
        if self._exchange is not None:
            self._exchange.requestFinished(trailers)

    def _reject(self, error: ProtocolError) -> None:
        """
        The client does not speak HTTP, or goes too far. It gets an answer, if its
        turn is now; nothing after that can be understood.
        """
        exchange, self._exchange = self._exchange, None
        self.leaving = True
        if exchange is not None:
            exchange.reject(error.status, str(error))
        else:
            self.reason = str(error)
            self._frontend.explain(self, None, error.status, self.reason)
            self.respond(error.status, None)
            self._count(error.status)
            if self._frontend.record is not None:
                self._frontend.record(self, None, error.status)
            self._close(linger=True)

    def readConnectionLost(self) -> None:
        """
        The client has sent all that it will, or is gone: that looks the same. What means
        nothing to one that is there, tells: from one that is gone, it provokes a reset.
        """
        self._ended = True
        if self._tunnel is not None:
            self._tunnel.clientEnded()
            return
        if self._lingering:
            self.transport.loseConnection()
            return
        exchange = self._exchange
        if exchange is None:
            self._close()
        elif not exchange.complete and not self._held:
            exchange.abandon()
            self._close()
        elif self._probe(exchange):
            self._probing = True
            self._after_probe = self.deadline
            self.deadline = min(self.deadline, self._frontend.deadlines.now + PROBE)

    def _probe(self, exchange: Exchange) -> bool:
        """
        Write what means nothing. The first such write is what a client that is gone resets
        the connection for; by the second, we know.

        @return: whether there was something to write.
        """
        data = exchange.probe()
        if data is not None:
            self.transport.write(data)
        return data is not None

    def writeConnectionLost(self) -> None:
        """The other half goes as it comes."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._frontend.leave(self)
        self._lingering = True
        self._held = b""
        # They know us, and would keep us until the next collection of cycles.
        del self._parser
        # It knows us, too.
        self._reading_pace = None
        for server in tuple(self.own):
            server.close()
        tunnel, self._tunnel = self._tunnel, None
        if tunnel is not None:
            tunnel.clientLost()
            return
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abandon()
            if self._frontend.record is not None:
                self._frontend.record(self, exchange, exchange.status)

    def await_until(self, seconds: float) -> None:
        """
        Have its exchange's L{Exchange.expired} called, unless this is called again before.
        """
        self._probing = False
        self.deadline = self._frontend.deadlines.now + seconds

    # To the client

    def respond(self, status: int, exchange: Exchange | None) -> None:
        """
        Answer ourselves.
        """
        frontend = self._frontend
        keep_alive = exchange is not None and exchange.complete and exchange.keep_alive
        self.transport.write(
            own_response(
                status,
                date=frontend.deadlines.date,
                via=frontend.via,
                keep_alive=keep_alive and not self.leaving,
                bodiless=exchange is not None and exchange.head.method == b"HEAD",
            )
        )

    def _count(self, status: int) -> None:
        counter = self._frontend.stats.client
        if status < 500:
            counter.success += 1
        else:
            counter.failed += 1

    def exchangeEnded(self, exchange: Exchange) -> None:
        """
        The response is written; on to the next request.
        """
        frontend = self._frontend
        self._exchange = None
        self._probing = False
        self._count(exchange.status)
        if frontend.record is not None:
            frontend.record(self, exchange, exchange.status)
        if not exchange.complete:
            self._close(linger=True)
        elif self.leaving or not exchange.keep_alive:
            self._close(linger=bool(self._held))
        else:
            self.deadline = frontend.deadlines.now + frontend.timeouts.client_idle
            if self._held:
                if not self.full:
                    self.resume()
            elif self._ended:
                self._close()

    def switch(self, exchange: Exchange, server: ServerConnection) -> Tunnel:
        """
        The connection goes on as a tunnel.
        """
        self._exchange = None
        self._probing = False
        self._lingering = True
        self._count(exchange.status)
        self._tunnel = tunnel = Tunnel(self._frontend, self, server, exchange)
        return tunnel

    def keep(self, server: ServerConnection) -> None:
        """
        Keep a server connection for this client alone.
        """
        if self.leaving or self._lingering:
            server.close()
            return
        if len(self.own) >= OWN:
            self.own[0].close()
        server.owner = self
        self.own.append(server)

    def take_login(self, tried: AbstractSet[Upstream]) -> ServerConnection | None:
        """
        The connection of its own on which this client has logged in, if there is one.

        @param tried: servers whose connections are not wanted.
        """
        for server in self.own:
            upstream = server.upstream
            if server.login and upstream.server.state is State.UP and upstream not in tried:
                return self._take(server)
        return None

    def take(self, upstream: Upstream) -> ServerConnection | None:
        """
        A connection of its own to a server, if there is one.
        """
        for server in self.own:
            if server.upstream is upstream:
                return self._take(server)
        return None

    def _take(self, server: ServerConnection) -> ServerConnection:
        self.own.remove(server)
        server.owner = None
        return server

    def release(self) -> tuple[bytes, bool]:
        """
        What came after the last request, and whether no more will.
        """
        held, self._held = self._held[self._held_from :] if self._held else b"", b""
        return held, self._ended

    def abort(self, exchange: Exchange) -> None:
        """
        Break the response off, so that the client sees that it is.
        """
        self._exchange = None
        self._frontend.stats.client.failed += 1
        if self._frontend.record is not None:
            self._frontend.record(self, exchange, exchange.status)
        self.drop()

    def drop(self) -> None:
        """
        Drop the connection, and what is on its way.
        """
        self._lingering = True
        self.transport.unregisterProducer()
        self.transport.abortConnection()

    def drain(self) -> None:
        """
        Close as soon as no request is under way.
        """
        self.leaving = True
        if self._linger_until:
            # Nothing is owed to it any more.
            now = self._frontend.deadlines.now
            self._linger_until = min(self._linger_until, now + LAST_LINGER)
            self.deadline = min(self.deadline, self._linger_until)
        elif self._exchange is None and not self._parser.begun:
            # Unless it is a tunnel: that may go on for as long as a request may.
            self._close()

    def cut(self) -> None:
        """
        Close now.
        """
        exchange = self._exchange
        if exchange is not None:
            exchange.abandon()
            self.abort(exchange)
        elif self._tunnel is not None:
            self._tunnel.cut()
        else:
            self.transport.abortConnection()

    def _close(self, *, linger: bool = False) -> None:
        """
        @param linger: the client may still be sending; a reset would take the
            response from it.
        """
        if self._lingering:
            return
        self._lingering = True
        self._held = b""
        self.transport.unregisterProducer()
        for server in tuple(self.own):
            server.close()
        now = self._frontend.deadlines.now
        if linger and not self._ended:
            self._linger_until = now + LINGER_IN_ALL
            self.deadline = now + LINGER
            self.transport.loseWriteConnection()
            if not self._yielding:
                self.transport.resumeProducing()
        else:
            self.deadline = now + self._frontend.timeouts.client_idle
            self.transport.loseConnection()

    def expired(self) -> None:
        """
        What was awaited has not come.
        """
        if self._tunnel is not None:
            self._tunnel.expired()
        elif self._lingering:
            # It may be reading the response still, at its own pace.
            if self._reading_pace is not None:
                wait = self._reading_pace.allowance()
            else:
                self._reading_pace = self.reading_pace()
                wait = LINGER if unsent(self.transport) else 0.0
            if wait:
                self.deadline = self._frontend.deadlines.now + wait
            else:
                self.transport.abortConnection()
        elif self._exchange is not None:
            if self._probing:
                self._probing = False
                self._probe(self._exchange)
                self.deadline = self._after_probe
                if self.deadline > self._frontend.deadlines.now:
                    return
            self._exchange.expired()
        elif self._in_head:
            self._reject(ProtocolError("the request did not come in time", 408))
        else:
            self._close()

    def reading_pace(self) -> ReaderPace:
        """
        A judge of how the client takes what is sent to it from now on.
        """
        frontend = self._frontend
        return ReaderPace(
            lambda: frontend.deadlines.now,
            lambda: unsent(self.transport),
            idle=frontend.timeouts.client_idle,
            rate=frontend.limits.response_rate,
        )

    def pauseProducing(self) -> None:
        """The client is slower than the server."""
        self.full = True
        if self._exchange is not None:
            self._exchange.pauseResponse()

    def resumeProducing(self) -> None:
        """It has caught up."""
        self.full = False
        if self._exchange is not None:
            self._exchange.resumeResponse()
        elif self._held and not self._reading:
            self.resume()

    def stopProducing(self) -> None:
        """The connection is lost; L{connectionLost} says so too."""


def _address(peer: IAddress) -> bytes:
    """
    A client's IP address; empty where it has none, as on a Unix socket.
    """
    host = getattr(peer, "host", "")
    return host.encode("ascii") if isinstance(host, str) else b""


def _authority(host: Any) -> bytes:
    """
    What to call the address that a client connected to, as a C{Host} field does.
    """
    ip = getattr(host, "host", "")
    if not ip:
        return b"localhost"
    return (f"[{ip}]:{host.port}" if ":" in ip else f"{ip}:{host.port}").encode("ascii")
