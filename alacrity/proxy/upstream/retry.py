"""
The rules for the step after a failed attempt.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Final

from alacrity.config import RetrySettings
from alacrity.proxy.events import Cause, FailureKind
from alacrity.proxy.upstream.failing.budget import RetryBudget
from alacrity.proxy.upstream.server import UpstreamServer
from alacrity.proxy.upstream.standing import Standing

IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})
"""Methods that may be sent twice (RFC 9110 9.2.2)."""

REPEATABLE: Final = frozenset({FailureKind.RESET_BEFORE_RESPONSE, FailureKind.ERROR_STATUS})
"""Ends of a connection after which a request may be sent again, if it may be sent twice."""

MOST_UNSENT: Final = 10
"""Servers that are tried for one request without a connection to any."""


class NextStep(Enum):
    """
    The step after a failed attempt.
    """

    ANOTHER_SERVER = "another server"
    SAME_SERVER = "the same server, on a new connection"
    GIVE_UP = "an answer of the proxy's own"


_STATUSES: Final = {
    FailureKind.RESPONSE_TIMED_OUT: 504,
    FailureKind.SILENT: 504,
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


class RetryRules:
    """
    Decides whether a failed attempt is followed by another.
    """

    def __init__(
        self,
        settings: RetrySettings,
        budget: RetryBudget,
        *,
        connect: float,
        monotonic: Callable[[], float],
    ) -> None:
        """
        @param connect: seconds after the first connection that could not be made, in which
            others are tried.
        @param monotonic: a clock, in seconds.
        """
        self._causes = frozenset(settings.on)
        self._statuses = frozenset(int(each) for each in settings.on if each.isdecimal())
        self._attempts = settings.attempts
        self._budget = budget
        self._connect = connect
        self._monotonic = monotonic

    def next_step(self, failed: FailedAttempts, cause: Cause, *, was_reused: bool) -> NextStep:
        """
        Choose the step after a failed attempt of whose response the client has seen nothing.
        A step to another server after the request was sent is counted in the budget.

        @param failed: the attempts, with this one.
        @param was_reused: whether its connection had been used before.
        """
        if cause.kind is FailureKind.NODE_SHORTAGE:
            # Another server may have ports left, but no descriptors.
            is_ports = cause.error_code == errno.EADDRNOTAVAIL
            return NextStep.ANOTHER_SERVER if is_ports else NextStep.GIVE_UP
        if not cause.was_sent:
            return self._after_unsent(failed)
        if cause.repeat_is_safe and failed.sent < self._attempts:
            return self._after_sent(cause, was_reused=was_reused)
        return NextStep.GIVE_UP

    def _after_unsent(self, failed: FailedAttempts) -> NextStep:
        now = self._monotonic()
        if failed.unsent == 1:
            failed.begin_unsent(now)
        goes_on = (
            "connect" in self._causes
            and failed.unsent < MOST_UNSENT
            and now - failed.unsent_since < self._connect
        )
        return NextStep.ANOTHER_SERVER if goes_on else NextStep.GIVE_UP

    def _after_sent(self, cause: Cause, *, was_reused: bool) -> NextStep:
        kind, causes, budget = cause.kind, self._causes, self._budget
        if kind is FailureKind.SILENT:
            # A probe: one at a time, which is this node's doing.
            return NextStep.ANOTHER_SERVER
        if kind is FailureKind.RESET_BEFORE_RESPONSE and was_reused and "reused" in causes:
            # The server was just closing a kept connection (RFC 9112 9.3.1), or has failed;
            # unasked so far, it is as good as any other. There are only so many of these.
            budget.spend()
            return NextStep.SAME_SERVER
        allowed = (
            kind is FailureKind.ERROR_STATUS
            or (kind is FailureKind.RESET_BEFORE_RESPONSE and "reset" in causes)
            or (kind is FailureKind.RESPONSE_TIMED_OUT and "timeout" in causes)
        )
        if allowed and budget.has_room():
            budget.spend()
            return NextStep.ANOTHER_SERVER
        return NextStep.GIVE_UP

    def declines(self, status: int, failed: FailedAttempts | None) -> bool:
        """
        Whether a response of a status is one after which the request may be sent again, as far
        as attempts and budget go.

        @param failed: the attempts before; L{None}: there was none.
        """
        sent = 1 if failed is None else failed.sent + 1
        return status in self._statuses and sent < self._attempts and self._budget.has_room()


class FailedAttempts:
    """
    The attempts of one request that have failed so far.

    @ivar tried: the servers that are not to be tried again while there is another.
    @ivar unreachable: those of them that are not to be tried again at all: there was no
        connection.
    @ivar last: why the last one failed.
    @ivar sent: the number of those by which the request may have been sent.
    @ivar unsent: the number of the others.
    @ivar unsent_since: when the first of these had failed.
    """

    __slots__ = ("_was_short", "last", "sent", "tried", "unreachable", "unsent", "unsent_since")

    def __init__(self) -> None:
        self.tried: AbstractSet[UpstreamServer] = frozenset()
        self.unreachable: AbstractSet[UpstreamServer] = frozenset()
        self.last: Cause | None = None
        self.sent = self.unsent = 0
        self.unsent_since = 0.0
        # Whether this node was short of something in any of them.
        self._was_short = False

    def add(
        self,
        upstream: UpstreamServer,
        cause: Cause,
        rules: RetryRules,
        *,
        was_reused: bool = False,
    ) -> NextStep:
        """
        Add a failed attempt.

        @param was_reused: whether its connection had been used before.
        @return: the next step.
        """
        self.last = cause
        if cause.kind is FailureKind.NODE_SHORTAGE:
            self._was_short = True
        if cause.was_sent:
            self.sent += 1
        else:
            self.unsent += 1
            self.unreachable |= {upstream}
        step = rules.next_step(self, cause, was_reused=was_reused)
        if step is NextStep.SAME_SERVER:
            if upstream.retired:
                return NextStep.ANOTHER_SERVER
            if upstream.standing is Standing.GOOD:
                return step
            # Others are better, and to connect to this one may take long.
            step = NextStep.ANOTHER_SERVER
        if not cause.was_sent or step is NextStep.ANOTHER_SERVER:
            self.tried |= {upstream}
        return step

    def begin_unsent(self, now: float) -> None:
        """
        Note when the first attempt failed by which nothing was sent.
        """
        self.unsent_since = now

    def unserved(self) -> tuple[int, Cause]:
        """
        The status of the answer when no server is left to be tried, and why.
        """
        if self.last is None or not self.tried:
            cause = Cause(FailureKind.NO_SERVER, "no server is up")
            return own_status(cause), cause
        return 503 if self._was_short else own_status(self.last), self.last
