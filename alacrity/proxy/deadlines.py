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
"""Periods after which a look counts as held up by a stall of the loop."""


class Limited(Protocol):
    """
    An object with a deadline, which it sets itself.

    @ivar deadline: when, on the scale of L{Deadlines.now}; L{NEVER}: not now.
    """

    deadline: float

    def expired(self) -> None:
        """
        The deadline has passed. Set the next one, or L{NEVER}, before anything else: this is
        called again at each look for as long as the deadline has passed.
        """


class Deadlines:
    """
    Looks through all that have a deadline, a few times a second.

    Setting a deadline is then the setting of an attribute. It is late by up to
    two periods.

    While the loop stalls, no time passes here: what had come by then is seen before
    anything is late for it.

    @ivar now: the time, in seconds since some moment, as of the last look.
    @ivar date: the same, as an HTTP date (RFC 9110 5.6.7), to the second or so.
    """

    _log = Logger()

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
        """Begin to look."""
        self._sweep.start(self._period)

    def stop(self) -> None:
        """Cease to look."""
        if self._sweep.running:
            self._sweep.stop()

    def _look(self) -> None:
        looked = self._clock.seconds()
        self.now += min(looked - self._looked, self._period * STALL_PERIODS)
        self._looked = looked
        self.date = formatdate(usegmt=True).encode("ascii")

    def sweep(self) -> None:
        """
        Tell all whose deadline has passed.
        """
        self._look()
        now = self.now
        for limited in [limited for limited in self._limited if limited.deadline <= now]:
            try:
                limited.expired()
            except Exception:
                self._log.failure("a deadline of {limited!r} failed", limited=limited)
