"""
The leadership of this node, and those that are told when it changes.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger


class Leadership:
    """
    Tells its subscribers when this node begins to lead, and when it ends.

    @ivar is_leader: whether it leads, as was told last.
    """

    _log = Logger()

    def __init__(self) -> None:
        self.is_leader = False
        self._subscribers: list[Callable[[bool], object]] = []

    def subscribe(self, subscriber: Callable[[bool], object]) -> Callable[[], None]:
        """
        Have C{subscriber} called with L{is_leader} whenever it changes.

        @return: ends the subscription.
        """
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    def tell(self, is_leader: bool) -> None:
        """
        Say whether this node leads. Subscribers are called if that is a change.
        """
        if is_leader == self.is_leader:
            return
        self.is_leader = is_leader
        for subscriber in list(self._subscribers):
            try:
                subscriber(is_leader)
            except Exception:
                self._log.failure("a subscriber to the leadership failed")
