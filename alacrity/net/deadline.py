"""
Time limits that a stall of the loop does not bring about.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Deadline:
    """
    A time limit after whose end the sockets are polled before the call is made. The
    reactor runs timers first: after a stall of its loop, a plain timer would end what had
    been in time, before the bytes that had long come are read.
    """

    TURNS: Final = 3
    """Turns of the loop until the news of a socket has reached everybody concerned."""

    def __init__(self, clock: IReactorTime, seconds: float, call: Callable[[], object]) -> None:
        """
        @param call: called after the limit's end, unless it is cancelled before.
        """
        self._clock = clock
        self._call = call
        self._turns = self.TURNS
        self._waiting: IDelayedCall | None = clock.callLater(seconds, self._expire)

    def __repr__(self) -> str:
        if self._waiting is None:
            phase = "over"
        else:
            phase = "running" if self._turns == self.TURNS else "polling"
        return f"<Deadline {phase}>"

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
