"""
Connections of HTTP/1 clients.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import classImplements

from alacrity.http1.errors import ProtocolError
from alacrity.http1.forwarding import Forwarder
from alacrity.http1.messages import RequestHead, ResponseHead
from alacrity.net.gate import HELD, SLOW, ReadGate
from alacrity.net.turns import LARGE_READ, QUEUE_ABOVE
from alacrity.net.unsent import unsent
from alacrity.proxy.deadlines import NEVER
from alacrity.proxy.events import Cause, FailureKind, RequestEnded
from alacrity.proxy.exchange.exchange import Exchange
from alacrity.proxy.front.addresses import authority_of, ip_of
from alacrity.proxy.front.closing import ClosingTime
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

PROBE_WAIT: Final = 0.5
"""Seconds for which the answer to a probe is awaited."""


class ClientConnection:
    """
    One connection from a client: its requests one after the other, each in an
    exchange, whose L{Downstream<alacrity.proxy.interfaces.Downstream>} it is.

    Over 300 lines, as it has three small interfaces in one: Twisted's protocol, the client's
    side of an exchange, and one end of a tunnel. Reading, writing and the time of closing are
    in classes of their own.

    As a push producer, it stands for the responses that are written to it.

    @ivar phase: see L{alacrity.proxy.front.phase}.
    @ivar deadline: the end of the wait for the phase's next event; see
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

    __deletable__ = ("_reader",)

    def __init__(self, context: FrontContext) -> None:
        self._context = context
        self._deadlines = context.deadlines
        self.phase = IDLE
        self.full = False
        self.exchange: Exchange | None = None
        self._tunnel: TunnelReceiver | None = None
        # Whether the client has sent all that it will.
        self._has_ended = False
        # Within a probe, the deadline that holds after it.
        self._after_probe: float | None = None
        self._closing: ClosingTime | None = None
        self.deadline = context.deadlines.now + context.timeouts.client_idle

    def __repr__(self) -> str:
        return f"<ClientConnection {self.client.decode() or '-'} {self.phase.value}>"

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        context, transport = self._context, self.transport
        host = ip_of(transport.getPeer())
        trusted = context.admission.trusts(host)
        self.forwarder = Forwarder(
            via=context.via,
            client=host.encode("ascii"),
            authority=authority_of(transport.getHost()),
            trusted=trusted,
        )
        self.response = ResponseWriter(transport, context.via, context.deadlines)
        self._gate = ReadGate(transport, context.turns)
        self._affinity = ClientAffinity(context.reuse)
        self._reader = RequestReader(self, context, self._affinity, self._gate)
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
            if reader.held or len(data) > QUEUE_ABOVE:
                reader.receive(data)
            else:
                reader.read(data)
        elif phase is TUNNEL:
            assert self._tunnel is not None
            self._tunnel.received(data)
            if len(data) >= LARGE_READ:
                self._gate.count_large_read(self._reader.go_on)
        elif phase is LINGERING:
            assert self._closing is not None
            self.deadline = self._closing.linger()
            if len(data) >= LARGE_READ:
                self._gate.count_large_read(self._reader.go_on)

    def head_begins(self) -> None:
        """A part of a request's head has come: set the deadline for the rest."""
        if self.phase is IDLE:
            self.phase = HEAD
            self.deadline = self._deadlines.now + self._context.timeouts.client_header

    def begin(self, exchange: Exchange) -> None:
        """A request's head is read."""
        self.phase = EXCHANGE
        self.exchange = exchange

    def reject(self, error: ProtocolError) -> None:
        """
        Refuse a request that is malformed or beyond a limit: with an answer, unless the
        client has seen some of a response. Nothing after the request can be parsed.
        """
        self.response.make_last()
        exchange = self.exchange
        if exchange is not None:
            exchange.reject(error.status, str(error))
        else:
            self._refuse(error.status, FailureKind.BAD_REQUEST, str(error))
            self._close(linger=True)

    def _refuse(self, status: int, kind: FailureKind, reason: str) -> None:
        """Answer a connection or a request for which there is no exchange."""
        self.response.refuse(status)
        listeners = self._context.listeners
        listeners.count_request(status < 500)
        cause = Cause(kind, reason)
        listeners.request_ended(RequestEnded(self.client, None, status, cause=cause, reason=reason))

    def readConnectionLost(self) -> None:
        """
        The client has half-closed the connection, or is gone: both look the same. A probe
        tells them apart: the system of a client that is gone answers it with a reset.
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
                self.deadline = min(self.deadline, self._deadlines.now + PROBE_WAIT)
        elif self.phase is IDLE or self.phase is HEAD:
            self._close()
        else:
            self.transport.loseConnection()

    def _probe(self, exchange: Exchange) -> bool:
        """
        Write a probe. If the client is gone, a reset answers the first; where it was missed,
        the second write fails.

        @return: whether there was something to write.
        """
        return self.response.probe(exchange.request, responding=exchange.responding)

    def writeConnectionLost(self) -> None:
        """Nothing is to be done: the half that is read from ends by itself."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        context = self._context
        context.connections.discard(self)
        context.deadlines.discard(self)
        context.admission.leave(self._admitted)
        self.phase = GONE
        self._reader.release()
        # These refer to this connection: leave no cycle behind.
        del self._reader
        self._closing = None
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
        """Stop reading: the server takes no more for now."""
        self._gate.close(SLOW)

    def resume(self) -> None:
        """Read on, what was held first."""
        self._gate.open(SLOW)
        self._reader.read_held()

    def is_secure(self, request: RequestHead) -> bool:
        """Whether a trusted proxy says that the request came to it over TLS."""
        return self.forwarder.is_secure(request)

    def unsent(self) -> int | None:
        """Bytes that the client has not acknowledged; L{None}: it cannot be told."""
        return unsent(self.transport)

    def ended(self, complete: bool) -> None:
        """The response is written; on to the next request."""
        self.exchange = None
        self._after_probe = None
        if not complete:
            self._close(linger=True)
        elif self.response.last:
            self._close(linger=self._reader.held != b"")
        else:
            self.phase = IDLE
            self.deadline = self._deadlines.now + self._context.timeouts.client_idle
            gate = self._gate
            if gate.reasons:
                # A server that took no more has nothing to do with the next request.
                gate.open(SLOW)
                if self._reader.held:
                    if not self.full:
                        self._reader.read_held()
                elif self._has_ended:
                    self._close()

    def break_off(self) -> None:
        """Drop the connection, so that the client sees that its response is not complete."""
        self.exchange = None
        self.abort()

    def switch(self, head: ResponseHead, said: bytes, tunnel: TunnelReceiver) -> None:
        """Go on as one end of a tunnel."""
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
        """Send bytes."""
        self.transport.write(data)

    def end(self) -> None:
        """Send no more: half-close, once all is written."""
        self.transport.unregisterProducer()
        self.transport.loseWriteConnection()

    def close(self) -> None:
        """Close, once all is written."""
        self._gate.end()
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        """Drop the connection, and what is on its way."""
        self.phase = GONE
        self._gate.end()
        self.transport.unregisterProducer()
        self.transport.abortConnection()

    # The end

    def drain(self) -> None:
        """Close as soon as no request is under way."""
        self.response.make_last()
        if self.phase is LINGERING:
            assert self._closing is not None
            self.deadline = self._closing.shorten(self.deadline)
        elif (self.phase is IDLE or self.phase is HEAD) and not self._reader.begun:
            # Unless it is a tunnel: that may go on for as long as a request may.
            self._close()

    def cut(self) -> None:
        """Close now."""
        if self.exchange is not None:
            self.exchange.cut()
        elif self._tunnel is not None:
            self._tunnel.cut()
        else:
            self.abort()

    def _close(self, *, linger: bool = False) -> None:
        """
        @param linger: the client may still be sending; a reset would take the
            response from it.
        """
        self._reader.take_held()
        self.transport.unregisterProducer()
        self._affinity.close()
        self._closing = closing = ClosingTime(self._context.exchanges, self.unsent)
        if linger and not self._has_ended:
            self.phase = LINGERING
            self.deadline = closing.linger()
            self.transport.loseWriteConnection()
            self._gate.open(HELD | SLOW)
        else:
            self.phase = CLOSING
            self.deadline = self._deadlines.now + self._context.timeouts.client_idle
            self._gate.end()
            self.transport.loseConnection()

    def expired(self) -> None:
        """The event that the phase waits for has not come in time."""
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
        elif self._closing is not None:
            extended = self._closing.extend()
            if extended is not None:
                self.deadline = extended
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
        """The client takes more again."""
        self.full = False
        if self.exchange is not None:
            self.exchange.resume_response()
        elif self._tunnel is not None:
            self._tunnel.drained()
        else:
            self._reader.read_held()

    def stopProducing(self) -> None:
        """The connection is lost; L{connectionLost} says so too."""


classImplements(ClientConnection, IProtocol, IHalfCloseableProtocol, IPushProducer)
