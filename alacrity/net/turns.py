"""
Turns of the loop, shared out fairly among connections that have more to do than is right
at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from twisted.logger import Logger

QUEUE_ABOVE: Final = 4096
"""
Bytes of one read above which a connection waits for its turn, if others do already. Large
reads are the expensive ones.
"""


LARGE_READ: Final = 131072
"""
Bytes of a read that counts as large. libuv would read up to 32 in a turn, of 256 KiB each.
"""

LARGE_READS_PER_TURN: Final = 4
"""Large reads after which a connection waits for its turn: a megabyte, as a rule."""

_log: Final = Logger()


class Turns:
    """
    Queue of calls for the loop's next turns, one call in each turn, first come first
    served. However many connections wait, a turn is as short as with one.
    """

    def __init__(self, soon: Callable[[Callable[[], None]], object]) -> None:
        """
        @param soon: calls something in the loop's next turn.
        """
        self._soon = soon
        self._waiting: deque[Callable[[], None]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, call: Callable[[], None]) -> None:
        """
        Have something called in a turn of its own.
        """
        self._waiting.append(call)
        if len(self._waiting) == 1:
            self._soon(self._take)

    def _take(self) -> None:
        waiting = self._waiting
        try:
            waiting[0]()
        except Exception:
            _log.failure("a connection failed in its turn of the loop")
        # It counted until now, so that C{add} asked for no second turn.
        waiting.popleft()
        if waiting:
            self._soon(self._take)
