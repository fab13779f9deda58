"""
Slow start: the weight of a server that has just come up rises to the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from alacrity.proxy.upstream.server import UpstreamServer

FIRST_PART: Final = 0.1
"""The part of its weight with which a server starts."""

PERIOD: Final = 1.0
"""Seconds after which weights are looked at again, while any rises."""


class SlowStart:
    """
    The servers that have just come up, and the parts of their weights that they have come to.
    There is a timer only while there are such servers.
    """

    def __init__(
        self,
        clock: IReactorTime | None,
        duration: float,
        risen: Callable[[Collection[UpstreamServer]], object],
    ) -> None:
        """
        @param clock: L{None}: no server starts slowly.
        @param duration: seconds from L{FIRST_PART} to the whole; 0: no server starts slowly.
        @param risen: is told of the servers whose parts have changed with the time.
        """
        self._clock = clock
        self._duration = duration
        self._risen = risen
        self._began: dict[UpstreamServer, float] = {}
        self._call: IDelayedCall | None = None

    def __contains__(self, upstream: UpstreamServer) -> bool:
        return upstream in self._began

    def begin(self, upstream: UpstreamServer, elapsed: float = 0.0) -> None:
        """
        Begin with a server.

        @param elapsed: seconds since it came up.
        """
        if self._clock is not None and elapsed < self._duration:
            self._began[upstream] = self._clock.seconds() - elapsed
            if self._call is None:
                self._call = self._clock.callLater(PERIOD, self._look)

    def end(self, upstream: UpstreamServer) -> None:
        """
        End with a server, if it is in its slow start.
        """
        self._began.pop(upstream, None)
        if not self._began:
            self.stop()

    def stop(self) -> None:
        """
        Stop the timer.
        """
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def part(self, upstream: UpstreamServer) -> float:
        """
        The part of its weight that a server has come to.
        """
        began = self._began.get(upstream)
        if began is None:
            return 1.0
        assert self._clock is not None
        passed = (self._clock.seconds() - began) / self._duration
        return min(1.0, FIRST_PART + (1.0 - FIRST_PART) * max(0.0, passed))

    def _look(self) -> None:
        self._call = None
        assert self._clock is not None
        rising = list(self._began)
        over = self._clock.seconds() - self._duration
        self._began = {each: began for each, began in self._began.items() if began > over}
        if self._began:
            self._call = self._clock.callLater(PERIOD, self._look)
        self._risen(rising)
