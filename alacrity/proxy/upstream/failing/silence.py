"""
Detection of servers that do not answer.
"""

from __future__ import annotations

from typing import Protocol

from alacrity.proxy.upstream.server import UpstreamServer


class Waiter(Protocol):
    """
    An attempt, as far as silence goes.
    """

    @property
    def awaits_head(self) -> bool:
        """
        Whether its request was sent whole, and its server has sent no response head since it
        began: neither to it nor to another.
        """


class SilenceWatch:
    """
    Notes since when servers have been silent: since the oldest request that waits was sent
    whole, without a response head, also to others, since then. An older request does not count
    once the server has answered others since: it may be a long poll.

    To be asked a few times a second about each server with attempts. A request's time begins
    when it is first seen here, so no clock is read for it.
    """

    def __init__(self) -> None:
        # By server: its response heads so far, and since when a request has waited.
        self._waits: dict[UpstreamServer, tuple[int, float]] = {}

    def silent_for(self, upstream: UpstreamServer, now: float) -> float:
        """
        Look at a server.

        @return: seconds for which it has been silent.
        """
        if not any(attempt.awaits_head for attempt in upstream.attempts()):
            self._waits.pop(upstream, None)
            return 0.0
        heads = upstream.heads
        wait = self._waits.get(upstream)
        if wait is None or wait[0] != heads:
            self._waits[upstream] = (heads, now)
            return 0.0
        return now - wait[1]

    def forget(self, upstream: UpstreamServer) -> None:
        """
        Begin anew with a server.
        """
        self._waits.pop(upstream, None)
