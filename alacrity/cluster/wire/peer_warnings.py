"""
Warnings that anybody on the network could cause: each is logged once, and not too many.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

MOST_REMEMBERED: Final = 256
"""Warnings that are remembered, so as not to be repeated."""

MOST_PER_PERIOD: Final = 30
"""Warnings that are logged in L{PERIOD}."""

PERIOD: Final = 60.0
"""In seconds."""


class PeerWarnings:
    """
    The log of what is wrong with nodes and strangers, without repetitions.
    """

    def __init__(self, log: Logger, clock: IReactorTime) -> None:
        self._log = log
        self._clock = clock
        self._logged: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._period_began = clock.seconds()
        self._count = 0

    def warn(self, who: str, reason: str) -> None:
        """
        Log a warning, unless it is remembered, or there were too many lately.

        @param who: an address, or a node.
        """
        logged = self._logged
        if (who, reason) in logged:
            logged.move_to_end((who, reason))
            return
        now = self._clock.seconds()
        if now - self._period_began >= PERIOD:
            self._period_began = now
            self._count = 0
        self._count += 1
        if self._count <= MOST_PER_PERIOD:
            # One that is not logged is not remembered: it is logged should it come again.
            logged[who, reason] = None
            if len(logged) > MOST_REMEMBERED:
                logged.popitem(last=False)
            self._log.warn("{who}: {reason}", who=who, reason=reason)
        elif self._count == MOST_PER_PERIOD + 1:
            self._log.warn("further warnings of this kind are not logged for up to a minute")

    def forget(self, who: str) -> None:
        """
        Forget the warnings about somebody with whom all is well now, so that they are
        logged again should they come again.
        """
        for key in [each for each in self._logged if each[0] == who]:
            del self._logged[key]
