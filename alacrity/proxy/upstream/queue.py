"""
The queue of requests that wait while every server that could take them is full.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from twisted.python.failure import Failure

LOOKS_PER_TURN: Final = 32
"""Requests that one turn of the loop looks at: each may write to a server, or connect."""


class Waiter(Protocol):
    """
    A request that waits.

    It is I{choosy} if not every server may take it: some have failed it, or its client has a
    login or a session with one. A choosy one that cannot begin says nothing of the others.
    """

    @property
    def choosy(self) -> bool: ...

    def begin(self) -> bool:
        """
        Begin an attempt with a server that has room.

        @return: whether there was one.
        """

    def may_wait(self) -> bool:
        """Whether a server could take the request if it had room."""

    def unserved(self) -> None:
        """No server can take the request any more: it ends."""

    def crashed(self, failure: Failure) -> None:
        """To begin it has raised an exception: a fault in this program."""


class Place:
    """
    One request's place in the queue.
    """

    __slots__ = ("_lane", "_queue", "_since", "number", "waiter")

    def __init__(
        self, queue: WaitingQueue, lane: dict[int, Place], number: int, waiter: Waiter
    ) -> None:
        self._queue = queue
        self._lane = lane
        self._since = queue.monotonic()
        self.number = number
        self.waiter = waiter

    @property
    def is_left(self) -> bool:
        """Whether the request waits here no more."""
        return self.number not in self._lane

    @property
    def waited(self) -> float:
        """Seconds since it was taken."""
        return self._queue.monotonic() - self._since

    def leave(self) -> None:
        """Wait no longer. A second call does nothing."""
        if self._lane.pop(self.number, None) is not None:
            self._queue.left()


class WaitingQueue:
    """
    Requests that wait for a server with room, first come first served.

    When there may be room (L{wake}), it looks in a later turn of the loop at those that wait, in
    their order, and has each begin that can, until one that any server may take finds none with
    room. So as many begin as there is room for. The choosy ones after that one are looked
    at all the same, as a server may have room that is for them alone.

    @ivar length: requests that wait.
    @ivar size: requests that may wait.
    @ivar timeout: seconds that one may wait in all.
    @ivar monotonic: the clock, in seconds.
    """

    def __init__(
        self,
        *,
        size: int,
        timeout: float,
        soon: Callable[[Callable[[], None]], object],
        monotonic: Callable[[], float],
    ) -> None:
        """
        @param soon: calls something in a later turn of the loop.
        """
        self.size = size
        self.timeout = timeout
        self.monotonic = monotonic
        self.length = 0
        self._soon = soon
        self._joined = 0
        # By number, and so in the order in which they came.
        self._plain: dict[int, Place] = {}
        self._choosy: dict[int, Place] = {}
        # The choosy ones that this pass has not looked at yet; L{None}: there is no pass.
        self._to_look_at: deque[Place] | None = None
        self._plain_may_begin = False
        self._is_woken = False

    def __repr__(self) -> str:
        return f"<WaitingQueue {self.length} of {self.size}>"

    def join(self, waiter: Waiter) -> Place | None:
        """
        Wait, after all others.

        @return: the place; L{None}: the queue is full.
        """
        if self.length >= self.size:
            return None
        lane = self._choosy if waiter.choosy else self._plain
        self._joined += 1
        place = lane[self._joined] = Place(self, lane, self._joined, waiter)
        self.length += 1
        if lane is self._choosy or not self._plain_may_wait_for_room():
            self.wake()
        return place

    def _plain_may_wait_for_room(self) -> bool:
        """
        Whether one that any server may take waits before the last one: then no server has
        room, or it is about to begin.
        """
        return len(self._plain) > 1

    def left(self) -> None:
        """
        A request waits no longer. For its place alone.
        """
        self.length -= 1

    def wake(self) -> None:
        """
        Look at those that wait in a later turn of the loop: a server may have room for them, or
        the last one that could take them may be gone.
        """
        if self.length and not self._is_woken:
            self._is_woken = True
            if self._to_look_at is None:
                self._soon(self._look)

    def _look(self) -> None:
        """Look at a bounded number of those that wait."""
        if self._to_look_at is None:
            self._is_woken = False
            self._plain_may_begin = True
            self._to_look_at = deque(self._choosy.values())
        for _ in range(LOOKS_PER_TURN):
            place = self._next(self._to_look_at)
            if place is None:
                self._to_look_at = None
                if self._is_woken:
                    self._soon(self._look)
                return
            self._look_at(place)
        self._soon(self._look)

    def _next(self, choosy: deque[Place]) -> Place | None:
        """The next to look at, in the order in which they came."""
        while choosy and choosy[0].is_left:
            choosy.popleft()
        plain = next(iter(self._plain.values()), None) if self._plain_may_begin else None
        if choosy and (plain is None or choosy[0].number < plain.number):
            return choosy.popleft()
        return plain

    def _look_at(self, place: Place) -> None:
        waiter = place.waiter
        try:
            if waiter.begin():
                place.leave()
            elif not waiter.may_wait():
                place.leave()
                waiter.unserved()
            elif place.number in self._plain:
                self._plain_may_begin = False
        except Exception:
            place.leave()
            waiter.crashed(Failure())
