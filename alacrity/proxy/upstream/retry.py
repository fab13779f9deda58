"""
The rules for the step after a failed attempt.
"""

from __future__ import annotations

import errno
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Final

from alacrity.proxy.events import Cause, FailureKind
from alacrity.proxy.upstream.server import UpstreamServer

IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})
"""Methods that may be sent twice (RFC 9110 9.2.2)."""


class NextStep(Enum):
    """
    The step after a failed attempt.
    """

    ANOTHER_SERVER = "another server"
    SAME_SERVER = "the same server, on a new connection"
    GIVE_UP = "an answer of the proxy's own"


def may_repeat(kind: FailureKind, *, was_reused: bool, method: bytes, body_is_kept: bool) -> bool:
    """
    Whether a request that was sent may be sent again.

    A kept connection that ends before the first byte of a response is one that the server
    was just closing (RFC 9112 9.3.1).

    @param was_reused: whether it went over a connection that had been used before, and
        nothing shows that the server has read it.
    @param body_is_kept: whether all of its body that was sent is at hand.
    """
    return (
        kind is FailureKind.RESET_BEFORE_RESPONSE
        and was_reused
        and method in IDEMPOTENT
        and body_is_kept
    )


def next_step(cause: Cause) -> NextStep:
    """
    Choose the step after a failed attempt of whose response the client has seen nothing.
    """
    if cause.kind is FailureKind.NODE_SHORTAGE:
        # Another server may have ports left, but no descriptors.
        is_ports = cause.error_code == errno.EADDRNOTAVAIL
        return NextStep.ANOTHER_SERVER if is_ports else NextStep.GIVE_UP
    if not cause.was_sent:
        return NextStep.ANOTHER_SERVER
    # The same server, unasked so far, is as good as any other.
    return NextStep.SAME_SERVER if cause.repeat_is_safe else NextStep.GIVE_UP


_STATUSES: Final = {
    FailureKind.RESPONSE_TIMED_OUT: 504,
    FailureKind.NO_SERVER: 503,
    FailureKind.QUEUE_FULL: 503,
    FailureKind.QUEUE_TIMED_OUT: 503,
    FailureKind.SERVER_REMOVED: 503,
    FailureKind.NODE_SHORTAGE: 503,
    FailureKind.NODE_FAULT: 500,
    FailureKind.REQUEST_TIMED_OUT: 408,
}


def own_status(cause: Cause) -> int:
    """
    The status of the proxy's own answer to a request that failed before the client had seen
    any of a response.
    """
    return _STATUSES.get(cause.kind, 502)


class FailedAttempts:
    """
    The attempts of one request that have failed so far.

    @ivar tried: the servers that are not to be tried again.
    @ivar last: why the last one failed.
    """

    __slots__ = ("_was_short", "last", "tried")

    def __init__(self) -> None:
        self.tried: AbstractSet[UpstreamServer] = frozenset()
        self.last: Cause | None = None
        # Whether this node was short of something in any of them.
        self._was_short = False

    def add(self, upstream: UpstreamServer, cause: Cause) -> NextStep:
        """
        Add a failed attempt.

        @return: the next step.
        """
        self.last = cause
        if cause.kind is FailureKind.NODE_SHORTAGE:
            self._was_short = True
        step = next_step(cause)
        if step is NextStep.ANOTHER_SERVER:
            self.tried |= {upstream}
        elif step is NextStep.SAME_SERVER and upstream.retired:
            return NextStep.ANOTHER_SERVER
        return step

    def unserved(self) -> tuple[int, Cause]:
        """
        The status of the answer when no server is left to be tried, and why.
        """
        if self.last is None or not self.tried:
            cause = Cause(FailureKind.NO_SERVER, "no server is up")
            return own_status(cause), cause
        return 503 if self._was_short else 502, self.last
