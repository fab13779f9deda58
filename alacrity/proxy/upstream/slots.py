"""
Connections to servers, kept within their share of the file descriptors.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.python.failure import Failure


class Slots:
    """
    Counts connections to servers, from the attempt to the end.

    @ivar taken: how many there are.
    """

    def __init__(self, most: int, make_room: Callable[[], object]) -> None:
        """
        @param most: how many there may be.
        @param make_room: closes those that are idle.
        """
        self.taken = 0
        self._most = most
        self._make_room = make_room

    def take(self) -> Slot:
        """
        Begin a connection. If there are too many, the idle ones are closed: the others carry
        requests, and there is room for one for each client.
        """
        if self.taken >= self._most:
            self._make_room()
        self.taken += 1
        return Slot(self)

    def give_back(self) -> None:
        """
        A connection has ended.
        """
        self.taken -= 1


class Slot:
    """
    One connection's place.
    """

    __slots__ = ("_slots",)

    def __init__(self, slots: Slots) -> None:
        self._slots: Slots | None = slots

    def release(self) -> None:
        """
        The connection has ended, or was never made. A second call does nothing.
        """
        slots, self._slots = self._slots, None
        if slots is not None:
            slots.give_back()

    def failed(self, failure: Failure) -> Failure:
        """
        The connection was never made.
        """
        self.release()
        return failure
