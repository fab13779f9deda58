"""
Turns of the loop, shared out fairly among connections that have more to do than is right
at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.logger import Logger


class Turns:
    """
    Queue of what is to go on in the loop's next turns, so many at a time, first come first
    served. However many connections wait, a turn is as short as with one.
    """

    _log = Logger()

    def __init__(self, soon: Callable[[Callable[[], None]], object], each: int = 1) -> None:
        """
        @param soon: calls something in the loop's next turn.
        @param each: calls that are made in one turn.
        """
        self._soon = soon
        self._each = each
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
        # The one that is being called counts still: so C{add} asks for no second turn.
        for _ in range(min(self._each, len(waiting))):
            try:
                waiting[0]()
            except Exception:
                self._log.failure("what a connection waited for failed")
            waiting.popleft()
        if waiting:
            self._soon(self._take)
