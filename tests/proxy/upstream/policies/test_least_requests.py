"""
Tests for L{alacrity.proxy.upstream.policies.least_requests}.
"""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from alacrity.proxy.upstream.policies.least_requests import LeastRequests
from alacrity.proxy.upstream.server import UpstreamServer
from tests.support.wire import server


def busy(port: int, active: int) -> UpstreamServer:
    """
    A server with requests in flight.
    """
    upstream = UpstreamServer(server(port))
    for attempt in range(active):
        upstream.begin(attempt)
    return upstream


class LeastRequestsTests(SynchronousTestCase):
    """
    The less busy of two servers.
    """

    def policy(self, *servers: tuple[UpstreamServer, float], seed: int = 0) -> LeastRequests:
        """
        A policy with servers of some weights.
        """
        policy = LeastRequests(Random(seed))
        for upstream, weight in servers:
            policy.add(upstream, weight)
        return policy

    def test_two(self) -> None:
        """
        Of two servers, both are always looked at: the one with fewer requests for its weight is
        chosen, counting the one to come.
        """
        for active, weights, expected in (
            ((1, 0), (1, 1), 2),
            ((0, 1), (1, 1), 1),
            ((2, 0), (4, 1), 1),
            ((3, 1), (1, 1), 2),
            ((0, 0), (1, 2), 2),
        ):
            policy = self.policy(*((busy(n + 1, active[n]), weights[n]) for n in range(2)))
            found = {each.port for _ in range(50) if (each := policy.choose()) is not None}
            self.assertEqual(found, {expected}, (active, weights))

    def test_distinct(self) -> None:
        """
        The two are never the same one: the busiest of any number is never chosen.
        """
        policy = self.policy(*((busy(port, int(port == 1)), 1) for port in range(1, 6)))
        counts = Counter(each.port for _ in range(4000) if (each := policy.choose()) is not None)
        self.assertEqual(counts[1], 0)
        for port in range(2, 6):
            self.assertTrue(850 < counts[port] < 1150, counts)

    @given(st.lists(st.integers(1, 20), min_size=2, max_size=8), st.integers(0, 2**32))
    @settings(max_examples=30)
    def test_by_weight(self, weights: list[int], seed: int) -> None:
        """
        With requests that do not end, none has more than its share by much: of two choices, the
        greatest load for a weight exceeds the mean by a little only.
        """
        servers = [busy(port, 0) for port in range(1, len(weights) + 1)]
        policy = self.policy(*zip(servers, weights, strict=True), seed=seed)
        requests = 40 * sum(weights)
        for attempt in range(requests):
            chosen = policy.choose()
            assert chosen is not None
            chosen.begin(attempt)
        for upstream in servers:
            self.assertGreater(upstream.active, 0)
        if max(weights) <= 2 * min(weights):
            for upstream, weight in zip(servers, weights, strict=True):
                self.assertLess(upstream.active / weight, 40 * 1.5)

    def test_changes(self) -> None:
        """
        Servers come and go, and change their weights.
        """
        rng = Random(1)
        servers = [busy(port, 0) for port in range(1, 9)]
        policy = LeastRequests(rng)
        present: set[UpstreamServer] = set()
        for _ in range(2000):
            each = rng.choice(servers)
            if each not in present:
                present.add(each)
                policy.add(each, 1)
            elif rng.random() < 0.5:
                present.discard(each)
                policy.remove(each)
                policy.forget(each)
            else:
                policy.reweigh(each, rng.randint(1, 9))
            found = {policy.choose() for _ in range(5)} - {None}
            self.assertLessEqual(found, present)
            self.assertEqual(bool(found), bool(present))
            self.assertEqual(len(policy), len(present))

    def test_tried(self) -> None:
        """
        Those that were tried are not chosen, however idle they are.
        """
        idle, other, last = busy(1, 0), busy(2, 50), busy(3, 60)
        policy = self.policy((idle, 100), (other, 1), (last, 1))
        self.assertIs(policy.choose({idle, other}), last)
        self.assertIs(policy.choose({idle, last}), other)
        self.assertIn(policy.choose({idle}), {other, last})
        self.assertIsNone(policy.choose({idle, other, last}))
