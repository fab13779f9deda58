"""
Which server gets the next request.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from heapq import heapify, heapreplace
from typing import TYPE_CHECKING

from alacrity.pool import Change, Server, State
from alacrity.stats import Counter

if TYPE_CHECKING:
    from alacrity.proxy.server import ServerConnection


class Upstream:
    """
    A server, as the data path sees it.

    @ivar server: as it was last in the pool.
    @ivar idle: connections to it that wait for a request, the most recently used
        last.
    @ivar active: how many exchanges are under way with it.
    @ivar retired: whether it has left the pool; its exchanges may go on.
    """

    __slots__ = ("active", "counter", "host", "idle", "port", "retired", "server")

    def __init__(self, server: Server) -> None:
        self.server = server
        self.host = server.ip
        self.port = server.port
        self.counter = Counter()
        self.idle: list[ServerConnection] = []
        self.active = 0
        self.retired = False

    def close_idle(self) -> None:
        """
        Close the connections that wait.
        """
        idle, self.idle = self.idle, []
        for connection in idle:
            connection.close()


class Balancer:
    """
    Deals requests out among the servers that are up: in turn while their weights
    are equal, else earliest virtual deadline first, so that each gets its share,
    evenly spread, at the cost of a heap operation.

    Changes of the pool come through L{changed}; the rotation is made anew at the
    next choice after one.
    """

    def __init__(self) -> None:
        self._serving = True
        self._upstreams: dict[str, Upstream] = {}
        self._leaving: set[Upstream] = set()
        self._ring: list[Upstream] | None = None
        self._heap: list[tuple[float, int, Upstream]] = []
        self._next = 0

    def changed(self, change: Change) -> None:
        """
        A server of the pool has changed. To be subscribed to the pool's view.
        """
        if change.after is not None:
            upstream = self._upstreams.get(change.after.id)
            if upstream is None:
                self._upstreams[change.after.id] = Upstream(change.after)
            else:
                upstream.server = change.after
                if change.after.state is not State.UP:
                    upstream.close_idle()
        elif change.before is not None:
            upstream = self._upstreams.pop(change.before.id, None)
            if upstream is not None:
                upstream.retired = True
                upstream.close_idle()
                if upstream.active:
                    self._leaving.add(upstream)
        self._ring = None

    def serve(self, serving: bool) -> None:
        """
        Deal requests out, or none at all.
        """
        self._serving = serving
        self._ring = None

    def upstream(self, id: str) -> Upstream | None:
        """
        The upstream of a server in the pool.
        """
        return self._upstreams.get(id)

    def draining(self) -> Iterable[Upstream]:
        """
        The upstreams that have left the pool and still serve requests.
        """
        self._leaving = {upstream for upstream in self._leaving if upstream.active}
        return self._leaving

    def close_idle(self) -> None:
        """
        Close all connections that wait.
        """
        for upstream in self._upstreams.values():
            upstream.close_idle()

    def choose(self, tried: Collection[Upstream] = ()) -> Upstream | None:
        """
        The next server in turn that has not been tried; L{None}: there is none.
        """
        ring = self._ring
        if ring is None:
            ring = self._arrange()
        if self._heap:
            return self._choose_weighted(tried)
        size = len(ring)
        at = self._next
        for _ in range(size):
            if at >= size:
                at = 0
            upstream = ring[at]
            at += 1
            if upstream not in tried:
                self._next = at
                return upstream
        return None

    def _choose_weighted(self, tried: Collection[Upstream]) -> Upstream | None:
        # One that has been tried loses this turn and no more.
        heap = self._heap
        for _ in range(len(heap) if tried else 1):
            time, order, upstream = heap[0]
            heapreplace(heap, (time + 1 / upstream.server.weight, order, upstream))
            if upstream not in tried:
                return upstream
        return next((u for _, _, u in heap if u not in tried), None)

    def _arrange(self) -> list[Upstream]:
        self._ring = ring = [
            upstream
            for upstream in self._upstreams.values()
            if self._serving and upstream.server.state is State.UP
        ]
        if len({upstream.server.weight for upstream in ring}) > 1:
            self._heap = [
                (1 / upstream.server.weight, order, upstream) for order, upstream in enumerate(ring)
            ]
            heapify(self._heap)
        else:
            self._heap = []
        return ring
