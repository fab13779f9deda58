"""
The choice of the server that gets the next request.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from heapq import heapify, heapreplace
from typing import Final

from alacrity.pool import Change, Server, State
from alacrity.proxy.upstream.server import UpstreamServer

REMOVALS_BEFORE_REBUILD: Final = 16
"""Servers that may leave the rotation between two choices before it is made anew."""


def _share(server: Server | None) -> int:
    """
    A server's share of the requests, relative to others.
    """
    return server.weight if server is not None and server.state is State.UP else 0


class Balancer:
    """
    Deals requests out among the servers that are up: in turn while their weights
    are equal, else earliest virtual deadline first, so that each gets its share,
    evenly spread, at the cost of a heap operation.

    Changes of the pool come through L{changed}. While weights are equal, a server that comes
    or goes is put into the rotation or taken from it, unless many do between two choices;
    else the rotation is made anew at the next choice.
    """

    def __init__(self) -> None:
        self._serving = True
        self._upstreams: dict[str, UpstreamServer] = {}
        self._leaving: set[UpstreamServer] = set()
        self._ring: list[UpstreamServer] | None = None
        self._heap: list[tuple[float, int, UpstreamServer]] = []
        self._next = 0
        self._removals = 0

    def changed(self, change: Change) -> None:
        """
        A server of the pool has changed. To be subscribed to the pool's view.
        """
        before, after = change.before, change.after
        if after is not None:
            upstream = self._upstreams.get(after.id)
            if upstream is None:
                upstream = self._upstreams[after.id] = UpstreamServer(after)
            else:
                upstream.update(after)
        else:
            assert before is not None
            upstream = self._upstreams.pop(before.id)
            upstream.retire()
            if upstream.active:
                self._leaving.add(upstream)
        self._rotate(upstream, _share(before), _share(after))

    def _rotate(self, upstream: UpstreamServer, before: int, after: int) -> None:
        """
        A server's share has changed. To make the rotation anew takes a while when there
        are many servers, and they may come and go many times a second.
        """
        ring = self._ring
        if before == after or ring is None:
            return
        if self._heap or not self._serving:
            self._ring = None
        elif before == 0 and (not ring or ring[0].pooled.weight == after):
            ring.append(upstream)
        elif after == 0:
            # To find thousands that go at once takes longer than to make it anew.
            self._removals += 1
            if self._removals > REMOVALS_BEFORE_REBUILD:
                self._ring = None
                return
            at = ring.index(upstream)
            del ring[at]
            if at < self._next:
                self._next -= 1
        else:
            self._ring = None

    def serve(self, serving: bool) -> None:
        """
        Deal requests out, or none at all.
        """
        self._serving = serving
        self._ring = None

    def upstream(self, id: str) -> UpstreamServer | None:
        """
        A server of the pool, by its id; L{None}: there is none.
        """
        return self._upstreams.get(id)

    def draining(self) -> Iterable[UpstreamServer]:
        """
        The servers that have left the pool and still serve requests.
        """
        self._leaving = {upstream for upstream in self._leaving if upstream.active}
        return self._leaving

    def close_idle(self) -> None:
        """
        Close all connections that wait.
        """
        for upstream in self._upstreams.values():
            upstream.close_idle()

    def choose(self, tried: Collection[UpstreamServer] = ()) -> UpstreamServer | None:
        """
        The server for the next attempt, in turn or by weight, except those tried already;
        L{None}: none is left.
        """
        self._removals = 0
        ring = self._ring
        if ring is None:
            ring = self._arrange()
        if self._heap:
            return self._choose_weighted(tried)
        size = len(ring)
        at = self._next
        for _ in ring:
            if at >= size:
                at = 0
            upstream = ring[at]
            at += 1
            if not tried or upstream not in tried:
                self._next = at
                return upstream
        return None

    def _choose_weighted(self, tried: Collection[UpstreamServer]) -> UpstreamServer | None:
        # One that has been tried loses this turn and no more.
        heap = self._heap
        for _ in range(len(heap) if tried else 1):
            time, order, upstream = heap[0]
            heapreplace(heap, (time + 1 / upstream.pooled.weight, order, upstream))
            if upstream not in tried:
                return upstream
        return next((u for _, _, u in heap if u not in tried), None)

    def _arrange(self) -> list[UpstreamServer]:
        self._ring = ring = [
            upstream for upstream in self._upstreams.values() if self._serving and upstream.up
        ]
        if len({upstream.pooled.weight for upstream in ring}) > 1:
            self._heap = [
                (1 / upstream.pooled.weight, order, upstream) for order, upstream in enumerate(ring)
            ]
            heapify(self._heap)
        else:
            self._heap = []
        return ring
