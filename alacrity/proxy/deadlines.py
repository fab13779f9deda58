"""
Deadlines for many connections, with one timer for all.
"""

from __future__ import annotations

from email.utils import formatdate
from math import inf
from typing import Final, Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

NEVER: Final = inf

STALL_PERIODS: Final = 2
"""Periods that two checks are apart at most; beyond that, the loop has stalled."""

_log: Final = Logger()


class Limited(Protocol):
    """
    An object with a deadline, which it sets itself.

    @ivar deadline: when, on the scale of L{Deadlines.now}; L{NEVER}: not now.
    """

    deadline: float

    def expired(self) -> None:
        """
        The deadline has passed. Set the next one, or L{NEVER}, before anything else: this is
        called again at each check for as long as the deadline has passed.
        """


class Deadlines:
    """
    Checks all deadlines a few times a second, so that to set one is to set an attribute. It
    is noticed up to two periods late.

    A stall of the loop does not count as time: bytes that came during it are read before
    anything expires.

    @ivar now: the time, in seconds since some moment, as of the last check.
    @ivar date: the same, as an HTTP date (RFC 9110 5.6.7), to the second or so.
    """

    def __init__(self, clock: IReactorTime, period: float = 0.25) -> None:
        self._clock = clock
        self._limited: set[Limited] = set()
        self._period = period
        self._sweep = LoopingCall(self.sweep)
        self._sweep.clock = clock
        self.now = self._looked = clock.seconds()
        self._look()
        self.add = self._limited.add
        self.discard = self._limited.discard

    def start(self) -> None:
        """Start the periodic check."""
        self._sweep.start(self._period)

    def stop(self) -> None:
        """Stop it."""
        if self._sweep.running:
            self._sweep.stop()

    def _look(self) -> None:
        looked = self._clock.seconds()
        self.now += min(looked - self._looked, self._period * STALL_PERIODS)
        self._looked = looked
        self.date = formatdate(usegmt=True).encode("ascii")

    def sweep(self) -> None:
        """
        Call C{expired} of all whose deadline has passed.
        """
        self._look()
        now = self.now
        for limited in [limited for limited in self._limited if limited.deadline <= now]:
            try:
                limited.expired()
            except Exception:
                _log.failure("a deadline of {limited!r} failed", limited=limited)
