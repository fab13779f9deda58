"""
The tiers of servers: which of them are chosen from before which others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import msgspec

from alacrity.proxy.upstream.policies.policy import Policy
from alacrity.proxy.upstream.server import UpstreamServer


class Rank(msgspec.Struct, frozen=True, order=True, gc=False):
    """
    The rank of a tier. The least is chosen from first.

    @ivar fails_open: whether its servers are not eligible, and get requests only if none is.
    @ivar level: how bad its servers are.
    @ivar priority: as its servers were registered.
    """

    fails_open: bool
    level: int
    priority: int


class Tier:
    """
    The servers of one rank.

    @ivar policy: chooses among those that are not full.
    @ivar roomy: their number.
    @ivar full: the number of those that are full.
    """

    __slots__ = ("full", "policy", "rank", "roomy")

    def __init__(self, rank: Rank, policy: Policy) -> None:
        self.rank = rank
        self.policy = policy
        self.roomy = 0
        self.full = 0

    def __repr__(self) -> str:
        return f"<Tier {self.rank} roomy={self.roomy} full={self.full}>"

    def add(self, upstream: UpstreamServer, weight: float, *, full: bool) -> None:
        """
        Add a server.
        """
        if full:
            self.full += 1
        else:
            self.roomy += 1
            self.policy.add(upstream, weight)

    def remove(self, upstream: UpstreamServer, *, full: bool) -> None:
        """
        Remove a server.

        @param full: as it was when it was added.
        """
        if full:
            self.full -= 1
        else:
            self.roomy -= 1
            self.policy.remove(upstream)


class _Place(msgspec.Struct, frozen=True):
    """
    The place of a server.

    @ivar full: whether the server is counted as full.
    """

    tier: Tier
    weight: float
    full: bool


class Tiers:
    """
    Servers by tiers. One that is full keeps its place, and is not chosen.

    @ivar first: the policy of the best tier with room; L{None}: look for it by L{choose}.
    """

    def __init__(self, make_policy: Callable[[], Policy]) -> None:
        self._make_policy = make_policy
        self._places: dict[UpstreamServer, _Place] = {}
        self._tiers: dict[Rank, Tier] = {}
        # In order, without those that may not be chosen from.
        self._order: list[Tier] | None = None
        self._may_fail_open = False
        self.first: Policy | None = None

    # Changes

    def place(self, upstream: UpstreamServer, rank: Rank | None, weight: float) -> None:
        """
        Put a server where it belongs now, as it may be full or not.

        @param rank: L{None}: it gets no requests.
        """
        before = self._places.get(upstream)
        full = upstream.full
        if before is not None and before.tier.rank == rank and before.full is full:
            self.reweigh(upstream, weight)
            return
        if before is not None:
            del self._places[upstream]
            before.tier.remove(upstream, full=before.full)
        if rank is not None:
            tier = self._tiers.get(rank)
            if tier is None:
                tier = self._tiers[rank] = Tier(rank, self._make_policy())
                self._order = None
            tier.add(upstream, weight, full=full)
            self._places[upstream] = _Place(tier, weight, full)
            if tier.roomy == 1:
                self.first = None
        if before is not None:
            tier = before.tier
            if tier.roomy == 0:
                self.first = None
                if tier.full == 0:
                    del self._tiers[tier.rank]
                    self._order = None

    def reweigh(self, upstream: UpstreamServer, weight: float) -> None:
        """
        Give a server another weight, if it has a place.
        """
        place = self._places.get(upstream)
        if place is not None and place.weight != weight:
            self._places[upstream] = msgspec.structs.replace(place, weight=weight)
            if not place.full:
                place.tier.policy.reweigh(upstream, weight)

    def review_room(self, upstream: UpstreamServer) -> None:
        """
        A server may have become full, or have room again.
        """
        place = self._places.get(upstream)
        if place is not None:
            self.place(upstream, place.tier.rank, place.weight)

    def forget(self, upstream: UpstreamServer) -> None:
        """
        Forget a server.
        """
        self.place(upstream, None, 0.0)
        for tier in self._tiers.values():
            tier.policy.forget(upstream)

    def fail_open(self, may_fail_open: bool) -> None:
        """
        Let the servers that fail open be chosen, or not.
        """
        self._may_fail_open = may_fail_open
        self._order = None
        self.first = None

    def unsettle(self) -> None:
        """
        Have the next choice made by L{choose}.
        """
        self.first = None

    # Looks

    def failing_open(self) -> Iterator[UpstreamServer]:
        """
        The servers that get requests if no server is eligible.
        """
        return (each for each, place in self._places.items() if place.tier.rank.fails_open)

    def can_take(self, upstream: UpstreamServer) -> bool:
        """
        Whether a server may be chosen now.
        """
        place = self._places.get(upstream)
        return place is not None and not place.full and self._is_open(place.tier)

    def _is_open(self, tier: Tier) -> bool:
        return self._may_fail_open or not tier.rank.fails_open

    def all_full(self, tried: Collection[UpstreamServer]) -> bool:
        """
        Whether there are servers, but none has room.

        @param tried: servers that do not count.
        """
        tiers = self._sorted()
        roomy = sum(tier.roomy for tier in tiers)
        full = sum(tier.full for tier in tiers)
        for each in tried:
            place = self._places.get(each)
            if place is not None and self._is_open(place.tier):
                if place.full:
                    full -= 1
                else:
                    roomy -= 1
        return full > 0 and roomy == 0

    def choose(self, tried: Collection[UpstreamServer], key: bytes | None) -> UpstreamServer | None:
        """
        Choose from the best tier that has a server with room that was not tried.
        """
        self.first = None
        for tier in self._sorted():
            if tier.roomy:
                policy = tier.policy
                if self.first is None:
                    self.first = policy
                chosen = policy.choose(tried, key)
                if chosen is not None:
                    return chosen
        return None

    def _sorted(self) -> list[Tier]:
        order = self._order
        if order is None:
            tiers = sorted(self._tiers.values(), key=lambda tier: tier.rank)
            self._order = order = [tier for tier in tiers if self._is_open(tier)]
        return order
