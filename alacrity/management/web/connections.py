"""
Connections to the management API: how many there may be, and how long a request may take
to come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request

from alacrity.management.documents.problems import MEDIA_TYPE, TITLES, Problem

if TYPE_CHECKING:
    from alacrity.management.web.site import BoundedSite

IDLE_SECONDS: Final = 60
"""For how long a connection may say nothing between two requests."""

REQUEST_SECONDS: Final = 20.0
"""For how long a request may take to come, from its first byte to its last."""


class BoundedChannel(HTTPChannel):
    """
    A connection with a deadline for each request, from its first byte to its last. How
    long the answer takes, is not limited here.
    """

    site: BoundedSite
    # What comes while a request is being answered waits with the transport, which lets
    # no more through in a turn of the loop than is right.
    _optimisticEagerReadSize = 0
    _deadline: IDelayedCall | None = None
    _busy = False

    def connectionMade(self) -> None:
        """
        A client has connected.
        """
        super().connectionMade()
        self.site.opened(self)

    def dataReceived(self, data: bytes) -> None:
        """
        It has sent something.
        """
        if self._deadline is None and not self._busy:
            self._deadline = self.callLater(REQUEST_SECONDS, self._too_slow)
        super().dataReceived(data)

    def allContentReceived(self) -> None:
        """
        A request is complete.
        """
        self.settle()
        self._busy = True
        self.site.working(self)
        super().allContentReceived()

    def requestDone(self, request: Request) -> None:
        """
        It is answered. The next one may be here already.
        """
        self._busy = False
        self.site.idling(self)
        super().requestDone(request)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The client is gone.
        """
        self.settle()
        self.site.closed(self)
        super().connectionLost(reason)

    def settle(self) -> None:
        """
        Nothing more is waited for, or somebody else sees to it.
        """
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()

    def drop(self) -> None:
        """
        Close the connection at once.
        """
        self.settle()
        transport: Any = self.transport
        transport.abortConnection()

    def _too_slow(self) -> None:
        self._deadline = None
        transport: Any = self.transport
        transport.write(
            final(Problem(408, f"the request took too long; allowed: {REQUEST_SECONDS:.0f} s"))
        )
        self.loseConnection()


class TooMany(Protocol):
    """
    A connection that is one too many, and is told so.
    """

    def __init__(self, site: BoundedSite) -> None:
        self._site = site

    def connectionMade(self) -> None:
        """
        A client has connected.
        """
        self._site.opened(self)
        transport: Any = self.transport
        transport.write(
            final(
                Problem(
                    503,
                    "all connections to this API are busy; allowed: as many as "
                    "management.connections says",
                    headers={"Retry-After": "1"},
                )
            )
        )
        transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The client is gone.
        """
        self._site.closed(self)


def final(problem: Problem) -> bytes:
    """
    The last answer on a connection, as it is sent.
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
