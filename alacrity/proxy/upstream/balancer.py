"""
The choice of the server that gets the next request.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from alacrity.pool import Change, Server
from alacrity.proxy.upstream.server import UpstreamServer
from alacrity.proxy.upstream.standing import Standing


def _registered_cap(server: Server) -> int:
    return server.options.max_requests or 0


class Balancer:
    """
    Deals requests out among the servers that may get them.

    @ivar failing_open: whether no server is eligible, and those get requests that are down by
        checks that do not show that they are dead.
    """

    def __init__(
        self, *, cap_of: Callable[[Server], int] = _registered_cap, fail_open: bool = True
    ) -> None:
        """
        @param cap_of: requests that a server may have at a time; 0: any number; below 0: none.
            If it comes to say otherwise, L{room_changed} is to be called.
        """
        self._serving = True
        self._upstreams: dict[str, UpstreamServer] = {}
        self._leaving: set[UpstreamServer] = set()
        self._turn: list[UpstreamServer] = []
        self._cap_of = cap_of
        self._fail_open = fail_open
        self._room_callbacks: list[Callable[[], object]] = []
        self.failing_open = False

    def changed(self, change: Change) -> None:
        """
        A server of the pool has changed. To be subscribed to the pool's view.
        """
        before, after = change.before, change.after
        if after is not None:
            upstream = self._upstreams.get(after.id)
            if upstream is None:
                upstream = UpstreamServer(after, self._room_found)
                self._upstreams[after.id] = upstream
                self._turn.append(upstream)
            else:
                upstream.update(after)
            upstream.limit(self._cap_of(after))
        else:
            assert before is not None
            upstream = self._upstreams.pop(before.id)
            self._turn.remove(upstream)
            upstream.retire()
            if upstream.active:
                self._leaving.add(upstream)
        self.failing_open = self._fail_open and not any(each.pooled.eligible for each in self._turn)
        for each in self._turn:
            pooled = each.pooled
            each.permit(pooled.eligible or (self.failing_open and pooled.may_fail_open))
        self._announce_room()

    def set_standing(self, upstream: UpstreamServer, standing: Standing) -> None:
        """
        Note this node's judgement of a server: see L{Standing}.
        """
        upstream.set_standing(standing)

    def room_changed(self, upstream: UpstreamServer) -> None:
        """
        A server may have more requests, or fewer, than before: C{cap_of} says so.
        """
        upstream.limit(self._cap_of(upstream.pooled))
        self._room_found(upstream)

    def _room_found(self, upstream: UpstreamServer) -> None:
        if not upstream.full:
            self._announce_room()

    def on_room(self, callback: Callable[[], object]) -> None:
        """
        Have a function called when a server may take a request that could not before. It is
        called amid the end of an attempt, or a change of the pool: what it does is better done
        a turn of the loop later.
        """
        self._room_callbacks.append(callback)

    def _announce_room(self) -> None:
        for callback in self._room_callbacks:
            callback()

    def serve(self, serving: bool) -> None:
        """
        Deal requests out, or none at all.
        """
        self._serving = serving
        if serving:
            self._announce_room()

    def upstream(self, id: str) -> UpstreamServer | None:
        """
        A server of the pool, by its id; L{None}: there is none.
        """
        return self._upstreams.get(id)

    def upstreams(self) -> Collection[UpstreamServer]:
        """
        All servers of the pool.
        """
        return self._upstreams.values()

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

    def all_full(self, tried: Collection[UpstreamServer] = ()) -> bool:
        """
        Whether servers could take a request, but each of them has as many as it may have.

        @param tried: servers that are not to be counted.
        """
        able = [each for each in self._turn if each not in tried and self._is_able(each)]
        return bool(able) and all(each.full for each in able)

    def _is_able(self, upstream: UpstreamServer) -> bool:
        pooled = upstream.pooled
        return self._serving and (pooled.eligible or (self.failing_open and pooled.may_fail_open))

    def choose(
        self, tried: Collection[UpstreamServer] = (), key: bytes | None = None
    ) -> UpstreamServer | None:
        """
        The server for the next attempt; L{None}: none is left.

        @param tried: servers that are not to be chosen.
        @param key: of the request, for the choice by hash; L{None}: it has none.
        """
        able = [
            each
            for each in self._turn
            if each not in tried and not each.full and self._is_able(each)
        ]
        if not able:
            return None
        chosen = min(
            able,
            key=lambda each: (
                each.pooled.condition.suspect,
                each.standing,
                each.pooled.options.priority,
            ),
        )
        self._turn.remove(chosen)
        self._turn.append(chosen)
        return chosen
