"""
The leadership of this node, and the subscribers to its changes.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger


class Leadership:
    """
    Calls its subscribers when this node becomes the leader, and when it is no longer the leader.

    @ivar is_leader: whether this node is the leader, as the subscribers know it.
    """

    _log = Logger()

    def __init__(self) -> None:
        self.is_leader = False
        self._subscribers: list[Callable[[bool], object]] = []

    def subscribe(self, subscriber: Callable[[bool], object]) -> Callable[[], None]:
        """
        Add a subscriber, which is called with L{is_leader} whenever that changes.

        @return: a function that ends the subscription.
        """
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    def tell(self, is_leader: bool) -> None:
        """
        Set whether this node is the leader. A change is passed to the subscribers.
        """
        if is_leader == self.is_leader:
            return
        self.is_leader = is_leader
        for subscriber in list(self._subscribers):
            try:
                subscriber(is_leader)
            except Exception:
                self._log.failure("a subscriber to leadership changes has raised")
