"""
The reactor's clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime


def steady(
    wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
) -> Callable[[], float]:
    """
    A clock that starts at the time of day and advances as the monotonic clock does, so that
    setting the time of day has no effect on it.

    @param wall: the time of day, in seconds since the epoch.
    @param monotonic: seconds since an arbitrary moment.
    """
    offset = wall() - monotonic()
    return lambda: offset + monotonic()


def keep_steady(reactor: Any) -> None:
    """
    Replace a reactor's clock by a L{steady} one.

    Twisted's reactors go by the time of day, also on uvloop: after it is set back, no delayed
    call is made for as long; after it is set forward, all time limits are over. Calls that
    were scheduled before keep their times.
    """
    reactor.seconds = steady()


class Deadline:
    """
    A time limit after whose end the sockets are looked at before anything is done. The
    reactor runs timers first, so after a stall of its loop, the limit would end what had
    long been in time.
    """

    TURNS: Final = 3
    """Turns of the loop until the last of those concerned has been told."""

    def __init__(self, clock: IReactorTime, seconds: float, call: Callable[[], object]) -> None:
        """
        @param call: called after the limit's end, unless it is cancelled before.
        """
        self._clock = clock
        self._call = call
        self._turns = self.TURNS
        self._waiting: IDelayedCall | None = clock.callLater(seconds, self._expire)

    def _expire(self) -> None:
        if self._turns:
            self._turns -= 1
            self._waiting = self._clock.callLater(0, self._expire)
        else:
            self._waiting = None
            self._call()

    def cancel(self) -> None:
        """
        Call nothing. It may be done twice, or too late.
        """
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()
