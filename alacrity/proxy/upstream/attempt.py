"""
One try to have a request answered by one server.

Over 400 lines, with the interface of its owner, which belongs beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from alacrity.http1.errors import ProtocolError
from alacrity.http1.fields import options
from alacrity.http1.forwarding import switched_to
from alacrity.http1.messages import ResponseHead
from alacrity.proxy.events import (
    Abandoned,
    AttemptEnded,
    Cause,
    Failed,
    FailureKind,
    Listeners,
    Outcome,
    Party,
    Succeeded,
)
from alacrity.proxy.interfaces import RequestSide, ResponseSink, UpstreamConnection
from alacrity.proxy.upstream.causes import cause_of
from alacrity.proxy.upstream.connection import ServerConnection
from alacrity.proxy.upstream.failing.watch import FailureWatch
from alacrity.proxy.upstream.retry import IDEMPOTENT, REPEATABLE
from alacrity.proxy.upstream.server import KeptConnection, UpstreamServer

Connect: TypeAlias = Callable[[UpstreamServer], Deferred[ServerConnection]]
"""Opens a connection to a server."""


_FIRST_ERROR: Final = 500
"""The lowest status of an error of the server's."""

_NOTABLE: Final = 400
"""The lowest status that may count against the server."""

_SUCCEEDED: Final = tuple(Succeeded(status) for status in range(1000))
"""The outcomes by status, made once."""


class ResponseDeclined(ProtocolError):
    """
    The response is not passed on to the client, as another server is asked. It is no fault, but
    ends the reading of the response as one does.
    """


class AttemptHasEnded(Exception):
    """
    An attempt was ended twice: a fault in this program.
    """


class AttemptOwner(RequestSide, Protocol):
    """
    The exchange of an attempt: receives the events of the attempt, and its end.

    @ivar listeners: are called at the end of an attempt, too.
    @ivar sink: where the response goes.
    """

    @property
    def listeners(self) -> Listeners: ...

    @property
    def sink(self) -> ResponseSink: ...

    @property
    def failing(self) -> FailureWatch:
        """Judges servers by their failures."""

    def declines(self, status: int) -> bool:
        """
        Whether another server is asked, and this response not passed on. The response then
        counts as a failure.
        """

    @property
    def body_is_kept(self) -> bool:
        """Whether all that was sent of the request's body can be sent again."""

    def connected(self, connection: UpstreamConnection) -> None:
        """There is a connection; the request may be sent."""

    def crashed(self, failure: Failure) -> None:
        """An exception was raised while connecting: a fault in this program."""

    def informed(self, status: int) -> None:
        """An interim response has come."""

    def goes_on(self) -> None:
        """More of the response has come, and there is more to come."""

    def switched(self, head: ResponseHead, said: bytes) -> None:
        """
        The server has switched to another protocol.

        @param said: bytes that it sent after its response.
        """

    def pause_request(self) -> None:
        """The server takes no more of the request's body for now."""

    def resume_request(self) -> None:
        """The server takes more of the request's body."""

    def attempt_succeeded(self, status: int) -> None:
        """The response is written to its end, and the attempt has ended."""

    def attempt_failed(self, cause: Cause, seen: bool) -> None:
        """
        The attempt has ended without a complete response.

        @param seen: whether the client has seen some of one.
        """


class Attempt:
    """
    One try with one server: on a connection that is kept, or on a new one. It passes the
    response on to the client, and ends once: succeeded, failed, or abandoned.

    The server counts it as active from its beginning to its end. To its connection, it is
    the L{ResponseReceiver<alacrity.proxy.interfaces.ResponseReceiver>}.

    @ivar exchange: the exchange that makes the attempt.
    @ivar upstream: the server.
    @ivar connection: to it; L{None}: not yet, or the attempt has ended.
    @ivar was_reused: whether the connection had been used before.
    @ivar response: the head of the final response, once it has come.
    @ivar status: the response's; 0: it has not come.
    @ivar answered: whether the response has come, and been written, to its end.
    @ivar was_informed: whether an interim response has come: the server has the request.
    @ivar switching: whether the server has switched to another protocol.
    @ivar outcome: how it has ended; L{None}: it is under way.
    """

    response: ResponseHead

    # Defaults of what is seldom read. Python reads an instance's own values much faster.
    was_reused = True
    switching = False
    was_informed = False
    # The status of a response that was not passed on, as another server is asked; 0: none.
    _declined = 0
    _connecting: Deferred[ServerConnection] | None = None

    def __init__(
        self, exchange: AttemptOwner, upstream: UpstreamServer, connection: KeptConnection | None
    ) -> None:
        """@param connection: one that was kept; L{None}: one is to be made."""
        self.exchange = exchange
        self.upstream = upstream
        self.connection: UpstreamConnection | None = connection
        self.outcome: Outcome | None = None
        self.status = 0
        self.answered = False
        self._sink = sink = exchange.sink
        # By this, a head that has come since from the server is seen.
        self._heads = upstream.heads
        # A piece of the response's body goes straight to the client.
        self.responseBodyReceived: Callable[[bytes], None] = sink.write
        upstream.begin(self)

    def __repr__(self) -> str:
        if self.outcome is not None:
            state = f"ended: {self.outcome}"
        elif self.connection is None:
            state = "connecting"
        else:
            state = f"responding {self.status}" if self.status else "sent"
        return f"<Attempt {self.upstream.id} {state}>"

    # The connection

    def connect(self, connect: Connect) -> None:
        """Make a connection."""
        self.was_reused = False
        self._connecting = connecting = connect(self.upstream)
        connecting.addCallbacks(self._connected, self._connect_failed)
        connecting.addErrback(self.exchange.crashed)

    def _connected(self, connection: ServerConnection) -> None:
        self._connecting = None
        if self.outcome is not None:
            connection.abort()
        elif connection.usable:
            self.connection = connection
            self.exchange.connected(connection)
        else:
            connection.abort()
            text = "the server ended the connection, or spoke, as it accepted it"
            self._fail(Cause(FailureKind.UNUSABLE_WHEN_ACCEPTED, text, repeat_is_safe=True))

    def _connect_failed(self, failure: Failure) -> None:
        self._connecting = None
        if self.outcome is None:
            self._fail(cause_of(failure))

    def stop_connecting(self) -> bool:
        """
        Make no connection, if one is being made: that fails the attempt.

        @return: whether one was.
        """
        connecting = self._connecting
        if connecting is None:
            return False
        connecting.cancel()
        return True

    # The response, from the connection

    def informationReceived(self, head: ResponseHead) -> None:
        """Take an interim response."""
        # The server has the request: it is not to be sent again.
        self.was_informed = True
        self.upstream.head_came()
        exchange = self.exchange
        exchange.informed(head.status)
        self._sink.inform(exchange.request, head)

    def switchReceived(self, head: ResponseHead) -> None:
        """
        The server switches protocols (RFC 9110 7.8).

        @raise ProtocolError: to none of those that it was asked for.
        """
        self.upstream.head_came()
        if switched_to(head).lower() not in options(self.exchange.request.upgrade):
            raise ProtocolError("there is an upgrade that nobody asked for")
        self.response = head
        self.status = head.status
        self.switching = True

    def responseReceived(self, head: ResponseHead) -> None:
        """
        Begin the final response.

        @raise ResponseDeclined: it is not passed on, and the connection is to be dropped.
        """
        status, exchange = head.status, self.exchange
        self.upstream.head_came()
        if status >= _FIRST_ERROR and exchange.declines(status):
            self._declined = status
            raise ResponseDeclined(f"status {status}")
        self.response = head
        self.status = status
        self._sink.start(exchange.request, head, exchange.complete)
        if head.length == 0:
            self.responseFinished([])

    def responseFinished(self, trailers: list[bytes]) -> None:
        """End the response."""
        self.answered = True
        self._sink.finish(trailers)

    def progress(self) -> None:
        """
        Let the part of the response that has come go to the client. Parts of a body restart
        the wait for the server; parts of a head do not.
        """
        if self.status:
            self.exchange.goes_on()
        self._sink.flush()

    def switched(self, said: bytes) -> None:
        """
        Become a tunnel. That counts as a success now, while the attempt lasts as long as the
        tunnel.
        """
        self.answered = True
        self.upstream.switched()
        self.exchange.listeners.count_attempt(True)
        self.exchange.switched(self.response, said)

    def pause_request(self) -> None:
        """The server takes no more of the request's body for now."""
        self.exchange.pause_request()

    def resume_request(self) -> None:
        """The server takes more of the request's body."""
        self.exchange.resume_request()

    # Looks

    @property
    def awaits_head(self) -> bool:
        """
        Whether the request was sent whole, and the server has begun no response since the
        attempt began, neither to it nor to others.
        """
        connection = self.connection
        return (
            self._heads == self.upstream.heads
            and connection is not None
            and self.exchange.complete
            and not connection.full
        )

    @property
    def may_repeat(self) -> bool:
        """
        Whether the request may be sent again: sending it twice does no harm, all that was sent
        of its body is at hand, and the server has not said that it has it.
        """
        exchange = self.exchange
        return (
            not self.was_informed
            and exchange.request.method in IDEMPOTENT
            and exchange.body_is_kept
        )

    # The end

    def finished(self) -> None:
        """The response is complete."""
        status = self.status
        succeeded = status < _FIRST_ERROR
        self._end(_SUCCEEDED[status], succeeded)
        exchange, upstream = self.exchange, self.upstream
        if upstream.trouble is not None or status >= _NOTABLE:
            exchange.failing.ended(upstream, self, _SUCCEEDED[status], was_reused=self.was_reused)
        exchange.listeners.count_attempt(succeeded)
        exchange.attempt_succeeded(status)

    def tunnel_closed(self) -> None:
        """The tunnel that the server has switched to is over."""
        self._end(_SUCCEEDED[self.status], None)

    def failed(self, kind: FailureKind, text: str) -> None:
        """The connection is lost, or was dropped since the response is not HTTP."""
        if self._declined:
            kind = FailureKind.ERROR_STATUS
        if self.outcome is None:
            repeat_is_safe = kind in REPEATABLE and self.may_repeat
            self._fail(Cause(kind, text, was_sent=True, repeat_is_safe=repeat_is_safe))

    def fell_silent(self, cause: Cause) -> None:
        """The server answers nobody: fail, so that the request is sent to another."""
        if self.connection is not None:
            self.connection.abort()
        self._fail(cause)

    def server_left(self) -> None:
        """The server has left the pool, and has had its time to finish."""
        text = "the server was removed, and took too long to finish"
        self._fail(Cause(FailureKind.SERVER_REMOVED, text, was_sent=True))

    def _fail(self, cause: Cause) -> None:
        """End, after the connection has, and tell the exchange."""
        self.connection = None
        self.exchange.attempt_failed(cause, self.give_up(cause))

    def give_up(self, cause: Cause) -> bool:
        """
        End without a complete response, and drop the connection, or what was to become one.
        The exchange is not told.

        @param cause: the attempt has failed if the server is to blame for it, else it is
            abandoned.
        @return: whether the client has seen some of the response.
        """
        has_failed = cause.party is Party.SERVER
        connection = self.connection
        outcome: Outcome
        # A response that was declined is judged by its status.
        judged: Outcome
        if has_failed:
            outcome = Failed(cause)
            judged = _SUCCEEDED[self._declined] if self._declined else outcome
            self._end(outcome, False)
            self.exchange.listeners.count_attempt(False)
        else:
            outcome = judged = Abandoned(cause)
            self._end(outcome, None)
        self.exchange.failing.ended(self.upstream, self, judged, was_reused=self.was_reused)
        if connection is not None:
            connection.abort()
        self.stop_connecting()
        return self.status != 0 and not self._sink.take_back()

    def _end(self, outcome: Outcome, succeeded: bool | None) -> None:
        """
        @param succeeded: whether the server's counter records a success or a failure; L{None}:
            neither.
        @raise AttemptHasEnded: it had ended before.
        """
        if self.outcome is not None:
            raise AttemptHasEnded(repr(self))
        self.outcome = outcome
        self.connection = None
        self.upstream.end(self, succeeded)
        listener = self.exchange.listeners.attempts
        if listener is not None:
            listener(AttemptEnded(self.upstream.id, outcome, self.was_reused))
