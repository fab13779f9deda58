"""
Tests for L{alacrity.proxy.upstream.policies.round_robin}.
"""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from alacrity.proxy.upstream.policies.round_robin import STALE_ENTRIES, RoundRobin
from alacrity.proxy.upstream.server import UpstreamServer
from tests.support.wire import server

weights = st.lists(st.integers(1, 256), min_size=1, max_size=12)


def upstreams(number: int) -> list[UpstreamServer]:
    """
    Some servers.
    """
    return [UpstreamServer(server(port)) for port in range(1, number + 1)]


def chosen(policy: RoundRobin, times: int) -> list[int]:
    """
    The ports of the next choices.
    """
    found = [policy.choose() for _ in range(times)]
    return [each.port for each in found if each is not None]


class ShareTests(SynchronousTestCase):
    """
    The shares of servers.
    """

    @given(weights, st.integers(0, 2**32), st.integers(0, 500))
    def test_by_weight(self, weights: list[int], seed: int, before: int) -> None:
        """
        In any window of as many choices as the weights add up to, each server is chosen as often
        as its weight says, give or take one; wherever a node begins.
        """
        policy = RoundRobin(Random(seed))
        for upstream, weight in zip(upstreams(len(weights)), weights, strict=True):
            policy.add(upstream, weight)
        chosen(policy, before)
        counts = Counter(chosen(policy, sum(weights)))
        for port, weight in enumerate(weights, 1):
            self.assertLessEqual(abs(counts[port] - weight), 1)

    @given(
        st.lists(st.integers(1, 9), min_size=2, max_size=6),
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(0, 4)), max_size=60),
        st.integers(0, 2**32),
    )
    def test_any_changes(
        self, weights: list[int], changes: list[tuple[int, int, int]], seed: int
    ) -> None:
        """
        After any servers have come, gone and changed their weights, each has its share.
        """
        policy = RoundRobin(Random(seed))
        servers = upstreams(len(weights))
        present: dict[UpstreamServer, int] = {}
        for each, weight in zip(servers, weights, strict=True):
            present[each] = weight
            policy.add(each, weight)
        for at, weight, choices in changes:
            each = servers[at % len(servers)]
            if weight == 0:
                if present.pop(each, None):
                    policy.remove(each)
            elif each in present:
                present[each] = weight
                policy.reweigh(each, weight)
            else:
                present[each] = weight
                policy.add(each, weight)
            chosen(policy, choices)
        counts = Counter(chosen(policy, 3 * sum(present.values())))
        for each, weight in present.items():
            self.assertLessEqual(abs(counts[each.port] - 3 * weight), 1)
        self.assertEqual(len(policy), len(present))

    def test_random_beginning(self) -> None:
        """
        Nodes begin with different servers, each as likely as any.
        """
        counts: Counter[int] = Counter()
        for seed in range(300):
            policy = RoundRobin(Random(seed))
            for each in upstreams(3):
                policy.add(each, 1)
            counts.update(chosen(policy, 1))
        self.assertTrue(all(70 < counts[port] < 130 for port in (1, 2, 3)), counts)


class TurnTests(SynchronousTestCase):
    """
    The turns of servers, while others come and go.
    """

    def setUp(self) -> None:
        self.policy = RoundRobin()
        self.servers = upstreams(4)
        for each in self.servers:
            self.policy.add(each, 1)

    def test_others_keep_theirs(self) -> None:
        """
        The turns of those that stay follow each other as if nobody had gone and returned.
        """
        self.assertEqual(chosen(self.policy, 2), [1, 2])
        self.policy.remove(self.servers[0])
        self.assertEqual(chosen(self.policy, 2), [3, 4])
        self.policy.add(self.servers[0], 1)
        self.assertEqual(chosen(self.policy, 8), [1, 2, 3, 4] * 2)

    def test_newcomer(self) -> None:
        """
        A server that comes does not catch up on what it has missed.
        """
        chosen(self.policy, 400)
        self.policy.add(UpstreamServer(server(5)), 1)
        self.assertEqual(Counter(chosen(self.policy, 50)), dict.fromkeys(range(1, 6), 10))

    @given(st.integers(1, 256), st.integers(1, 20))
    def test_flapping_neighbour(self, weight: int, choices: int) -> None:
        """
        A heavy server that goes and returns all the time, even between any two requests,
        starves no light one.
        """
        policy = RoundRobin()
        light, heavy = upstreams(2)
        policy.add(light, 1)
        policy.add(heavy, weight)
        counts: Counter[int] = Counter()
        rounds = 3 * (weight + 1) // choices + 1
        for _ in range(rounds):
            policy.remove(heavy)
            policy.add(heavy, weight)
            counts.update(chosen(policy, choices))
        self.assertGreaterEqual(counts[1], rounds * choices // (weight + 1) - 1)
        self.assertGreaterEqual(counts[2], rounds * choices * weight // (weight + 1) - 1)

    def test_coming_and_going_gains_nothing(self) -> None:
        """
        A server that has just had its turn has it no sooner for going and returning.
        """
        for _ in range(40):
            (port,) = chosen(self.policy, 1)
            each = self.servers[port - 1]
            self.policy.remove(each)
            self.policy.add(each, 1)
            self.assertEqual(chosen(self.policy, 1), [port % 4 + 1])
            chosen(self.policy, 3)

    def test_changed_weight(self) -> None:
        """
        A change of weight moves a server's own next turn, in proportion.
        """
        self.policy.reweigh(self.servers[3], 2)
        counts = Counter(chosen(self.policy, 10))
        self.assertEqual(counts, {1: 2, 2: 2, 3: 2, 4: 4})

    def test_tried(self) -> None:
        """
        Servers that were tried are passed over, and keep their turns; if all were, there is
        none.
        """
        one, two, *_ = self.servers
        self.assertIs(self.policy.choose({one, two}), self.servers[2])
        self.assertEqual(chosen(self.policy, 4), [1, 2, 4, 1])
        self.assertIsNone(self.policy.choose(set(self.servers)))
        self.assertEqual(chosen(self.policy, 3), [2, 3, 4])

    def test_nobody(self) -> None:
        """
        Without servers, none is chosen.
        """
        for each in self.servers:
            self.policy.remove(each)
        self.assertIsNone(self.policy.choose())
        self.assertIsNone(self.policy.choose({self.servers[0]}))

    def test_forgotten(self) -> None:
        """
        A server that was forgotten is a newcomer.
        """
        one = self.servers[0]
        self.policy.remove(one)
        self.policy.forget(one)
        self.policy.forget(one)
        self.policy.add(one, 1)
        self.assertEqual(chosen(self.policy, 4), [2, 3, 4, 1])

    def test_storm(self) -> None:
        """
        However often servers go and return between two choices, what is left of that in memory
        is bounded.
        """
        for _ in range(1000):
            for each in self.servers:
                self.policy.remove(each)
                self.policy.add(each, 1)
        self.assertLess(len(self.policy._heap), 3 * len(self.servers) + STALE_ENTRIES)
        self.assertEqual(chosen(self.policy, 4), [1, 2, 3, 4])
