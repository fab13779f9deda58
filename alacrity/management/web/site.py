"""
C{twisted.web} within limits: no request makes it keep more than L{BODY_LIMIT} bytes, and no
answer names the software.
"""

from __future__ import annotations

from io import BytesIO
from math import inf
from typing import Any, Final

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from alacrity.management.documents.problems import Problem
from alacrity.management.web.connections import (
    IDLE_SECONDS,
    BoundedChannel,
    OpenConnections,
    SurplusConnection,
    last_answer,
)
from alacrity.management.web.pages import split_target
from alacrity.management.web.responses import log_incident, respond_problem

_log: Final = Logger()

COMPLAINT_INTERVAL: Final = 60.0
"""Seconds between two log lines about a lack of connections."""

BODY_LIMIT: Final = 65536
"""The largest body of a request, in bytes."""

LINGER_BYTES: Final = 16 * 2**20
"""The bytes of a refused body that are read and discarded at most. If the connection were closed
at once, many clients that still send would never see the answer (RFC 9112 9.6)."""

LINGER_SECONDS: Final = 5.0
"""Seconds for which a refused body is read at most."""


class BoundedRequest(Request):
    """
    A request that is refused as soon as its body is known to be too large.
    """

    content: BytesIO
    _received = 0
    _refused = False
    _lingering: IDelayedCall | None = None

    def gotLength(self, length: int | None) -> None:
        """
        Receive the end of the head.

        @param length: the length of the body; L{None}: the body is chunked.
        """
        self.content = BytesIO()
        if length is not None and length > BODY_LIMIT:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        """
        Receive a part of the body.
        """
        self._received += len(data)
        if not self._refused:
            if self._received <= BODY_LIMIT:
                self.content.write(data)
                return
            self._refuse()
        if self._received > LINGER_BYTES:
            self._close()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """
        Receive the end of the body, and answer.
        """
        if self._refused:
            self._close()
            return
        authority, target = split_target(path)
        if authority is not None:
            self.requestHeaders.setRawHeaders(b"Host", [authority])
        super().requestReceived(command, target, version)

    def connectionLost(self, reason: Failure) -> None:
        """
        Stop the answer, because the connection has ended.
        """
        self._stop_lingering()
        super().connectionLost(reason)

    def _refuse(self) -> None:
        self._refused = True
        self.content = BytesIO()
        # Otherwise the channel would send 100 Continue after the final answer.
        self.requestHeaders.removeHeader(b"Expect")
        channel: Any = self.channel
        problem = Problem(413, f"the body is too large; allowed: {BODY_LIMIT} bytes")
        channel.write(last_answer(problem))
        channel.leave_closing_to_request()
        self._lingering = channel.callLater(LINGER_SECONDS, self._close)

    def _close(self) -> None:
        self._stop_lingering()
        self.channel.loseConnection()

    def _stop_lingering(self) -> None:
        if self._lingering is not None and self._lingering.active():
            self._lingering.cancel()

    def getRequestHostname(self) -> bytes:
        """
        A fixed name, so that the name in C{Host} has no effect.
        """
        return b"alacrity"

    def write(self, data: bytes) -> None:
        """
        Write a part of the answer.
        """
        if not self.startedWriting:
            self.responseHeaders.removeHeader(b"Server")
        super().write(data)

    def processingFailed(self, reason: Failure) -> Failure:
        """
        Answer after an exception in the resource itself.
        """
        if self.startedWriting:
            self._log.failure("an answer was interrupted by a fault", reason)
            self.channel.loseConnection()
        else:
            self.write(respond_problem(self, log_incident(self, reason)))
            self.finish()
        return reason


class BoundedSite(Site):
    """
    Serves one resource with L{BoundedRequest}s on a bounded number of connections, without an
    access log.

    If there are too many connections, the one that has been idle for longest is closed. So a
    client that only keeps connections open cannot lock out others, with or without the token.

    @ivar connections: the open connections.
    """

    noisy = False
    # Twisted's default protocol chooses between HTTP/1.1 and HTTP/2.
    protocol = BoundedChannel  # type: ignore[assignment]
    requestFactory = BoundedRequest
    displayTracebacks = False

    def __init__(
        self, resource: IResource, reactor: IReactorTime, *, limit: int, surplus: int
    ) -> None:
        """
        @param reactor: the clock for time limits.
        @param limit: the number of connections that may be open.
        @param surplus: the number of further connections that may be open while others are being
            closed for them, or while they are refused.
        """
        super().__init__(
            resource, timeout=IDLE_SECONDS, reactor=reactor, parsePOSTFormSubmission=False
        )
        self.connections = OpenConnections()
        self._limit = limit
        self._surplus = surplus
        self._complained = -inf

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """
        Accept a connection.

        @return: the connection's protocol; L{None}: the connection is closed at once.
        """
        if len(self.connections) >= self._limit:
            self._complain()
            # A connection that is being closed still counts.
            if len(self.connections) >= self._limit + self._surplus:
                return None
            longest = self.connections.take_longest_idle()
            if longest is None:
                return SurplusConnection(self)
            longest.drop()
        return super().buildProtocol(addr)

    def _complain(self) -> None:
        now = self.reactor.seconds()
        if now - self._complained >= COMPLAINT_INTERVAL:
            self._complained = now
            _log.warn(
                "all {count} connections to the management API are taken; those without a "
                "request are closed for new ones (management.connections)",
                count=self._limit,
            )

    def startFactory(self) -> None:
        """
        Do nothing: there is no access log to open, and no date to keep for one.
        """

    def stopFactory(self) -> None:
        """
        Do nothing: there is no access log to close.
        """

    def log(self, request: object) -> None:
        """
        Do nothing: there is no access log.
        """

    def acceptableProtocols(self) -> list[bytes]:
        """
        The protocols offered over TLS: only HTTP/1.1, because the limits apply only to it.
        """
        return [b"http/1.1"]
