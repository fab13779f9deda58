"""
Ends of attempts and of requests, as frozen values, and the listeners that are told of them.

Each attempt with a server and each request ends once, and the counters, the access log and
other listeners are called then. Two exceptions: a tunnel counts as a success when it opens, and
an exception in the program is logged at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum
from typing import Final, TypeAlias

import msgspec

from alacrity.http1.messages import RequestHead


class Party(Enum):
    """
    The parties of a request: each can be at fault, or be waited for.
    """

    CLIENT = "client"
    SERVER = "server"
    NODE = "node"


class FailureKind(Enum):
    """
    All kinds of failures that end an attempt or a request early.
    """

    CONNECT_FAILED = "connect failed"
    CONNECT_REFUSED = "connect refused"
    CONNECT_TIMED_OUT = "connect timed out"
    UNUSABLE_WHEN_ACCEPTED = "the connection ended, or spoke, as it was accepted"
    RESET_BEFORE_RESPONSE = "reset before the response"
    RESET_IN_RESPONSE = "reset in the response"
    BAD_RESPONSE = "bad response"
    RESPONSE_TIMED_OUT = "response timed out"
    SILENT = "the server answers nobody"
    ERROR_STATUS = "a status for which another server is asked"

    NO_SERVER = "no server is up"
    SERVER_REMOVED = "the server was removed"
    NODE_SHORTAGE = "shortage of this node"
    NODE_FAULT = "fault of this node"
    NODE_STOPS = "this node stops"
    TOO_MANY_CONNECTIONS = "too many connections"

    CLIENT_GONE = "client gone"
    BAD_REQUEST = "bad request"
    REQUEST_TIMED_OUT = "request timed out"
    RESPONSE_NOT_READ = "client reads too slowly"


_PARTIES: Final = {
    FailureKind.CONNECT_FAILED: Party.SERVER,
    FailureKind.CONNECT_REFUSED: Party.SERVER,
    FailureKind.CONNECT_TIMED_OUT: Party.SERVER,
    FailureKind.UNUSABLE_WHEN_ACCEPTED: Party.SERVER,
    FailureKind.RESET_BEFORE_RESPONSE: Party.SERVER,
    FailureKind.RESET_IN_RESPONSE: Party.SERVER,
    FailureKind.BAD_RESPONSE: Party.SERVER,
    FailureKind.RESPONSE_TIMED_OUT: Party.SERVER,
    FailureKind.SILENT: Party.SERVER,
    FailureKind.ERROR_STATUS: Party.SERVER,
    FailureKind.NO_SERVER: Party.NODE,
    FailureKind.SERVER_REMOVED: Party.NODE,
    FailureKind.NODE_SHORTAGE: Party.NODE,
    FailureKind.NODE_FAULT: Party.NODE,
    FailureKind.NODE_STOPS: Party.NODE,
    FailureKind.TOO_MANY_CONNECTIONS: Party.NODE,
    FailureKind.CLIENT_GONE: Party.CLIENT,
    FailureKind.BAD_REQUEST: Party.CLIENT,
    FailureKind.REQUEST_TIMED_OUT: Party.CLIENT,
    FailureKind.RESPONSE_NOT_READ: Party.CLIENT,
}


class Cause(msgspec.Struct, frozen=True, gc=False):
    """
    The cause of an attempt's or a request's early end.

    @ivar kind: what happened.
    @ivar text: the same in a few words, with particulars, for logs; empty: nothing worth
        logging.
    @ivar was_sent: whether any of the request had been sent to a server.
    @ivar repeat_is_safe: whether the request may be sent again, as no server can have acted
        upon it, or acting twice does no harm.
    @ivar error_code: the C{errno} of a shortage of this node; else 0.
    """

    kind: FailureKind
    text: str = ""
    was_sent: bool = False
    repeat_is_safe: bool = False
    error_code: int = 0

    @property
    def party(self) -> Party:
        """The party whose fault it was."""
        return _PARTIES[self.kind]


class Succeeded(msgspec.Struct, frozen=True, gc=False):
    """
    The attempt brought a complete response, or a tunnel.

    @ivar status: the response's; one of 500 and above still counts as failed.
    """

    status: int


class Failed(msgspec.Struct, frozen=True, gc=False):
    """
    The attempt failed by the server's fault.
    """

    cause: Cause


class Abandoned(msgspec.Struct, frozen=True, gc=False):
    """
    The attempt was given up for a cause that is not the server's fault.
    """

    cause: Cause


Outcome: TypeAlias = Succeeded | Failed | Abandoned


class AttemptEnded(msgspec.Struct, frozen=True, gc=False):
    """
    The end of one attempt with one server.

    @ivar server: the server's id.
    @ivar was_reused: whether the request went over a connection that had been used before.
    """

    server: str
    outcome: Outcome
    was_reused: bool


class RequestEnded(msgspec.Struct, frozen=True, gc=False):
    """
    The end of one request.

    @ivar client: the client's IP address; empty: it has none, as on a Unix socket.
    @ivar request: the request's head; L{None}: it was not understood.
    @ivar status: the response's; 0: there was none.
    @ivar sent: bytes of the response's body that were written to the client.
    @ivar complete: whether the response was written to its end.
    @ivar duration: seconds since the head was read; 0: nobody listens to all requests.
    @ivar server: the id of the server of the last attempt; L{None}: there was no attempt.
    @ivar cause: why it failed; L{None}: the client has the server's whole response.
    @ivar reason: the text of the last failure, also of an attempt after which another
        succeeded; empty: none failed.
    """

    client: bytes
    request: RequestHead | None
    status: int
    sent: int = 0
    complete: bool = True
    duration: float = 0.0
    server: str | None = None
    cause: Cause | None = None
    reason: str = ""


_UNEXPLAINED: Final = frozenset({FailureKind.CLIENT_GONE, FailureKind.NODE_STOPS})


class Listeners:
    """
    The callables that are called at the ends of attempts and requests: the counters with one
    cheap argument, the others, where there are any, with an event.

    @ivar count_request: told of each request that was answered or broken off: whether the
        client got a response below 500. A client that went away counts as neither.
    @ivar count_attempt: told of each attempt that was not abandoned: whether the server
        gave a complete response below 500.
    @ivar tunnel_opened: told of each switch to another protocol.
    @ivar tunnel_closed: told of each tunnel's end.
    @ivar attempts: told of each attempt; L{None}: no event is built.
    @ivar requests: told of each request; L{None}: likewise, and the clock is not read.
    @ivar failures: told of requests that this node answered itself, or broke off.
    @ivar monotonic: a clock in seconds, for the duration of requests.
    """

    __slots__ = (
        "attempts",
        "count_attempt",
        "count_request",
        "failures",
        "monotonic",
        "requests",
        "tunnel_closed",
        "tunnel_opened",
    )

    def __init__(
        self,
        *,
        count_request: Callable[[bool], None],
        count_attempt: Callable[[bool], None],
        tunnel_opened: Callable[[], None],
        tunnel_closed: Callable[[], None],
        attempts: Callable[[AttemptEnded], None] | None = None,
        requests: Callable[[RequestEnded], None] | None = None,
        failures: Callable[[RequestEnded], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.count_request = count_request
        self.count_attempt = count_attempt
        self.tunnel_opened = tunnel_opened
        self.tunnel_closed = tunnel_closed
        self.attempts = attempts
        self.requests = requests
        self.failures = failures
        self.monotonic = monotonic

    def request_ended(self, ended: RequestEnded) -> None:
        """
        Call the listeners to requests, and to failures.
        """
        cause = ended.cause
        if self.failures is not None and cause is not None and cause.kind not in _UNEXPLAINED:
            self.failures(ended)
        if self.requests is not None:
            self.requests(ended)
