"""
The choice of the server that gets the next request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from random import Random
from typing import Final

from twisted.internet.interfaces import IReactorTime

from alacrity.config import BalanceSettings
from alacrity.pool import Change, Server, State
from alacrity.proxy.upstream.fail_open import FailOpenLog
from alacrity.proxy.upstream.policies.least_requests import LeastRequests
from alacrity.proxy.upstream.policies.policy import Policy
from alacrity.proxy.upstream.policies.rendezvous import Rendezvous
from alacrity.proxy.upstream.policies.round_robin import RoundRobin
from alacrity.proxy.upstream.server import UpstreamServer
from alacrity.proxy.upstream.shares import Shares
from alacrity.proxy.upstream.slow_start import SlowStart
from alacrity.proxy.upstream.standing import Standing
from alacrity.proxy.upstream.tiers import Rank, Tiers

SUSPECT: Final = Standing.EJECTED + 1
"""The level of servers that the guard against mass loss keeps, below all standings."""

_RISES_FROM: Final = frozenset({State.PENDING, State.DOWN})


def registered_cap(default: int) -> Callable[[Server], int]:
    """
    Requests that a server may have at a time, as it was registered.

    @param default: for those that were registered without; 0: any number.
    """

    def cap_of(server: Server) -> int:
        cap = server.options.max_requests
        return default if cap is None else cap

    return cap_of


def policy_maker(settings: BalanceSettings, rng: Random | None) -> Callable[[], Policy]:
    """
    Makes policies, one for each set of servers.

    @param rng: L{None}: round robin begins with the first server.
    """
    match settings.method:
        case "round_robin":
            return lambda: RoundRobin(rng)
        case "least_requests":
            return lambda: LeastRequests(rng or Random())
        case "hash":
            return lambda: Rendezvous(settings.bound, rng)


class Balancer:
    """
    Deals requests out among the servers that may get them. In this order, and each time those
    with room alone: the eligible ones, by priority; those aside; the ejected; the suspect; if
    none is eligible, those that fail open.

    Changes of the pool come through L{changed}.

    @ivar serving: whether requests are dealt out.
    @ivar failing_open: whether no server is eligible, and those get requests that are down by
        checks that do not show that they are dead.
    """

    def __init__(
        self,
        settings: BalanceSettings | None = None,
        *,
        cap_of: Callable[[Server], int] | None = None,
        fail_open: bool = True,
        sessions: bool = False,
        clock: IReactorTime | None = None,
        wall: Callable[[], float] = time.time,
        rng: Random | None = None,
    ) -> None:
        """
        @param cap_of: requests that a server may have at a time; 0: any number; below 0: none.
            If it comes to say otherwise, L{room_changed} is to be called.
        @param fail_open: whether servers may fail open.
        @param sessions: whether servers get requests of sticky sessions.
        @param clock: for slow start; L{None}: there is none.
        @param wall: the time in seconds since the epoch.
        @param rng: for the method; L{None}: requests begin with the first server.
        """
        settings = settings or BalanceSettings()
        self._groups = settings.groups
        self._cap_of = cap_of or registered_cap(0)
        self._fail_open = fail_open
        self._sessions = sessions
        self._wall = wall
        self._duration = settings.slow_start
        self.serving = True
        self._upstreams: dict[str, UpstreamServer] = {}
        self._leaving: set[UpstreamServer] = set()
        self._tiers = Tiers(policy_maker(settings, rng))
        self._shares: dict[int, Shares] = {}
        # The shares that each eligible server is in.
        self._eligible: dict[UpstreamServer, Shares] = {}
        self._slow_start = SlowStart(clock, settings.slow_start, self._risen)
        self._room_callbacks: list[Callable[[], object]] = []
        self.failing_open = False
        self._fail_open_log = FailOpenLog(clock, self._failing_open_ids)

    # Changes

    def changed(self, change: Change) -> None:
        """
        A server of the pool has changed. To be subscribed to the pool's view.
        """
        before, after = change.before, change.after
        if after is None:
            assert before is not None
            self._remove(self._upstreams.pop(before.id))
            return
        upstream = self._upstreams.get(after.id)
        if upstream is None:
            upstream = self._upstreams[after.id] = UpstreamServer(after, self._review_room)
        else:
            upstream.update(after)
        cap = self._cap_of(after)
        if cap != upstream.cap:
            upstream.limit(cap)
        if after.state is not State.UP:
            self._slow_start.end(upstream)
        elif before is not None and before.state in _RISES_FROM and self._duration:
            # The state's time is the cluster's: an old change that is applied late, as when a
            # node starts, begins nothing.
            self._slow_start.begin(upstream, max(0.0, self._wall() - after.since))
        self._review(upstream)

    def _remove(self, upstream: UpstreamServer) -> None:
        self._slow_start.end(upstream)
        upstream.retire()
        self._review(upstream)
        self._tiers.forget(upstream)
        if upstream.active:
            self._leaving.add(upstream)

    def set_standing(self, upstream: UpstreamServer, standing: Standing) -> None:
        """
        Note this node's judgement of a server: see L{Standing}.
        """
        before = upstream.standing
        if upstream.retired or standing is before:
            return
        upstream.set_standing(standing)
        if before is Standing.EJECTED and self._duration:
            self._slow_start.begin(upstream)
        self._review(upstream)

    def room_changed(self, upstream: UpstreamServer) -> None:
        """
        A server may have more requests, or fewer, than before: C{cap_of} says so.
        """
        if not upstream.retired:
            upstream.limit(self._cap_of(upstream.pooled))
            self._review_room(upstream)

    def serve(self, serving: bool) -> None:
        """
        Deal requests out, or none at all.
        """
        self.serving = serving
        self._tiers.unsettle()
        self._review_failing_open()
        if serving:
            self._announce_room()

    def stop(self) -> None:
        """
        Stop all timers.
        """
        self._slow_start.stop()
        self._fail_open_log.stop()

    def _review(self, upstream: UpstreamServer) -> None:
        """
        Put a server into its tier, and all others where they are to be then.
        """
        pooled, retired = upstream.pooled, upstream.retired
        could = self._can_take(upstream)
        is_eligible = not retired and pooled.eligible and self._groups.get(_group(pooled), 1) > 0
        fails_open = not retired and self._fail_open and pooled.may_fail_open
        self._review_shares(upstream, is_eligible=is_eligible)
        rank = None
        if is_eligible or fails_open:
            level = SUSPECT if pooled.condition.suspect else upstream.standing
            rank = Rank(not is_eligible, level, pooled.options.priority)
        self._tiers.place(upstream, rank, self._weight(upstream))
        self._review_failing_open()
        self._permit(upstream)
        if not could and self._can_take(upstream):
            self._announce_room()

    def _review_shares(self, upstream: UpstreamServer, *, is_eligible: bool) -> None:
        before, after = self._eligible.pop(upstream, None), None
        pooled = upstream.pooled
        if is_eligible:
            priority = pooled.options.priority
            after = self._shares.get(priority)
            if after is None:
                after = self._shares[priority] = Shares(self._groups)
            self._eligible[upstream] = after
        if before is not None and before is not after:
            before.drop(upstream)
            if not before:
                self._shares = {key: each for key, each in self._shares.items() if each}
        if after is not None:
            ramping = upstream in self._slow_start
            after.put(upstream, _group(pooled), pooled.effective_weight, ramping=ramping)
        for shares in (before, after):
            if shares is not None and shares.moved:
                self._tiers.unsettle()

    def _weight(self, upstream: UpstreamServer) -> float:
        shares = self._eligible.get(upstream)
        if shares is None:
            return float(upstream.pooled.effective_weight)
        return shares.weight(upstream, self._slow_start.part(upstream))

    def _risen(self, upstreams: Collection[UpstreamServer]) -> None:
        for upstream in upstreams:
            self._review(upstream)

    def _review_failing_open(self) -> None:
        failing_open = (
            self.serving and not self._eligible and any(True for _ in self._tiers.failing_open())
        )
        if failing_open is not self.failing_open:
            self.failing_open = failing_open
            self._tiers.fail_open(failing_open)
            self._fail_open_log.changed()
            for upstream in self._tiers.failing_open():
                self._permit(upstream)
            if failing_open:
                self._announce_room()

    def _failing_open_ids(self) -> list[str] | None:
        if not self.failing_open:
            return None
        return [upstream.id for upstream in self._tiers.failing_open()]

    def _permit(self, upstream: UpstreamServer) -> None:
        pooled = upstream.pooled
        may_serve = not upstream.retired and (
            upstream in self._eligible
            or (self._sessions and pooled.keeps_sessions)
            or (self.failing_open and pooled.may_fail_open)
        )
        if may_serve is not upstream.may_serve:
            upstream.permit(may_serve)

    def _review_room(self, upstream: UpstreamServer) -> None:
        could = self._can_take(upstream)
        self._tiers.review_room(upstream)
        if not could and self._can_take(upstream):
            self._announce_room()

    def _can_take(self, upstream: UpstreamServer) -> bool:
        return self.serving and self._tiers.can_take(upstream)

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

    # Looks

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

    def removed_in_flight(self, id: str) -> int:
        """
        The attempts under way, tunnels too, with a server that has left the pool, whether one of
        its id has been registered since or not.
        """
        return sum(upstream.active for upstream in self.draining() if upstream.id == id)

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
        return self.serving and self._tiers.all_full(tried)

    # The choice

    def choose(
        self, tried: Collection[UpstreamServer] = (), key: bytes | None = None
    ) -> UpstreamServer | None:
        """
        The server for the next attempt; L{None}: none is left.

        @param tried: servers that are not to be chosen.
        @param key: of the request, for the choice by hash; L{None}: it has none.
        """
        first = self._tiers.first
        if first is not None and not tried:
            return first.choose((), key)
        if not self.serving:
            return None
        for shares in self._shares.values():
            if shares.moved:
                self._settle(shares)
        return self._tiers.choose(tried, key)

    def _settle(self, shares: Shares) -> None:
        shares.settle()
        for upstream in shares.members:
            self._tiers.reweigh(upstream, self._weight(upstream))


def _group(server: Server) -> str:
    return server.options.group
