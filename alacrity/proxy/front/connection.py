"""
Connections of HTTP/1 clients.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from alacrity.http1.errors import ProtocolError
from alacrity.http1.forwarding import Forwarder, goes_round
from alacrity.http1.messages import RequestHead, ResponseHead
from alacrity.net.gate import HELD, SLOW, ReadGate
from alacrity.net.turns import LARGE, MUCH
from alacrity.net.unsent import unsent
from alacrity.proxy.deadlines import NEVER
from alacrity.proxy.events import Cause, FailureKind, RequestEnded
from alacrity.proxy.exchange.exchange import Exchange
from alacrity.proxy.exchange.pace import ReaderPace
from alacrity.proxy.front.context import FrontContext
from alacrity.proxy.front.phase import (
    CLOSING,
    EXCHANGE,
    GONE,
    HEAD,
    IDLE,
    LINGERING,
    TUNNEL,
)
from alacrity.proxy.front.reading import RequestReader
from alacrity.proxy.front.response import ResponseWriter
from alacrity.proxy.interfaces import TunnelReceiver
from alacrity.proxy.upstream.affinity import ClientAffinity

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

PROBE: Final = 0.5
"""Seconds for which the answer to a probe is awaited."""


@implementer(IHalfCloseableProtocol, IPushProducer)
class ClientConnection(Protocol):
    """
    One connection from a client: its requests one after the other, each in an
    exchange, whose L{Downstream<alacrity.proxy.interfaces.Downstream>} it is.

    As a push producer, it stands for the responses that are written to it.

    @ivar phase: see L{alacrity.proxy.front.phase}.
    @ivar deadline: until when the next thing must happen; see
        L{alacrity.proxy.deadlines.Deadlines}.
    @ivar exchange: that of the last request, until it is over.
    @ivar forwarder: writes this client's requests for servers.
    @ivar full: whether the client takes no more for now.
    @ivar response: writes its responses.
    """

    # ITCPTransport, IConsumer and IPushProducer at once.
    transport: Any

    forwarder: Forwarder
    response: ResponseWriter

    def __init__(self, context: FrontContext) -> None:
        self._context = context
        self._deadlines = context.deadlines
        self.phase = IDLE
        self.full = False
        self.exchange: Exchange | None = None
        self._tunnel: TunnelReceiver | None = None
        self._requests = 0
        self._body_size = 0
        # Whether the client has sent all that it will.
        self._has_ended = False
        # Within a probe, the deadline that holds after it.
        self._after_probe: float | None = None
        self._linger_until = 0.0
        # How a client reads its last response, when the connection is to be closed.
        self._reader_pace: ReaderPace | None = None
        self.deadline = context.deadlines.now + context.timeouts.client_idle

    def __repr__(self) -> str:
        return f"<ClientConnection {self.client.decode() or '-'} {self.phase.value}>"

    def connectionMade(self) -> None:
        context, transport = self._context, self.transport
        host = _host(transport.getPeer())
        trusted = context.admission.trusts(host)
        self.forwarder = Forwarder(
            via=context.via,
            client=host.encode("ascii"),
            authority=_authority(transport.getHost()),
            trusted=trusted,
        )
        self.response = ResponseWriter(transport, context.via, context.deadlines)
        self._gate = ReadGate(transport, context.turns)
        self._reader = RequestReader(self, context.message_limits, self._gate, context.turns)
        self._affinity = ClientAffinity(context.reuse)
        transport.registerProducer(self, True)
        context.connections.add(self)
        context.deadlines.add(self)
        self._admitted = context.admission.enter(host, trusted=trusted)
        if not self._admitted.is_served:
            self._refuse(503, FailureKind.TOO_MANY_CONNECTIONS, "there are too many connections")
            self._close()

    @property
    def client(self) -> bytes:
        """The client's IP address; empty: it has none, as on a Unix socket."""
        return self.forwarder.client

    # From the client

    def dataReceived(self, data: bytes) -> None:
        phase = self.phase
        if phase is IDLE or phase is EXCHANGE or phase is HEAD:
            reader = self._reader
            if reader.held or len(data) > MUCH:
                reader.receive(data)
            else:
                reader.read(data)
        elif phase is TUNNEL:
            assert self._tunnel is not None
            self._tunnel.received(data)
            if len(data) >= LARGE:
                self._gate.count_large_read(self._reader.go_on)
        elif phase is LINGERING:
            self.deadline = min(self._deadlines.now + LINGER, self._linger_until)
            if len(data) >= LARGE:
                self._gate.count_large_read(self._reader.go_on)

    def head_begins(self) -> None:
        """
        A part of a request's head has come, and the rest is to come in time.
        """
        if self.phase is IDLE:
            self.phase = HEAD
            self.deadline = self._deadlines.now + self._context.timeouts.client_header

    def requestReceived(self, head: RequestHead) -> None:
        """
        Part of L{alacrity.http1.parser.RequestReceiver}.
        """
        context = self._context
        limits = context.limits
        self.phase = EXCHANGE
        self._requests += 1
        if self._requests == limits.requests_per_connection:
            self.response.make_last()
        affinity = self._affinity
        if not affinity.shares:
            affinity.request_begins()
        if head.via and goes_round(head.via, context.pseudonym):
            raise ProtocolError("the request goes round in a loop: see its Via", 508)
        if head.length:
            if head.length > limits.body_bytes > 0:
                raise ProtocolError("the request body is too large", 413)
            self._body_size = 0
        self.exchange = Exchange(context.exchanges, self, affinity, head)

    def requestBodyReceived(self, data: bytes) -> None:
        """
        Part of L{alacrity.http1.parser.RequestReceiver}.
        """
        exchange = self.exchange
        if exchange is not None:
            self._body_size += len(data)
            if self._body_size > self._context.limits.body_bytes > 0:
                raise ProtocolError("the request body is too large", 413)
            exchange.body_received(data)

    def requestFinished(self, trailers: list[bytes]) -> None:
        """
        Part of L{alacrity.http1.parser.RequestReceiver}.
        """
        if self.exchange is not None:
            self.exchange.request_finished(trailers)

    def reject(self, error: ProtocolError) -> None:
        """
        The client does not speak HTTP, or goes too far. It gets an answer, if its
        turn is now; nothing after that can be understood.
        """
        self.response.make_last()
        exchange = self.exchange
        if exchange is not None:
            exchange.reject(error.status, str(error))
        else:
            self._refuse(error.status, FailureKind.BAD_REQUEST, str(error))
            self._close(linger=True)

    def _refuse(self, status: int, kind: FailureKind, reason: str) -> None:
        """
        Answer what did not come to an exchange.
        """
        self.response.refuse(status)
        listeners = self._context.listeners
        listeners.count_request(status < 500)
        cause = Cause(kind, reason)
        listeners.request_ended(RequestEnded(self.client, None, status, cause=cause, reason=reason))

    def readConnectionLost(self) -> None:
        """
        The client has sent all that it will, or is gone: that looks the same. A probe, which
        means nothing to one that is there, tells: from one that is gone, it provokes a reset.
        """
        self._has_ended = True
        self._gate.end()
        exchange = self.exchange
        if self._tunnel is not None:
            self._tunnel.ended()
        elif exchange is not None:
            if not exchange.complete and not self._reader.held:
                self.exchange = None
                exchange.abandon()
                self._close()
            elif self._probe(exchange):
                self._after_probe = self.deadline
                self.deadline = min(self.deadline, self._deadlines.now + PROBE)
        elif self.phase is IDLE or self.phase is HEAD:
            self._close()
        else:
            self.transport.loseConnection()

    def _probe(self, exchange: Exchange) -> bool:
        """
        Write a probe. The first such write is what a client that is gone resets
        the connection for; by the second, we know.

        @return: whether there was something to write.
        """
        return self.response.probe(exchange.request, responding=exchange.responding)

    def writeConnectionLost(self) -> None:
        """The other half goes as it comes."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        context = self._context
        context.connections.discard(self)
        context.deadlines.discard(self)
        context.admission.leave(self._admitted)
        self.phase = GONE
        self._reader.take_held()
        # They know us, and would keep us until the next collection of cycles.
        del self._reader
        self._reader_pace = None
        self._affinity.close()
        tunnel, self._tunnel = self._tunnel, None
        exchange, self.exchange = self.exchange, None
        if tunnel is not None:
            tunnel.lost()
        elif exchange is not None:
            exchange.abandon()

    # As the Downstream of an exchange

    def await_until(self, seconds: float) -> None:
        """
        Have C{expired} of the exchange, or of the tunnel, called after some seconds, unless
        this is called again before.
        """
        self._after_probe = None
        self.deadline = self._deadlines.now + seconds

    def pause(self) -> None:
        """
        Stop reading: the server takes no more for now.
        """
        self._gate.close(SLOW)

    def resume(self) -> None:
        """
        Read on, what was held first.
        """
        self._gate.open(SLOW)
        self._reader.read_held()

    def unsent(self) -> int | None:
        """
        Bytes that the client has not acknowledged; L{None}: it cannot be told.
        """
        return unsent(self.transport)

    def ended(self, complete: bool) -> None:
        """
        The response is written; on to the next request.
        """
        self.exchange = None
        self._after_probe = None
        if not complete:
            self._close(linger=True)
        elif self.response.last:
            self._close(linger=self._reader.held != b"")
        else:
            self.phase = IDLE
            self.deadline = self._deadlines.now + self._context.timeouts.client_idle
            if self._reader.held:
                if not self.full:
                    self._reader.read_held()
            elif self._has_ended:
                self._close()

    def break_off(self) -> None:
        """
        Drop the connection, so that the client sees that its response is not complete.
        """
        self.exchange = None
        self.abort()

    def switch(self, head: ResponseHead, said: bytes, tunnel: TunnelReceiver) -> None:
        """
        Go on as one end of a tunnel.
        """
        self.exchange = None
        self.phase = TUNNEL
        self._tunnel = tunnel
        self.response.switch(head, said)
        held = self._reader.take_held()
        if held:
            tunnel.received(held)
        if self._has_ended:
            tunnel.ended()
        else:
            self._gate.open(HELD)

    # As one end of a tunnel

    def write(self, data: bytes) -> None:
        """
        Send bytes.
        """
        self.transport.write(data)

    def end(self) -> None:
        """
        Send no more: half-close, once all is written.
        """
        self.transport.unregisterProducer()
        self.transport.loseWriteConnection()

    def close(self) -> None:
        """
        Close, once all is written.
        """
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        """
        Drop the connection, and what is on its way.
        """
        self.phase = GONE
        self.transport.unregisterProducer()
        self.transport.abortConnection()

    # The end

    def drain(self) -> None:
        """
        Close as soon as no request is under way.
        """
        self.response.make_last()
        if self.phase is LINGERING:
            # Nothing is owed to it any more.
            self._linger_until = min(self._linger_until, self._deadlines.now + LAST_LINGER)
            self.deadline = min(self.deadline, self._linger_until)
        elif (self.phase is IDLE or self.phase is HEAD) and not self._reader.begun:
            # Unless it is a tunnel: that may go on for as long as a request may.
            self._close()

    def cut(self) -> None:
        """
        Close now.
        """
        if self.exchange is not None:
            self.exchange.cut()
        elif self._tunnel is not None:
            self._tunnel.cut()
        else:
            self.transport.abortConnection()

    def _close(self, *, linger: bool = False) -> None:
        """
        @param linger: the client may still be sending; a reset would take the
            response from it.
        """
        self._reader.take_held()
        self.transport.unregisterProducer()
        self._affinity.close()
        now = self._deadlines.now
        if linger and not self._has_ended:
            self.phase = LINGERING
            self._linger_until = now + LINGER_IN_ALL
            self.deadline = now + LINGER
            self.transport.loseWriteConnection()
            self._gate.open(HELD | SLOW)
        else:
            self.phase = CLOSING
            self.deadline = now + self._context.timeouts.client_idle
            self.transport.loseConnection()

    def expired(self) -> None:
        """
        What was awaited has not come.
        """
        now = self._deadlines.now
        self.deadline = NEVER
        if self._tunnel is not None:
            self._tunnel.expired()
        elif self.exchange is not None:
            after, self._after_probe = self._after_probe, None
            if after is not None:
                self._probe(self.exchange)
                if after > now:
                    self.deadline = after
                    return
            self.exchange.expired()
        elif self.phase is HEAD:
            self.reject(ProtocolError("the request did not come in time", 408))
        elif self.phase is IDLE:
            self._close()
        else:
            self._expire_closing()

    def _expire_closing(self) -> None:
        """
        Drop the connection, unless the client is reading the response still, at its own
        pace.
        """
        if self._reader_pace is not None:
            wait = self._reader_pace.allowance()
        else:
            context = self._context
            self._reader_pace = ReaderPace(
                context.deadlines,
                self.unsent,
                idle=context.timeouts.client_idle,
                rate=context.limits.response_rate,
            )
            wait = LINGER if self.unsent() else 0.0
        if wait:
            self.deadline = self._deadlines.now + wait
        else:
            self.transport.abortConnection()

    # As a producer of responses, for the transport

    def pauseProducing(self) -> None:
        """The client is slower than the server."""
        self.full = True
        if self.exchange is not None:
            self.exchange.pause_response()
        elif self._tunnel is not None:
            self._tunnel.full()

    def resumeProducing(self) -> None:
        """It has caught up."""
        self.full = False
        if self.exchange is not None:
            self.exchange.resume_response()
        elif self._tunnel is not None:
            self._tunnel.drained()
        else:
            self._reader.read_held()

    def stopProducing(self) -> None:
        """The connection is lost; L{connectionLost} says so too."""


def _host(peer: Any) -> str:
    """
    A client's IP address; empty where it has none, as on a Unix socket.
    """
    host = getattr(peer, "host", "")
    return host if isinstance(host, str) else ""


def _authority(host: Any) -> bytes:
    """
    The address that a client connected to, as in a C{Host} field.
    """
    ip = getattr(host, "host", "")
    if not ip:
        return b"localhost"
    return (f"[{ip}]:{host.port}" if ":" in ip else f"{ip}:{host.port}").encode("ascii")
