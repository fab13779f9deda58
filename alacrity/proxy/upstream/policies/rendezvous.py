"""
Choice by a hash of the request's key: weighted rendezvous hashing with bounded loads.

Keys fall into slots. In each slot, each server has a score, which depends on the slot, the
server's id and its weight alone. The server with the best score gets the slot's requests, so
that all nodes agree on it without talking, and a server that comes or goes moves the keys of
no two others between them. A server that has more than its share of the requests in flight
passes them on to the next best.

(D. Thaler, C. Ravishankar: Using name-based mappings to increase hit rates, 1998; weights
after J. Resch: New hashing algorithms for data storage, 2015; bounds after V. Mirrokni and
others: Consistent hashing with bounded loads, 2018.)
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection
from hashlib import blake2b
from heapq import nsmallest
from math import log
from random import Random
from typing import Final
from zlib import crc32

from alacrity.proxy.upstream.policies.round_robin import RoundRobin
from alacrity.proxy.upstream.server import Load, UpstreamServer

SLOTS: Final = 1 << 16
"""Slots that keys fall into. All nodes must have the same number."""

DEPTH: Final = 4
"""The best servers of a slot that are kept in mind; below them, all are looked through."""

FEWEST_RANKS: Final = 2
"""Servers in mind below which a slot is ranked anew."""

CHANGES: Final = 128
"""Changes of servers after which all slots are ranked anew, rather than mended."""

_NOBODY: Final = (1 << 32) - 1
_MASK: Final = (1 << 64) - 1
_LOG_RANGE: Final = log(1 << 64)


def _number(data: bytes) -> int:
    """
    A number of 64 bits, the same on all nodes.
    """
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


class Rendezvous:
    """
    Chooses by the hash of the request's key; for a request that has none, in turn.

    The ranks of the servers in a slot are found when a key falls into it for the first time.
    Servers that have come or changed their weight since are then put in their places. One that
    is away keeps its place, and is passed over.
    """

    def __init__(self, bound: float, rng: Random | None = None) -> None:
        """
        @param bound: how many times its share of all requests in flight a server may have.
        @param rng: for the requests without a key, see L{RoundRobin}.
        """
        self._bound = bound
        self._load = Load()
        self._keyless = RoundRobin(rng)
        # By the server's number: the server, or None if it is not in the set; its bound on
        # requests, as a multiple of the mean; its seed; the negative of its weight's inverse,
        # or 0 if it is forgotten.
        self._present: list[UpstreamServer | None] = []
        self._allowed: list[float] = []
        self._seeds: list[int] = []
        self._factors: list[float] = []
        self._numbers: dict[UpstreamServer, int] = {}
        self._weight = 0.0
        # By slot: the numbers of the best servers, and as of how many changes, plus one, these
        # are the best; 0: they have not been looked for.
        self._ranks = array("I", bytes(4 * SLOTS * DEPTH))
        self._forget_ranks()

    def __len__(self) -> int:
        return len(self._keyless)

    # The set

    def add(self, upstream: UpstreamServer, weight: float) -> None:
        """See L{Policy<alacrity.proxy.upstream.policies.policy.Policy>}."""
        self._keyless.add(upstream, weight)
        number = self._numbers.get(upstream)
        if number is None:
            number = self._numbers[upstream] = len(self._present)
            self._present.append(upstream)
            self._allowed.append(0.0)
            self._seeds.append(_number(upstream.id.encode("utf-8")) | 1)
            self._factors.append(0.0)
        self._present[number] = upstream
        upstream.join(self._load)
        self._set_weight(number, weight)

    def _set_weight(self, number: int, weight: float) -> None:
        self._weight += weight
        self._allowed[number] = self._bound * weight
        factor = -1 / weight
        if self._factors[number] != factor:
            self._factors[number] = factor
            self._note_change(number)

    def remove(self, upstream: UpstreamServer) -> None:
        """See L{Policy<alacrity.proxy.upstream.policies.policy.Policy>}."""
        self._keyless.remove(upstream)
        number = self._numbers[upstream]
        self._present[number] = None
        upstream.leave()
        self._take_weight(number)

    def _take_weight(self, number: int) -> None:
        self._weight -= self._allowed[number] / self._bound
        if not self._keyless:
            self._weight = 0.0

    def reweigh(self, upstream: UpstreamServer, weight: float) -> None:
        """See L{Policy<alacrity.proxy.upstream.policies.policy.Policy>}."""
        self._keyless.reweigh(upstream, weight)
        number = self._numbers[upstream]
        self._take_weight(number)
        self._set_weight(number, weight)

    def forget(self, upstream: UpstreamServer) -> None:
        """See L{Policy<alacrity.proxy.upstream.policies.policy.Policy>}."""
        self._keyless.forget(upstream)
        number = self._numbers.pop(upstream, None)
        if number is not None:
            self._factors[number] = 0.0
            self._note_change(number)
            if len(self._present) > 2 * len(self._numbers) + CHANGES:
                self._renumber()
                self._forget_ranks()

    # The ranks

    def _forget_ranks(self) -> None:
        self._has_ranks = False
        self._ranked = array("H", bytes(2 * SLOTS))
        # The numbers of the servers that have changed since, in their order.
        self._changes: list[int] = []

    def _note_change(self, number: int) -> None:
        if not self._has_ranks:
            return
        if len(self._changes) < CHANGES:
            self._changes.append(number)
        else:
            self._forget_ranks()

    def _renumber(self) -> None:
        """
        Give the numbers of servers that are forgotten to others.
        """
        kept = list(self._numbers.items())
        self._present = [self._present[number] for _, number in kept]
        self._allowed = [self._allowed[number] for _, number in kept]
        self._seeds = [self._seeds[number] for _, number in kept]
        self._factors = [self._factors[number] for _, number in kept]
        self._numbers = {upstream: number for number, (upstream, _) in enumerate(kept)}

    def _distance(self, slot: int) -> Callable[[int], float]:
        """
        The distances of servers, by their numbers, from a slot: the least is the best.
        """
        multiplier = _number(slot.to_bytes(4, "big"))
        seeds, factors = self._seeds, self._factors

        def distance(number: int) -> float:
            # Products of random numbers, modulo 2**64, are as good as random.
            drawn = seeds[number] * multiplier & _MASK
            return (log(drawn + 1) - _LOG_RANGE) * factors[number]

        return distance

    def _rank(self, slot: int) -> None:
        """
        Bring the ranks of a slot up to date.
        """
        at = slot * DEPTH
        changes, ranks, factors = self._changes, self._ranks, self._factors
        ranked = self._ranked[slot]
        distance = self._distance(slot)
        best: list[int] = []
        if ranked:
            changed = set(changes[ranked - 1 :])
            best = [
                number
                for number in ranks[at : at + DEPTH]
                if number != _NOBODY and number not in changed
            ]
            # Beyond the last of those that are left, others may be nearer than one that changed.
            farthest = max(map(distance, best), default=0.0)
            best += [
                number for number in changed if factors[number] and distance(number) < farthest
            ]
            best = sorted(best, key=distance)[:DEPTH]
        if len(best) < min(FEWEST_RANKS, len(self._numbers)):
            best = nsmallest(DEPTH, self._numbers.values(), key=distance)
        ranks[at : at + DEPTH] = array("I", best + [_NOBODY] * (DEPTH - len(best)))
        self._ranked[slot] = len(changes) + 1
        self._has_ranks = True

    # The choice

    def choose(
        self, tried: Collection[UpstreamServer] = (), key: bytes | None = None
    ) -> UpstreamServer | None:
        """See L{Policy<alacrity.proxy.upstream.policies.policy.Policy>}."""
        if key is None:
            return self._keyless.choose(tried)
        slot = crc32(key) % SLOTS
        if self._ranked[slot] != len(self._changes) + 1:
            self._rank(slot)
        # A server is within its bound if its requests / its allowance are less than this.
        weight, requests = self._weight, self._load.active + 1
        present, allowed, ranks = self._present, self._allowed, self._ranks
        at = slot * DEPTH
        for place in range(at, at + DEPTH):
            number = ranks[place]
            if number == _NOBODY:
                break
            upstream = present[number]
            if (
                upstream is not None
                and upstream.active * weight < allowed[number] * requests
                and upstream not in tried
            ):
                return upstream
        return self._choose_among_all(slot, tried)

    def _choose_among_all(
        self, slot: int, tried: Collection[UpstreamServer]
    ) -> UpstreamServer | None:
        """
        The best server of a slot that is within its bound; if all those were tried, the best
        of the others.
        """
        present = self._present
        left = [
            number
            for upstream, number in self._numbers.items()
            if present[number] is not None and upstream not in tried
        ]
        weight, requests, allowed = self._weight, self._load.active + 1, self._allowed
        within = [
            number
            for upstream, number in self._numbers.items()
            if present[number] is not None
            and upstream not in tried
            and upstream.active * weight < allowed[number] * requests
        ]
        best = min(within or left, key=self._distance(slot), default=None)
        return None if best is None else present[best]
