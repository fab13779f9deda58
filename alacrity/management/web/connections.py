"""
Connections to the management API: their number, and the time that a request may take to
arrive.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any, Final
from typing import Protocol as TypingProtocol

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request

from alacrity.management.documents.problems import MEDIA_TYPE, TITLES, Problem

IDLE_SECONDS: Final = 60
"""Seconds for which a connection may be silent between two requests."""

REQUEST_SECONDS: Final = 20.0
"""Seconds that a request may take to arrive, from its first byte to its last."""


class OpenConnections:
    """
    The open connections of a site, with the idle ones among them: those on which no complete
    request has arrived.
    """

    def __init__(self) -> None:
        self._open: set[Protocol] = set()
        # The idle connections, in the order in which they became idle.
        self._idle: dict[BoundedChannel, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, connection: Protocol) -> None:
        """
        Count a new connection.
        """
        self._open.add(connection)

    def busy(self, channel: BoundedChannel) -> None:
        """
        Note that a request has arrived, and is being answered.
        """
        self._idle.pop(channel, None)

    def idle(self, channel: BoundedChannel) -> None:
        """
        Note that a connection is new, or that its request is answered.
        """
        self._idle[channel] = None

    def closed(self, connection: Protocol) -> None:
        """
        Forget a connection that has ended.
        """
        self._open.discard(connection)
        if isinstance(connection, BoundedChannel):
            self._idle.pop(connection, None)

    def take_longest_idle(self) -> BoundedChannel | None:
        """
        Remove the connection that has been idle for longest from the idle ones.

        @return: that connection; L{None}: all are busy.
        """
        if not self._idle:
            return None
        longest = next(iter(self._idle))
        del self._idle[longest]
        return longest


class CountingSite(TypingProtocol):
    """
    The part of a L{BoundedSite<alacrity.management.web.site.BoundedSite>} that its
    connections use.
    """

    connections: OpenConnections


class ChannelPhase(Enum):
    """
    The phases of a connection.
    """

    IDLE = auto()
    """No byte of a request has arrived."""
    RECEIVING = auto()
    """A part of a request has arrived, and its time limit runs."""
    ANSWERING = auto()
    """A request has arrived, and is being answered."""
    CLOSING = auto()
    """The last answer was sent. Further data is discarded."""


class BoundedChannel(HTTPChannel):
    """
    A connection with a time limit for the arrival of each request. The time that an answer
    takes is not limited here.

    @ivar site: set by L{Site<twisted.web.server.Site>}.
    """

    site: CountingSite
    # Data that arrives while a request is being answered waits in the transport, which delivers
    # a bounded amount of it in each turn of the event loop.
    _optimisticEagerReadSize = 0
    _deadline: IDelayedCall | None = None
    _phase = ChannelPhase.IDLE

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._phase.name}>"

    def connectionMade(self) -> None:
        """
        Count the connection.
        """
        super().connectionMade()
        self.site.connections.opened(self)
        self.site.connections.idle(self)

    def dataReceived(self, data: bytes) -> None:
        """
        Receive a part of a request.
        """
        if self._phase is ChannelPhase.IDLE:
            self._phase = ChannelPhase.RECEIVING
            self._deadline = self.callLater(REQUEST_SECONDS, self._refuse_late)
        super().dataReceived(data)

    def allContentReceived(self) -> None:
        """
        Answer a request that has arrived completely.
        """
        self._stop_deadline()
        if self._phase is not ChannelPhase.CLOSING:
            self._phase = ChannelPhase.ANSWERING
        self.site.connections.busy(self)
        super().allContentReceived()

    def requestDone(self, request: Request) -> None:
        """
        Continue with the next request, which may have arrived already.
        """
        self._phase = ChannelPhase.IDLE
        self.site.connections.idle(self)
        super().requestDone(request)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Forget the connection.
        """
        self._end()
        self.site.connections.closed(self)
        super().connectionLost(reason)

    def leave_closing_to_request(self) -> None:
        """
        Stop the time limit, because a request that is refused before it has arrived completely
        closes the connection itself.
        """
        self._end()

    def drop(self) -> None:
        """
        Close the connection at once.
        """
        self._end()
        transport: Any = self.transport
        transport.abortConnection()

    def _refuse_late(self) -> None:
        self._end()
        transport: Any = self.transport
        transport.write(
            last_answer(
                Problem(408, f"the request took too long; allowed: {REQUEST_SECONDS:.0f} s")
            )
        )
        self.loseConnection()

    def _end(self) -> None:
        self._stop_deadline()
        self._phase = ChannelPhase.CLOSING

    def _stop_deadline(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()


class SurplusConnection(Protocol):
    """
    A connection beyond the limit, which gets a 503 and is closed.
    """

    def __init__(self, site: CountingSite) -> None:
        self._site = site

    def connectionMade(self) -> None:
        """
        Refuse the client.
        """
        self._site.connections.opened(self)
        transport: Any = self.transport
        transport.write(
            last_answer(
                Problem(
                    503,
                    "all connections to this API are busy; allowed: the number in "
                    "management.connections",
                    headers={"Retry-After": "1"},
                )
            )
        )
        transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Forget the connection.
        """
        self._site.connections.closed(self)


def last_answer(problem: Problem) -> bytes:
    """
    Encode the response for a problem, after which the connection is closed.
    """
    body = problem.document()
    fields = {
        **problem.headers,
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "Connection": "close",
    }
    lines = [
        f"HTTP/1.1 {problem.status} {TITLES[problem.status]}",
        *(f"{name}: {value}" for name, value in fields.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body
