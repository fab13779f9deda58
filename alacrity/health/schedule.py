"""
The schedule of the servers' checks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final, Generic, TypeVar

STALE_ENTRIES: Final = 100
"""Stale heap entries tolerated before the heap is rebuilt, in addition to one for each item."""

_Item = TypeVar("_Item", bound=Hashable)


class Schedule(Generic[_Item]):
    """
    Items that wait: new ones in a queue, the others for their times.

    The schedule has no clock: its user measures the times, in seconds.
    """

    def __init__(self) -> None:
        self._new: deque[_Item] = deque()
        self._times: dict[_Item, float] = {}
        # The heap may have stale entries: those whose time differs from the one in _times.
        self._heap: list[tuple[float, int, _Item]] = []
        self._order = count()

    def put(self, item: _Item, time: float) -> None:
        """
        Schedule an item for a time, which replaces an earlier one.
        """
        self._times[item] = time
        heappush(self._heap, (time, next(self._order), item))
        if len(self._heap) > 2 * len(self._times) + STALE_ENTRIES:
            self._heap = [entry for entry in self._heap if not self._is_stale(entry)]
            heapify(self._heap)

    def put_new(self, item: _Item) -> None:
        """
        Add a new item to the queue. New items are taken before items whose time has come.
        """
        self._new.append(item)

    def bring_forward(self, item: _Item, time: float) -> bool:
        """
        Schedule an item for an earlier time, if it waits for a later one.

        @return: whether the time was changed.
        """
        if time < self._times.get(item, time):
            self.put(item, time)
            return True
        return False

    def discard(self, item: _Item) -> None:
        """
        Remove an item that waits for a time. A new item in the queue is still taken.
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
        Remove the next new item, or the next item whose time has come, and return it.

        @return: the item; L{None}: there is none.
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
        Whether a new item waits in the queue.
        """
        return bool(self._new)

    def next_time(self) -> float | None:
        """
        The earliest time of an item; L{None}: no item waits for a time.
        """
        while self._heap and self._is_stale(self._heap[0]):
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _is_stale(self, entry: tuple[float, int, _Item]) -> bool:
        time, _, item = entry
        return self._times.get(item) != time
