"""
Warnings that any host on the network can cause: each is logged once, and their number is
limited.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

MOST_REMEMBERED: Final = 256
"""Warnings that are remembered, so that they are not logged again."""

MOST_PER_PERIOD: Final = 30
"""Warnings that are logged at most in one L{PERIOD}."""

PERIOD: Final = 60.0
"""The period of the limit, in seconds."""


class PeerWarnings:
    """
    Logs warnings about nodes and other hosts, without repetitions.
    """

    def __init__(self, log: Logger, clock: IReactorTime) -> None:
        self._log = log
        self._clock = clock
        self._logged: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._period_began = clock.seconds()
        self._count = 0

    def warn(self, who: str, reason: str) -> None:
        """
        Log a warning, unless it was logged before, or there are too many in this period.

        @param who: an address, or the name of a node.
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
            # Only logged warnings are remembered; another one is logged if it comes again.
            logged[who, reason] = None
            if len(logged) > MOST_REMEMBERED:
                logged.popitem(last=False)
            self._log.warn("{who}: {reason}", who=who, reason=reason)
        elif self._count == MOST_PER_PERIOD + 1:
            self._log.warn("further warnings of this kind are not logged for up to a minute")

    def forget(self, who: str) -> None:
        """
        Forget the warnings about an address or a node that is connected now, so that later ones
        are logged again.
        """
        for key in [each for each in self._logged if each[0] == who]:
            del self._logged[key]
