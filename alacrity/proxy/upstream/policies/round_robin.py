"""
Round robin by weight, on a virtual clock.
"""

from __future__ import annotations

from collections.abc import Collection
from heapq import heapify, heappop, heappush, heapreplace
from math import ceil
from random import Random
from typing import Any, Final, TypeAlias

from alacrity.proxy.upstream.server import UpstreamServer

STALE_ENTRIES: Final = 16
"""Stale heap entries that are tolerated before a rebuild, beyond one for each server."""

_Entry: TypeAlias = list[Any]
# The time of the turn; two numbers that order equals, the first the server's, the second the
# entry's; the server, or None if the entry is stale; the period.
_TURN, _ORDER, _SERIAL, _SERVER, _PERIOD = range(5)


class RoundRobin:
    """
    Gives each server a turn every 1 / weight of virtual time, and the turns in the order of
    their times. So each gets its share, evenly spread, and whoever comes or goes moves the turn
    of no other. The virtual time is that of the last turn.

    A server keeps the times of its turns while it is away: those in its absence are lost, and
    coming and going brings it no turn that it would not have had by staying.
    """

    def __init__(self, rng: Random | None = None) -> None:
        """
        @param rng: for the first turns of servers, so that nodes do not all begin with the
            same ones; L{None}: they have them in the order in which they come.
        """
        self._rng = rng
        # The time of the last turn, and the order of the server that had it.
        self._now = 0.0
        self._last = -1
        self._next_order = 0
        self._serial = 0
        self._heap: list[_Entry] = []
        self._stale = 0
        self._present: dict[UpstreamServer, _Entry] = {}
        # The last entries of those that are away.
        self._absent: dict[UpstreamServer, _Entry] = {}

    def __len__(self) -> int:
        return len(self._present)

    def add(self, upstream: UpstreamServer, weight: float) -> None:
        """See L{Policy<alacrity.proxy.upstream.policies.policy.Policy>}."""
        period, now = 1 / weight, self._now
        before = self._absent.pop(upstream, None)
        if before is None:
            part = 1.0 if self._rng is None else 1.0 - self._rng.random()
            turn, order = now + part * period, self._next_order
            self._next_order += 1
        else:
            turn, order, _, _, former = before
            if turn < now:
                turn += ceil((now - turn) / former) * former
            if turn == now and order <= self._last:
                turn += former
            turn = now + (turn - now) * period / former
        self._serial += 1
        self._present[upstream] = entry = [turn, order, self._serial, upstream, period]
        heappush(self._heap, entry)

    def remove(self, upstream: UpstreamServer) -> None:
        """See L{Policy<alacrity.proxy.upstream.policies.policy.Policy>}."""
        entry = self._present.pop(upstream)
        self._absent[upstream] = entry.copy()
        # To look for it in the heap would take longer than to pass it over there.
        entry[_SERVER] = None
        self._stale += 1
        if self._stale > len(self._present) + STALE_ENTRIES:
            self._heap = [each for each in self._heap if each[_SERVER] is not None]
            heapify(self._heap)
            self._stale = 0

    def reweigh(self, upstream: UpstreamServer, weight: float) -> None:
        """See L{Policy<alacrity.proxy.upstream.policies.policy.Policy>}."""
        if self._present[upstream][_PERIOD] != 1 / weight:
            self.remove(upstream)
            self.add(upstream, weight)

    def forget(self, upstream: UpstreamServer) -> None:
        """See L{Policy<alacrity.proxy.upstream.policies.policy.Policy>}."""
        self._absent.pop(upstream, None)

    def choose(
        self, tried: Collection[UpstreamServer] = (), key: bytes | None = None
    ) -> UpstreamServer | None:
        """See L{Policy<alacrity.proxy.upstream.policies.policy.Policy>}."""
        heap = self._heap
        if self._stale:
            self._drop_stale()
        if tried:
            return self._choose_another(tried)
        if not heap:
            return None
        entry = heap[0]
        self._now = entry[0]
        self._last = entry[1]
        entry[0] += entry[4]
        heapreplace(heap, entry)
        chosen: UpstreamServer = entry[3]
        return chosen

    def _drop_stale(self) -> None:
        heap = self._heap
        while heap and heap[0][_SERVER] is None:
            heappop(heap)
            self._stale -= 1

    def _choose_another(self, tried: Collection[UpstreamServer]) -> UpstreamServer | None:
        """
        Choose a server whose turn is the next but for those tried, which keep theirs.
        """
        heap = self._heap
        passed: list[_Entry] = []
        chosen: UpstreamServer | None = None
        while heap and chosen is None:
            entry = heappop(heap)
            upstream = entry[_SERVER]
            if upstream is None:
                self._stale -= 1
                continue
            passed.append(entry)
            if upstream not in tried:
                chosen = upstream
                self._now = passed[0][_TURN]
                self._last = passed[0][_ORDER] if len(passed) == 1 else -1
                entry[_TURN] += entry[_PERIOD]
        for entry in passed:
            heappush(heap, entry)
        return chosen
