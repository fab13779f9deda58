"""
The less busy of two servers.
"""

from __future__ import annotations

from collections.abc import Collection
from random import Random
from typing import Final

from alacrity.proxy.upstream.server import UpstreamServer

DRAWS: Final = 8
"""Servers that are drawn before all are looked through for one that was not tried."""


class LeastRequests:
    """
    Draws two different servers at random, and chooses the one whose requests in flight, with
    the next one, are fewer in relation to its weight. Tunnels count as requests.

    (Envoy drew with replacement, which costs a quarter of the effect: envoy#20420.)
    """

    def __init__(self, rng: Random) -> None:
        self._random = rng.random
        self._servers: list[UpstreamServer] = []
        self._weights: list[float] = []
        self._places: dict[UpstreamServer, int] = {}

    def __len__(self) -> int:
        return len(self._servers)

    def add(self, upstream: UpstreamServer, weight: float) -> None:
        """See L{Policy<alacrity.proxy.upstream.policies.policy.Policy>}."""
        self._places[upstream] = len(self._servers)
        self._servers.append(upstream)
        self._weights.append(weight)

    def remove(self, upstream: UpstreamServer) -> None:
        """See L{Policy<alacrity.proxy.upstream.policies.policy.Policy>}."""
        at = self._places.pop(upstream)
        last, weight = self._servers.pop(), self._weights.pop()
        if last is not upstream:
            self._servers[at], self._weights[at] = last, weight
            self._places[last] = at

    def reweigh(self, upstream: UpstreamServer, weight: float) -> None:
        """See L{Policy<alacrity.proxy.upstream.policies.policy.Policy>}."""
        self._weights[self._places[upstream]] = weight

    def forget(self, upstream: UpstreamServer) -> None:
        """See L{Policy<alacrity.proxy.upstream.policies.policy.Policy>}."""

    def choose(
        self, tried: Collection[UpstreamServer] = (), key: bytes | None = None
    ) -> UpstreamServer | None:
        """See L{Policy<alacrity.proxy.upstream.policies.policy.Policy>}."""
        if tried:
            return self._choose_another(tried)
        servers = self._servers
        size = len(servers)
        if size < 2:
            return servers[0] if size else None
        random, weights = self._random, self._weights
        one = int(random() * size)
        other = int(random() * (size - 1))
        if other >= one:
            other += 1
        first, second = servers[one], servers[other]
        first_load = (first.active + 1) * weights[other]
        return first if first_load <= (second.active + 1) * weights[one] else second

    def _choose_another(self, tried: Collection[UpstreamServer]) -> UpstreamServer | None:
        for _ in range(DRAWS):
            upstream = self.choose()
            if upstream not in tried:
                return upstream
        left = [each for each in self._servers if each not in tried]
        if not left:
            return None
        places = self._places
        return min(left, key=lambda each: (each.active + 1) / self._weights[places[each]])
