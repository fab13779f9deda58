"""
Connections to servers.

    OPEN ─▶ TUNNEL      switched to another protocol
      │       │
      ▼       ▼
    CLOSING ─▶ LOST     LOST comes from any phase, if the connection breaks

Over 400 lines, as each further object of a connection costs a request some of its time.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

import msgspec
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import classImplements

from alacrity.http1.errors import ProtocolError
from alacrity.http1.messages import MessageLimits
from alacrity.http1.parser import ResponseParser
from alacrity.net.acknowledgements import set_acknowledgement_timeout
from alacrity.net.gate import SLOW, ReadGate
from alacrity.net.turns import LARGE_READ, QUEUE_ABOVE, Turns
from alacrity.proxy.deadlines import NEVER, Deadlines
from alacrity.proxy.events import FailureKind
from alacrity.proxy.interfaces import ConnectionKeeper, ResponseReceiver, TunnelReceiver
from alacrity.proxy.upstream.patience import Patience
from alacrity.proxy.upstream.reading import ResponseReader
from alacrity.proxy.upstream.server import UpstreamServer
from alacrity.proxy.upstream.slots import Slot

WITH_CONTENT: Final = frozenset(
    b"ACL BIND COPY LOCK MERGE MKCALENDAR MKCOL MOVE NOTIFY PATCH POST PROPFIND PROPPATCH PUT "
    b"QUERY REBIND REPORT SEARCH UNBIND".split()
)
"""
Methods whose requests have content by their definition. A server may take no notice of
the content of others (RFC 9110 9.3.1), and read it as its next request.
"""


FIRST_REFUSAL: Final = 400
"""The lowest status that refuses a request."""


class ConnectionPhase(Enum):
    """
    The phases of a connection to a server.
    """

    OPEN = "open"
    """With an attempt, or waiting for one."""

    TUNNEL = "tunnel"
    """Switched to another protocol."""

    CLOSING = "closing"
    """Closed, or to be closed once all is written."""

    LOST = "lost"


_OPEN: Final = ConnectionPhase.OPEN
_TUNNEL: Final = ConnectionPhase.TUNNEL
_CLOSING: Final = ConnectionPhase.CLOSING
_LOST: Final = ConnectionPhase.LOST


class ConnectionSettings(msgspec.Struct, frozen=True):
    """
    Settings of all connections to servers.

    @ivar limits: of the responses' heads.
    @ivar idle_limit: connections to one server that may wait for any client's request.
    @ivar idle_timeout: seconds that one may wait; likewise, that it may take to close.
    @ivar private: whether each serves one client alone.
    @ivar drain: seconds to finish in, for a server that leaves the pool.
    @ivar connect_timeout: seconds after which a host that acknowledges nothing is gone; 0: the
        system's.
    @ivar response_timeout: the same, for a server that may be slow to read.
    """

    limits: MessageLimits
    idle_limit: int
    idle_timeout: float
    private: bool
    drain: float
    connect_timeout: float = 0.0
    response_timeout: float = 0.0


class ServerConnection:
    """
    One connection to a server. Between requests it is kept for all clients, or for one of
    them.

    As a push producer, it stands for the request body that is written to it.

    @ivar phase: see the top of this module.
    @ivar attempt: receives the response to the request that was sent; L{None}: none is awaited.
    @ivar deadline: the end of the time that it may be idle, may take to close, or has left
        as its server has left the pool; see L{Deadlines}.
    @ivar full: whether the server takes no more for now.
    @ivar usable: whether a request may be sent: the server has not ended the connection,
        nor spoken before it was asked.
    @ivar login: whether a client has logged in on it; it is for that one alone.
    """

    # ITCPTransport, IConsumer and IPushProducer at once.
    transport: Any

    __deletable__ = ("_reader",)

    # Made when first needed: most requests have no body.
    _patience: Patience | None = None

    def __init__(
        self,
        upstream: UpstreamServer,
        settings: ConnectionSettings,
        deadlines: Deadlines,
        turns: Turns,
        slot: Slot,
    ) -> None:
        """
        @param turns: the queue of connections that wait to go on with what they have.
        @param slot: the connection's place among all.
        """
        self.upstream = upstream
        self._settings = settings
        self._deadlines = deadlines
        self._turns = turns
        self._slot = slot
        self._parser = ResponseParser(settings.limits)
        self.attempt: ResponseReceiver | None = None
        self._tunnel: TunnelReceiver | None = None
        # Has it in its list while it waits for a request.
        self._keeper: ConnectionKeeper | None = None
        self.phase = _OPEN
        self.full = False
        self.usable = True
        self.login = False
        self.deadline = NEVER

    def __repr__(self) -> str:
        phase = self.phase.value if self.attempt is None else "busy"
        return f"<ServerConnection {self.upstream.id} {phase}>"

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        self._gate = ReadGate(self.transport, self._turns)
        self._reader = ResponseReader(self, self._parser, self._gate, self._turns)
        set_acknowledgement_timeout(self.transport, self._settings.connect_timeout)
        self.transport.registerProducer(self, True)
        self._deadlines.add(self)
        self.upstream.add(self)

    # From the attempt

    def send(self, attempt: ResponseReceiver, data: bytes) -> None:
        """
        Send a request, or what there is of it.

        @param attempt: receives the response. It is not told of L{abort}.
        """
        self.attempt = attempt
        self._keeper = None
        if not self.upstream.retired:
            self.deadline = NEVER
        self._parser.answers(attempt.exchange.request.method, attempt)
        self.transport.write(data)

    def write(self, data: bytes) -> None:
        """Send more of the request, or of what goes through the tunnel."""
        self._needed_patience().count(len(data))
        self.transport.write(data)

    def _needed_patience(self) -> Patience:
        patience = self._patience
        if patience is None:
            settings = self._settings
            self._patience = patience = Patience(
                self.transport, settings.connect_timeout, settings.response_timeout
            )
        return patience

    def pause(self) -> None:
        """Stop reading: the client takes no more for now."""
        self._gate.close(SLOW)

    def resume(self) -> None:
        """Read on, what was held first: the client takes more."""
        self._gate.open(SLOW)
        self._reader.read_held()

    def switch(self, tunnel: TunnelReceiver) -> None:
        """Go on as one end of a tunnel."""
        self.phase = _TUNNEL
        self._tunnel = tunnel
        self._parser.forget()
        self._needed_patience().begin()

    def end(self) -> None:
        """Send no more: half-close, once all is written."""
        self.transport.unregisterProducer()
        self.transport.loseWriteConnection()

    # From the server

    def dataReceived(self, data: bytes) -> None:
        attempt = self.attempt
        if attempt is not None:
            reader = self._reader
            if reader.held or len(data) > QUEUE_ABOVE:
                reader.receive(attempt, data)
            else:
                reader.read(attempt, data)
        elif self._tunnel is not None:
            self._tunnel.received(data)
            if len(data) >= LARGE_READ:
                self._gate.count_large_read(self._reader.go_on)
        else:
            # RFC 9112 9.2: bytes that no request asked for are never the next client's.
            self.abort()

    def leave_http(self, attempt: ResponseReceiver, said: bytes) -> None:
        """
        The server has switched to another protocol.

        @param said: bytes that it sent after its response.
        """
        self.attempt = None
        attempt.switched(said)

    def finish(self, attempt: ResponseReceiver, *, reusable: bool) -> None:
        """
        The response is complete. The connection is free before the attempt ends,
        for the client's next request may want it.
        """
        self.attempt = None
        if self._gate.reasons:
            self.resume()
        settings, upstream = self._settings, self.upstream
        exchange, response = attempt.exchange, attempt.response
        request = exchange.request
        if request.login or response.login:
            self.login = True
        keeper: ConnectionKeeper | None = None
        if (
            reusable
            and exchange.complete
            and response.keep_alive
            # Whether the server has understood that there is no upgrade, it alone knows;
            # and whether it has read the content of a request that has none by its method.
            and (not request.upgrade or response.login)
            and (request.length == 0 or request.method in WITH_CONTENT)
            and self.usable
            and not self.transport.disconnecting
            and not self.full
            and upstream.may_serve
        ):
            if self.login or settings.private:
                keeper = exchange.affinity
            elif len(upstream.idle) < settings.idle_limit:
                keeper = upstream
        if keeper is None:
            self.close()
        else:
            # A login would be lost with it: it lasts as long as the client.
            self.deadline = NEVER if self.login else self._deadlines.now + settings.idle_timeout
            self._parser.forget()
            if self._patience is not None:
                self._patience.end()
            self._keeper = keeper
            keeper.keep(self)
        attempt.finished()

    def readConnectionLost(self) -> None:
        """The server sends no more: there will be no answer to the rest of a request."""
        self.usable = False
        self._gate.end()
        if self._tunnel is not None:
            self._tunnel.ended()
        elif self.attempt is not None:
            self._end_response(self.attempt)
        else:
            self.close()

    def writeConnectionLost(self) -> None:
        """Nothing is to be done: the half that is read from ends by itself."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.usable = False
        self._deadlines.discard(self)
        self._slot.release()
        self.upstream.discard(self)
        self._reader.read_rest()
        tunnel, self._tunnel = self._tunnel, None
        attempt = self.attempt
        if tunnel is not None:
            tunnel.lost()
        elif attempt is None:
            self._forget()
        elif reason.check(ConnectionDone) or (
            # RFC 9112 9.6: a server that refuses a request and closes with its body unread
            # resets the connection. That ends what its closing would have ended.
            attempt.exchange.request.length and attempt.status >= FIRST_REFUSAL
        ):
            self._end_response(attempt)
        else:
            self._break_off(attempt)
        self.phase = _LOST
        # The reader refers to this connection: leave no cycle behind.
        del self._reader

    def _end_response(self, attempt: ResponseReceiver) -> None:
        """The server has come to an end, as the response may have by that."""
        try:
            self._parser.ended()
        except ProtocolError:
            self._break_off(attempt)
        else:
            self.finish(attempt, reusable=False)

    def _break_off(self, attempt: ResponseReceiver) -> None:
        self.attempt = None
        self.close()
        kind = (
            FailureKind.RESET_IN_RESPONSE
            if self._parser.begun
            else FailureKind.RESET_BEFORE_RESPONSE
        )
        attempt.failed(kind, "the connection was lost")

    # The end

    def expired(self) -> None:
        """
        Close or drop the connection: it has been idle for too long, or does not take what is
        still to be sent, or its server has left the pool and had the time to finish.
        """
        self.deadline = NEVER
        attempt = self.attempt
        if self.phase is _CLOSING:
            self.abort()
        elif self._tunnel is not None:
            self._tunnel.expired()
        elif attempt is not None:
            self.abort()
            attempt.server_left()
        else:
            self.close()

    @property
    def waits(self) -> bool:
        """Whether it is kept, and waits for a request."""
        return self._keeper is not None

    def retire(self) -> None:
        """
        The server has left the pool: close, or finish what is under way in the time that
        there is for it.
        """
        if self._keeper is not None:
            self.close()
        elif self.phase is not _CLOSING:
            self.deadline = self._deadlines.now + self._settings.drain

    def close(self) -> None:
        """Use it no more, and close it once all is written."""
        self._forget()
        self.usable = False
        self.phase = _CLOSING
        self.deadline = self._deadlines.now + self._settings.idle_timeout
        self._gate.end()
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def abort(self) -> None:
        """Drop the connection, and what is on its way. The attempt is not told."""
        self.attempt = None
        self.usable = False
        self.phase = _CLOSING
        self._gate.end()
        self._forget()
        self.transport.unregisterProducer()
        self.transport.abortConnection()

    def _forget(self) -> None:
        """Take it out of the connections that are kept."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.remove(self)

    # As a producer of the request's body, for the transport

    def pauseProducing(self) -> None:
        """The server is slower than the client."""
        self.full = True
        if self.attempt is not None:
            self.attempt.pause_request()
        elif self._tunnel is not None:
            self._tunnel.full()

    def resumeProducing(self) -> None:
        """The server takes more again."""
        self.full = False
        if self.attempt is not None:
            self.attempt.resume_request()
        elif self._tunnel is not None:
            self._tunnel.drained()

    def stopProducing(self) -> None:
        """The connection is lost; L{connectionLost} says so too."""


classImplements(ServerConnection, IProtocol, IHalfCloseableProtocol, IPushProducer)
