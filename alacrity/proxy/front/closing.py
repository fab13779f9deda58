"""
The deadlines of a client connection that is being closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from alacrity.proxy.exchange.context import ExchangeContext
from alacrity.proxy.exchange.pace import ReaderPace

LINGER: Final = 5.0
"""
Seconds, since the client sent last, for which a connection is read from after its last
response, so that the response is not lost to a reset (RFC 9112 9.6). This and the next are
nginx's C{lingering_timeout} and C{lingering_time}.
"""

LINGER_IN_ALL: Final = 30.0
"""Seconds that it is read from at most, however busily the client sends."""

LAST_LINGER: Final = 1.0
"""Seconds that it is read from at most once the proxy stops."""


class ClosingTime:
    """
    The time that a client is given after its last response: to send the rest of what it is
    sending, and to read.
    """

    __slots__ = ("_context", "_linger_until", "_pace", "_unsent")

    def __init__(self, context: ExchangeContext, unsent: Callable[[], int | None]) -> None:
        """
        @param unsent: bytes that the client has not acknowledged; L{None}: unknown.
        """
        self._context = context
        self._unsent = unsent
        self._linger_until = context.deadlines.now + LINGER_IN_ALL
        # The pace at which the client reads the rest of the response.
        self._pace: ReaderPace | None = None

    def linger(self) -> float:
        """
        The deadline for more from the client, which sends still.
        """
        return min(self._context.deadlines.now + LINGER, self._linger_until)

    def shorten(self, deadline: float) -> float:
        """
        The deadline once the proxy stops: an earlier one in the place of another.
        """
        last = self._context.deadlines.now + LAST_LINGER
        self._linger_until = min(self._linger_until, last)
        return min(deadline, self._linger_until)

    def extend(self) -> float | None:
        """
        The next deadline, when one has passed, for a client that is reading the response
        still, at its own pace; L{None}: it is not.
        """
        context = self._context
        if self._pace is not None:
            wait = self._pace.allowance()
        else:
            self._pace = ReaderPace(
                context.deadlines,
                self._unsent,
                idle=context.timeouts.client_idle,
                rate=context.limits.response_rate,
            )
            wait = LINGER if self._unsent() else 0.0
        return context.deadlines.now + wait if wait else None
