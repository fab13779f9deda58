"""
C{twisted.web} with bounds: no request makes it keep more than L{BODY_LIMIT}, and
no answer says what it runs on.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from math import inf
from typing import Any, Final
from uuid import uuid4

import msgspec
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from alacrity.management.documents.problems import MEDIA_TYPE, TITLES, Problem
from alacrity.management.web.connections import IDLE_SECONDS, BoundedChannel, TooMany
from alacrity.management.web.pages import split_target
from alacrity.node.descriptors import slack

_log: Final = Logger()

COMPLAIN: Final = 60.0
"""Seconds for which it is not said again that there are too many."""

BODY_LIMIT: Final = 65536
"""How many bytes a request's body may have."""

LINGER_BYTES: Final = 16 * 2**20
"""How much of a refused body is read and thrown away. Were the connection closed at
once, many clients, still sending, would never see the answer (RFC 9112 9.6)."""

LINGER_SECONDS: Final = 5.0
"""For how long that is done at most."""


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
        The head is complete.

        @param length: of the body; L{None}: it is chunked.
        """
        self.content = BytesIO()
        if length is not None and length > BODY_LIMIT:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        """
        Some more of the body.
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
        The body is complete.
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
        The client is gone.
        """
        self._cease_lingering()
        super().connectionLost(reason)

    def _refuse(self) -> None:
        self._refused = True
        self.content = BytesIO()
        # Else the channel would answer 100 Continue after the final answer.
        self.requestHeaders.removeHeader(b"Expect")
        body = Problem(413, f"the body is too large; allowed: {BODY_LIMIT} bytes").document()
        headers = Headers()
        headers.setRawHeaders("Content-Type", [MEDIA_TYPE])
        headers.setRawHeaders("Content-Length", [str(len(body))])
        headers.setRawHeaders("Cache-Control", ["no-store"])
        headers.setRawHeaders("Connection", ["close"])
        channel: Any = self.channel
        channel.writeHeaders(b"HTTP/1.1", b"413", b"Content Too Large", headers)
        channel.write(body)
        # From here on it is this that ends the connection.
        channel.settle()
        self._lingering = channel.callLater(LINGER_SECONDS, self._close)

    def _close(self) -> None:
        self._cease_lingering()
        self.channel.loseConnection()

    def _cease_lingering(self) -> None:
        if self._lingering is not None and self._lingering.active():
            self._lingering.cancel()

    def getRequestHostname(self) -> bytes:
        """
        What the client calls us decides nothing here, so it cannot be wrong either.
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
        Something of ours is broken.
        """
        if self.startedWriting:
            self._log.failure("an answer broke off", reason)
            self.channel.loseConnection()
        else:
            self.write(respond_problem(self, incident(self, reason)))
            self.finish()
        return reason


class BoundedSite(Site):
    """
    Serves one resource with L{BoundedRequest}s on a bounded number of connections, and
    keeps no access log.

    Where there are too many, the one is closed that has been without a request for
    longest. So nobody who holds connections keeps others out, known or not.
    """

    noisy = False
    # Twisted's own is a choice between HTTP/1.1 and HTTP/2.
    protocol = BoundedChannel  # type: ignore[assignment]
    requestFactory = BoundedRequest
    displayTracebacks = False

    def __init__(
        self,
        resource: IResource,
        reactor: IReactorTime | None = None,
        *,
        connections: int,
    ) -> None:
        """
        @param connections: most of them at once.
        """
        super().__init__(
            resource, timeout=IDLE_SECONDS, reactor=reactor, parsePOSTFormSubmission=False
        )
        self._connections = connections
        self._open: set[Protocol] = set()
        # In the order in which they came to be without a request.
        self._idle: dict[BoundedChannel, None] = {}
        self._complained = -inf

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """
        A client has connected.

        @return: L{None}: the connection is closed.
        """
        if len(self._open) >= self._connections:
            self._complain()
            # What is being closed still counts.
            if len(self._open) >= self._connections + slack(self._connections):
                return None
            if not self._idle:
                return TooMany(self)
            longest = next(iter(self._idle))
            del self._idle[longest]
            longest.drop()
        return super().buildProtocol(addr)

    def opened(self, connection: Protocol) -> None:
        """
        A connection is there.
        """
        self._open.add(connection)
        if isinstance(connection, BoundedChannel):
            self.idling(connection)

    def working(self, channel: BoundedChannel) -> None:
        """
        A request is complete, and is being answered.
        """
        self._idle.pop(channel, None)

    def idling(self, channel: BoundedChannel) -> None:
        """
        There is no complete request.
        """
        self._idle[channel] = None

    def closed(self, connection: Protocol) -> None:
        """
        A connection has ended.
        """
        self._open.discard(connection)
        if isinstance(connection, BoundedChannel):
            self._idle.pop(connection, None)

    def _complain(self) -> None:
        now = self.reactor.seconds()
        if now - self._complained >= COMPLAIN:
            self._complained = now
            _log.warn(
                "all {count} connections to the management API are taken; those without a "
                "request are closed for new ones (management.connections)",
                count=self._connections,
            )

    def startFactory(self) -> None:
        """
        There is no access log to open, and no date to keep for one.
        """

    def stopFactory(self) -> None:
        """
        There is nothing to close.
        """

    def log(self, request: object) -> None:
        """
        An access log of this would tell nobody anything.
        """

    def acceptableProtocols(self) -> list[bytes]:
        """
        Over TLS: HTTP/1.1 only, for the bounds hold for that alone.
        """
        return [b"http/1.1"]


def respond(
    request: Request, status: int, body: bytes, media_type: str = "application/json"
) -> bytes:
    """
    Prepare an answer with a body; the caller writes what this returns.
    """
    title = TITLES.get(status)
    # Twisted has no words for some.
    request.setResponseCode(status, None if title is None else title.encode("ascii"))
    set_headers(
        request,
        {
            "Content-Type": media_type,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
        },
    )
    return body


def respond_json(request: Request, document: object, status: int = 200) -> bytes:
    """
    Prepare an answer with a document; the caller writes what this returns.
    """
    return respond(request, status, encode_json(document))


def encode_json(document: object) -> bytes:
    """
    A document as it is sent: JSON, with an end of line.
    """
    return msgspec.json.encode(document) + b"\n"


def respond_problem(request: Request, problem: Problem) -> bytes:
    """
    Prepare an answer with a problem document; the caller writes what this returns.
    """
    set_headers(request, problem.headers)
    return respond(request, problem.status, problem.document(), MEDIA_TYPE)


def set_headers(request: Request, headers: Mapping[str, str]) -> None:
    """
    Set fields of the answer.
    """
    for name, value in headers.items():
        request.responseHeaders.setRawHeaders(name, [value])


def incident(request: Request, failure: Failure) -> Problem:
    """
    Log a fault of ours, and make of it what may be shown of it: an id.
    """
    id = uuid4().hex[:12]
    request._log.failure(  # noqa: SLF001 - Twisted's, for requests
        "incident {incident}: {method} {path} failed",
        failure,
        incident=id,
        method=ascii(request.method)[2:-1],
        path=ascii(request.path)[2:-1],
    )
    return Problem(500, f"this is a fault of Alacrity's; its log has more on it: {id}", incident=id)
