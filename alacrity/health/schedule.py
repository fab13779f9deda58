"""
The times at which servers are checked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final, Generic, TypeVar

SPARE: Final = 100
"""Stale heap entries tolerated before the heap is rebuilt, besides one for each item."""

_Item = TypeVar("_Item", bound=Hashable)


class Schedule(Generic[_Item]):
    """
    Items that wait: new ones for their turn, the others for their time.

    It has no clock: times are whatever its user measures, in seconds.
    """

    def __init__(self) -> None:
        self._new: deque[_Item] = deque()
        self._times: dict[_Item, float] = {}
        # The heap may have entries that are stale: those whose time is not that of _times.
        self._heap: list[tuple[float, int, _Item]] = []
        self._order = count()

    def put(self, item: _Item, time: float) -> None:
        """
        Have an item wait for a time, instead of any that it waited for before.
        """
        self._times[item] = time
        heappush(self._heap, (time, next(self._order), item))
        if len(self._heap) > 2 * len(self._times) + SPARE:
            self._heap = [entry for entry in self._heap if not self._is_stale(entry)]
            heapify(self._heap)

    def put_new(self, item: _Item) -> None:
        """
        Have an item wait for its turn, which comes before that of any whose time has come.
        """
        self._new.append(item)

    def bring_forward(self, item: _Item, time: float) -> bool:
        """
        Have an item wait for an earlier time, if it waits for a later one.

        @return: whether it does.
        """
        if time < self._times.get(item, time):
            self.put(item, time)
            return True
        return False

    def discard(self, item: _Item) -> None:
        """
        Have an item wait for no time. One that waits for its turn is still taken.
        """
        self._times.pop(item, None)

    def clear(self) -> None:
        """
        Discard all items.
        """
        self._new.clear()
        self._times.clear()
        self._heap.clear()

    def take_due(self, now: float) -> _Item | None:
        """
        Remove the next item whose turn or time has come.

        @return: L{None}: there is none.
        """
        if self._new:
            return self._new.popleft()
        heap, times = self._heap, self._times
        while heap and heap[0][0] <= now:
            time, _, item = heappop(heap)
            if times.get(item) == time:
                del times[item]
                return item
        return None

    def has_new(self) -> bool:
        """
        True if an item waits for its turn.
        """
        return bool(self._new)

    def next_time(self) -> float | None:
        """
        The earliest time for which an item waits; L{None}: there is none.
        """
        while self._heap and self._is_stale(self._heap[0]):
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _is_stale(self, entry: tuple[float, int, _Item]) -> bool:
        time, _, item = entry
        return self._times.get(item) != time
