"""
Log lines that anybody on the network could cause: once each, and not too many.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

REMEMBERED: Final = 256
"""How many complaints are remembered, so as not to be repeated."""

MOST: Final = 30
"""How many are logged in L{PERIOD}."""

PERIOD: Final = 60.0
"""In seconds."""


class Complaints:
    """
    Logs what is wrong with somebody, unless it is logged already.
    """

    def __init__(self, log: Logger, clock: IReactorTime) -> None:
        self._log = log
        self._clock = clock
        self._made: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._since = clock.seconds()
        self._count = 0

    def complain(self, who: str, reason: str) -> None:
        """
        @param who: an address, or a node.
        """
        made = self._made
        if (who, reason) in made:
            made.move_to_end((who, reason))
            return
        now = self._clock.seconds()
        if now - self._since >= PERIOD:
            self._since = now
            self._count = 0
        self._count += 1
        if self._count <= MOST:
            # What is not logged is not remembered: it is, should it come again later.
            made[who, reason] = None
            if len(made) > REMEMBERED:
                made.popitem(last=False)
            self._log.warn("{who}: {reason}", who=who, reason=reason)
        elif self._count == MOST + 1:
            self._log.warn("more of this kind, which are not logged for up to a minute")

    def settled(self, who: str) -> None:
        """
        All is well with somebody: complain anew, should it be needed.
        """
        for key in [each for each in self._made if each[0] == who]:
            del self._made[key]
