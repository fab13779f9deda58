"""
The party that an exchange waits for.
"""

from __future__ import annotations

from typing import Final

from alacrity.proxy.events import Cause, FailureKind, Party
from alacrity.proxy.exchange.context import ExchangeContext
from alacrity.proxy.exchange.pace import ReaderPace
from alacrity.proxy.interfaces import Downstream

_CLIENT: Final = Party.CLIENT
_SERVER: Final = Party.SERVER


class Waiting:
    """
    The party that is waited for, and how long: the server; the client, for more of the
    request's body; or the client, as it is slow to read the response.
    """

    __slots__ = ("_awaited", "_context", "_downstream", "_reader_pace")

    def __init__(self, context: ExchangeContext, downstream: Downstream) -> None:
        self._context = context
        self._downstream = downstream
        self._awaited = _SERVER
        # How the client takes a response that it is slow to read.
        self._reader_pace: ReaderPace | None = None

    def for_server(self) -> None:
        """
        Wait for the server. While the client is slow to read, it is the client that is
        waited for.
        """
        self._awaited = _SERVER
        if self._reader_pace is None:
            self._downstream.await_until(self._context.timeouts.server_response)

    def for_client(self) -> None:
        """Wait for more of the request's body."""
        self._awaited = _CLIENT
        self._downstream.await_until(self._context.timeouts.client_idle)

    def for_reader(self) -> None:
        """Wait for the client to take what was sent to it."""
        context = self._context
        idle = context.timeouts.client_idle
        self._reader_pace = ReaderPace(
            context.deadlines, self._downstream.unsent, idle=idle, rate=context.limits.response_rate
        )
        self._downstream.await_until(idle)

    def reader_is_back(self) -> None:
        """Wait no longer for the client to read."""
        self._reader_pace = None

    def expired(self) -> Cause | None:
        """
        The wait has taken too long.

        @return: the cause that ends the attempt; L{None}: a steady reader may go on.
        """
        if self._reader_pace is not None:
            # It is the client that is slow; if it is steady, that is its right.
            wait = self._reader_pace.allowance()
            if wait:
                self._downstream.await_until(wait)
                return None
            kind, text = FailureKind.RESPONSE_NOT_READ, "the client took too little of the response"
        elif self._awaited is _CLIENT:
            kind, text = FailureKind.REQUEST_TIMED_OUT, "the request body did not come in time"
        else:
            kind, text = FailureKind.RESPONSE_TIMED_OUT, "the server did not answer in time"
        return Cause(kind, text, was_sent=True)
