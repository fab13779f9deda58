"""
Reading requests from a client's bytes.
"""

from __future__ import annotations

from typing import Final, Protocol

from alacrity.http1.errors import ProtocolError
from alacrity.http1.forwarding import Forwarder, goes_round
from alacrity.http1.messages import RequestHead
from alacrity.http1.parser import RequestParser
from alacrity.net.gate import HELD, SLOW, TURN, ReadGate
from alacrity.net.turns import LARGE_READ, QUEUE_ABOVE
from alacrity.proxy.exchange.exchange import Exchange
from alacrity.proxy.exchange.phase import NEW
from alacrity.proxy.front.context import FrontContext
from alacrity.proxy.front.phase import CLOSING, GONE, LINGERING, TUNNEL, ClientPhase
from alacrity.proxy.front.response import ResponseWriter
from alacrity.proxy.interfaces import Downstream
from alacrity.proxy.upstream.affinity import ClientAffinity

REQUESTS_PER_TURN: Final = 16
"""Requests of one connection that are answered at once in one turn of the loop."""

BYTES_PER_TURN: Final = 8192
"""Bytes of such requests after which no other is read in the same turn."""


_OVER: Final = (TUNNEL, LINGERING, CLOSING, GONE)
"""The phases in which no more requests are read."""


class RequestOwner(Downstream, Protocol):
    """
    A client connection, as its reader sees it.

    @ivar phase: of the connection.
    @ivar exchange: that of the last request, until it is over.
    @ivar forwarder: writes this client's requests for servers.
    @ivar response: writes its responses.
    """

    phase: ClientPhase
    exchange: Exchange | None
    forwarder: Forwarder

    @property
    def response(self) -> ResponseWriter: ...

    def head_begins(self) -> None:
        """A part of a request's head has come."""

    def begin(self, exchange: Exchange) -> None:
        """A request's head is read."""

    def reject(self, error: ProtocolError) -> None:
        """The request is malformed, or beyond a limit."""


class RequestReader:
    """
    Reads requests, one at a time, and a bounded number of bytes in each turn of the loop. The
    bytes that come too early wait here, and the connection is not read from meanwhile.

    Of its parser, it is the L{RequestReceiver<alacrity.http1.parser.RequestReceiver>}.

    @ivar held: the bytes that wait, with some before them that are used already; empty: none
        wait.
    """

    __deletable__ = ("_parser",)
    __slots__ = (
        "_affinity",
        "_body_size",
        "_context",
        "_gate",
        "_held_from",
        "_owner",
        "_parser",
        "_requests",
        "_turns",
        "held",
    )

    def __init__(
        self, owner: RequestOwner, context: FrontContext, affinity: ClientAffinity, gate: ReadGate
    ) -> None:
        """
        @param affinity: the connections to servers that the requests may use.
        @param gate: decides whether the connection is read from.
        """
        self._owner = owner
        self._context = context
        self._affinity = affinity
        self._gate = gate
        self._parser = RequestParser(self, context.message_limits)
        self._turns = context.turns
        self._requests = 0
        self._body_size = 0
        self.held = b""
        self._held_from = 0

    @property
    def begun(self) -> bool:
        """Whether a part of a request has been read, but not all of it."""
        return self._parser.begun

    # From the parser

    def requestReceived(self, head: RequestHead) -> None:
        """
        Begin an exchange.

        @raise ProtocolError: the request is beyond a limit, or goes round in a loop.
        """
        context, owner, affinity = self._context, self._owner, self._affinity
        limits = context.limits
        self._requests += 1
        if self._requests == limits.requests_per_connection:
            owner.response.make_last()
        if not affinity.shares:
            affinity.request_begins()
        if head.via and goes_round(head.via, context.pseudonym):
            raise ProtocolError("the request goes round in a loop: see its Via", 508)
        if head.length:
            if head.length > limits.body_bytes > 0:
                raise ProtocolError("the request body is too large", 413)
            self._body_size = 0
        owner.begin(Exchange(context.exchanges, owner, affinity, head))

    def requestBodyReceived(self, data: bytes) -> None:
        """
        Pass on a piece of a request's body.

        @raise ProtocolError: the body is too large.
        """
        exchange = self._owner.exchange
        if exchange is not None:
            self._body_size += len(data)
            if self._body_size > self._context.limits.body_bytes > 0:
                raise ProtocolError("the request body is too large", 413)
            exchange.body_received(data)

    def requestFinished(self, trailers: list[bytes]) -> None:
        """
        Pass on the end of a request's body.
        """
        if self._owner.exchange is not None:
            self._owner.exchange.request_finished(trailers)

    # From the client

    def receive(self, data: bytes) -> None:
        """
        Read what has come, if nothing waits.
        """
        if self.held:
            self._hold(self.held[self._held_from :] + data, 0)
        elif len(data) > QUEUE_ABOVE and self._turns:
            # Others wait to go on already.
            self._hold_for_a_turn(data, 0)
        else:
            self.read(data)
            if len(data) >= LARGE_READ and self._owner.phase is not TUNNEL:
                self._gate.count_large_read(self.go_on)

    def read(self, data: bytes, start: int = 0) -> None:
        """
        Read on until a request is complete. The bytes after it wait; so do those that are
        too many for one turn of the loop.
        """
        owner = self._owner
        feed = self._parser.feed
        sessions = self._context.sessions
        size, begin = len(data), start
        answered = 0
        exchange: Exchange | None = None
        try:
            while start < size:
                exchange = owner.exchange
                if exchange.complete if exchange is not None else owner.full:
                    self._hold(data, start)
                    return
                start = feed(data, start)
                exchange = owner.exchange
                if exchange is not None and exchange.phase is NEW:
                    request = exchange.request
                    if sessions is not None:
                        request = sessions.without_cookie(request)
                    exchange.start(owner.forwarder.request(request))
                    exchange = owner.exchange
                if exchange is None and owner.phase in _OVER:
                    return
                if start < size:
                    if exchange is None:
                        answered += 1
                    if (
                        answered >= REQUESTS_PER_TURN
                        or start - begin > BYTES_PER_TURN
                        or (exchange is not None and not exchange.complete)
                    ):
                        self._hold_for_a_turn(data, start)
                        return
        except ProtocolError as error:
            owner.reject(error)
            return
        if exchange is None and self._parser.begun:
            owner.head_begins()

    def _hold(self, data: bytes, start: int) -> None:
        self.held = data
        self._held_from = start
        self._gate.close(HELD)

    def _hold_for_a_turn(self, data: bytes, start: int) -> None:
        """
        Hold the rest for a later turn of the loop, after other connections.
        """
        self._hold(data, start)
        self._gate.await_turn(self.go_on)

    def go_on(self) -> None:
        """
        Read on in a turn of the loop that was waited for.
        """
        gate, owner = self._gate, self._owner
        gate.open(TURN)
        if owner.phase in _OVER:
            return
        if not gate.reasons & SLOW and (owner.exchange is not None or not owner.full):
            self.read_held()

    def read_held(self) -> None:
        """
        Read the bytes that wait, unless they wait for a turn of the loop.
        """
        if self.held and not self._gate.reasons & TURN:
            data, start = self.held, self._held_from
            self.held = b""
            self.read(data, start)
            if not self.held:
                self._gate.open(HELD)

    def release(self) -> None:
        """
        Read no more. The parser refers to this reader: leave no cycle behind.
        """
        self.held = b""
        del self._parser

    def take_held(self) -> bytes:
        """
        Take the bytes that wait; they are not read as requests.
        """
        held, self.held = self.held, b""
        return held[self._held_from :] if held else b""
