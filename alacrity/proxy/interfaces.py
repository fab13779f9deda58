"""
The two seams of an exchange: the client's side, which its response goes to, and the
connection to a server, which its request goes to.

An exchange knows neither HTTP/1 nor sockets on the client's side. A connection of HTTP/1 is
a L{Downstream}; each stream of HTTP/2 could be one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from alacrity.http1.messages import RequestHead, ResponseHead
from alacrity.proxy.events import FailureKind


class TunnelReceiver(Protocol):
    """
    One side of a tunnel: receives the events of one connection that was switched to another
    protocol.
    """

    def received(self, data: bytes) -> None:
        """Bytes have come."""

    def ended(self) -> None:
        """The other end has sent its last bytes. It may still be written to."""

    def lost(self) -> None:
        """The connection is lost."""

    def full(self) -> None:
        """The connection takes no more bytes for now."""

    def drained(self) -> None:
        """The connection takes bytes again."""

    def expired(self) -> None:
        """The connection's deadline has passed."""

    def cut(self) -> None:
        """Drop both connections of the tunnel."""


class TunnelEnd(Protocol):
    """
    One of the two connections of a tunnel.

    @ivar full: whether it takes no more bytes for now.
    """

    full: bool

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def end(self) -> None:
        """Send no more: half-close, once all is written."""

    def pause(self) -> None:
        """Stop reading: the other side takes no more for now."""

    def resume(self) -> None:
        """Read on: the other side takes more."""

    def close(self) -> None:
        """Close, once all is written."""

    def abort(self) -> None:
        """Drop the connection, and what is on its way."""


class ResponseSink(Protocol):
    """
    Writes responses to a client, in whatever form its protocol has for them.

    Parts of a response may be buffered until L{flush} or L{finish}.

    @ivar sent: bytes written of the body of the response that was started last.
    """

    @property
    def sent(self) -> int: ...

    def inform(self, request: RequestHead, head: ResponseHead) -> None:
        """
        Write an interim response (1xx), unless the client's protocol has none.
        """

    def start(self, request: RequestHead, head: ResponseHead, complete: bool) -> None:
        """
        Write the head of the final response.

        @param complete: whether the request has been read to its end.
        """

    def write(self, data: bytes) -> None:
        """Write a piece of the body."""

    def finish(self, trailers: list[bytes]) -> None:
        """Write the end of the response, with its trailer fields, as lines."""

    def flush(self) -> None:
        """Send the part of the response that is buffered."""

    def take_back(self) -> bool:
        """
        Discard the response that was started, if all of it is buffered still.

        @return: whether it is discarded.
        """

    def answer(self, request: RequestHead, status: int, complete: bool) -> None:
        """
        Write a whole response of the proxy's own.

        @param complete: whether the request has been read to its end.
        """


class Downstream(TunnelEnd, Protocol):
    """
    The client's side of an exchange. It has one exchange at a time, which calls C{ended},
    C{break_off} or C{switch} at its end.

    While the exchange lasts, it stops and resumes the reading of the request's body by
    C{pause} and C{resume}.

    @ivar client: the client's IP address; empty: it has none, as on a Unix socket.
    @ivar response: where the response goes.
    """

    @property
    def client(self) -> bytes: ...

    @property
    def response(self) -> ResponseSink: ...

    def await_until(self, seconds: float) -> None:
        """
        Have C{expired} of the exchange, or of the tunnel, called after some seconds, unless
        this is called again before.
        """

    def is_secure(self, request: RequestHead) -> bool:
        """
        Whether a request has come over an encrypted connection, all the way from its client.
        """

    def unsent(self) -> int | None:
        """
        Bytes that the client has not acknowledged; L{None}: unknown.
        """

    def ended(self, complete: bool) -> None:
        """
        The response is written to its end, and the exchange is over.

        @param complete: whether the request has been read to its end.
        """

    def break_off(self) -> None:
        """
        The exchange is over, and the response is not complete. End it in a way that the
        client cannot take for a complete one.
        """

    def switch(self, head: ResponseHead, said: bytes, tunnel: TunnelReceiver) -> None:
        """
        The exchange is over, and this becomes one end of a tunnel. Write the response that
        switches protocols; pass the tunnel the bytes that came after the request, and all
        those to come.

        @param said: bytes that the server sent after its response.
        """


class ConnectionKeeper(Protocol):
    """
    Keeps connections to servers between requests.
    """

    @property
    def keep(self) -> Callable[[Any], None]:
        """Keep a connection that is free; or close it."""

    def remove(self, connection: Any) -> None:
        """Stop keeping a connection."""


class RequestSide(Protocol):
    """
    The request that a connection to a server carries.

    @ivar request: its head.
    @ivar complete: whether it has been read to its end.
    @ivar affinity: keeps connections for the request's client alone.
    """

    complete: bool

    @property
    def request(self) -> RequestHead: ...

    @property
    def affinity(self) -> ConnectionKeeper: ...


class ResponseReceiver(Protocol):
    """
    The receiver of a response, and of the events of the connection to the server that it
    comes over: an attempt.

    @ivar exchange: has the request that the response answers.
    @ivar response: the head of the final response, once it has come.
    @ivar status: the response's; 0: it has not come.
    @ivar answered: whether the response has come, and been written, to its end.
    @ivar switching: whether the server has switched to another protocol.
    """

    response: ResponseHead
    status: int
    answered: bool
    switching: bool

    @property
    def exchange(self) -> RequestSide: ...

    def informationReceived(self, head: ResponseHead) -> None:
        """An interim response (1xx)."""

    def switchReceived(self, head: ResponseHead) -> None:
        """
        The server switches to another protocol (101).

        @raise ProtocolError: the client has not asked for that.
        """

    def responseReceived(self, head: ResponseHead) -> None:
        """The final response begins."""

    @property
    def responseBodyReceived(self) -> Callable[[bytes], None]:
        """A piece of its body."""

    def responseFinished(self, trailers: list[bytes]) -> None:
        """The response is complete."""

    def progress(self) -> None:
        """All bytes so far have been read, and the response is not complete."""

    def switched(self, said: bytes) -> None:
        """
        The connection is free to be one end of a tunnel.

        @param said: bytes that the server sent after its response.
        """

    def finished(self) -> None:
        """The response is complete, and the connection is free for another request."""

    def failed(self, kind: FailureKind, text: str) -> None:
        """The connection is lost, or was dropped since the response is not HTTP."""

    def server_left(self) -> None:
        """The server has left the pool, and had its time to finish; the connection is dropped."""

    def pause_request(self) -> None:
        """The server takes no more of the request's body for now."""

    def resume_request(self) -> None:
        """The server takes more of it."""


class UpstreamConnection(TunnelEnd, Protocol):
    """
    A connection to a server, as an exchange uses it: C{write}, C{pause}, C{resume} and
    C{abort} are about its request's body and its response.

    @ivar usable: whether a request may be sent: the server has not ended the connection,
        nor spoken before it was asked.
    """

    usable: bool

    def send(self, attempt: ResponseReceiver, data: bytes) -> None:
        """
        Send a request, or what there is of it.

        @param attempt: is told of the response. It is not told of C{abort}.
        """

    def switch(self, tunnel: TunnelReceiver) -> None:
        """Go on as one end of a tunnel."""
