"""
Tests for L{alacrity.proxy.upstream.policies.rendezvous}.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from zlib import crc32

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from alacrity.proxy.upstream.policies.rendezvous import CHANGES, SLOTS, Rendezvous
from alacrity.proxy.upstream.server import UpstreamServer
from tests.support.wire import server

KEYS = [b"key %d" % n for n in range(600)]

ON_ANOTHER_NODE = """
from alacrity.proxy.upstream.policies.rendezvous import Rendezvous
from tests.proxy.upstream.policies.test_rendezvous import KEYS, owners, policy_of, upstreams
servers = upstreams(9)
print([owners(policy_of(servers[::-1], weight=3))[key] for key in KEYS[:200]])
"""


def upstreams(number: int) -> list[UpstreamServer]:
    """
    Some servers.
    """
    return [UpstreamServer(server(port)) for port in range(1, number + 1)]


def policy_of(servers: list[UpstreamServer], *, weight: int = 1, bound: float = 1.5) -> Rendezvous:
    """
    A policy with servers of one weight.
    """
    policy = Rendezvous(bound)
    for each in servers:
        policy.add(each, weight)
    return policy


def owners(policy: Rendezvous) -> dict[bytes, int]:
    """
    The ports of the servers that keys belong to.
    """
    found = {}
    for key in KEYS:
        chosen = policy.choose((), key)
        assert chosen is not None
        found[key] = chosen.port
    return found


class OwnerTests(SynchronousTestCase):
    """
    The servers that keys belong to, while nobody is busy.
    """

    def test_by_weight(self) -> None:
        """
        Slots are shared out by weight, to within four standard deviations.
        """
        weights = [1, 2, 3, 10, 16]
        policy = Rendezvous(1.5)
        servers = upstreams(len(weights))
        for each, weight in zip(servers, weights, strict=True):
            policy.add(each, weight)
        counts: Counter[int] = Counter()
        keys: dict[int, bytes] = {}
        for n in range(1 << 15):
            key = b"%d" % n
            keys.setdefault(crc32(key) % SLOTS, key)
        for key in keys.values():
            chosen = policy.choose((), key)
            assert chosen is not None
            counts[chosen.port] += 1
        for port, weight in enumerate(weights, 1):
            share = weight / sum(weights)
            deviation = (len(keys) * share * (1 - share)) ** 0.5
            self.assertLess(abs(counts[port] - len(keys) * share), 4 * deviation, counts)

    def test_all_nodes_agree(self) -> None:
        """
        Another process, with other seeds of Python's own hashes, in which the servers came in
        another order, finds the same owners.
        """
        here = owners(policy_of(upstreams(9)))
        there = subprocess.run(
            [sys.executable, "-c", ON_ANOTHER_NODE],
            env=os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=True,
            text=True,
        )
        self.assertEqual(there.stdout.strip(), str([here[key] for key in KEYS[:200]]))

    @given(st.integers(2, 20), st.integers(0, 19), st.integers(0, 2))
    @settings(max_examples=25)
    def test_minimal_disruption(self, number: int, which: int, how: int) -> None:
        """
        A server that goes gives up its own keys alone, and one that comes back gets exactly
        those; likewise one that is new, or gets a greater weight, takes keys from others, and
        moves none between them.
        """
        servers = upstreams(number)
        leaver = servers[which % number]
        policy = policy_of(servers)
        before = owners(policy)
        if how == 0:
            policy.remove(leaver)
        elif how == 1:
            policy.remove(leaver)
            policy.forget(leaver)
            leaver = UpstreamServer(server(leaver.port))
        else:
            policy.reweigh(leaver, 5)
            heavier = owners(policy)
            for key, port in before.items():
                self.assertIn(heavier[key], {port, leaver.port})
            self.assertLessEqual(
                {key for key in KEYS if before[key] == leaver.port},
                {key for key in KEYS if heavier[key] == leaver.port},
            )
            policy.reweigh(leaver, 1)
            self.assertEqual(owners(policy), before)
            return
        without = owners(policy)
        for key, port in before.items():
            if port == leaver.port:
                self.assertNotEqual(without[key], port)
            else:
                self.assertEqual(without[key], port)
        policy.add(leaver, 1)
        self.assertEqual(owners(policy), before)

    @given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 5)), max_size=40))
    @settings(max_examples=40)
    def test_any_changes(self, changes: list[tuple[int, int]]) -> None:
        """
        Whatever has happened before, the owners are those that a node finds which has just
        started.
        """
        policy = Rendezvous(1.5)
        present: dict[int, tuple[UpstreamServer, int]] = {}
        known: dict[int, UpstreamServer] = {}
        keys = KEYS[:50]
        for port, weight in [(90, 1), *changes]:
            upstream = known.setdefault(port, UpstreamServer(server(port + 1)))
            if weight and port in present:
                policy.reweigh(upstream, weight)
                present[port] = (upstream, weight)
            elif weight:
                policy.add(upstream, weight)
                present[port] = (upstream, weight)
            elif present.pop(port, None):
                policy.remove(upstream)
                if port % 2:
                    policy.forget(known.pop(port))
            for key in keys[::7]:
                policy.choose((), key)
        fresh = Rendezvous(1.5)
        for port, (_, weight) in sorted(present.items()):
            fresh.add(UpstreamServer(server(port + 1)), weight)
        for key in keys:
            one, other = policy.choose((), key), fresh.choose((), key)
            assert one is not None
            assert other is not None
            self.assertEqual(one.id, other.id)

    def test_many_changes(self) -> None:
        """
        More changes than are kept in mind; and servers that come and go for ever leave nothing
        behind.
        """
        policy = policy_of(upstreams(3))
        before = owners(policy)
        for port in range(100, 100 + 4 * CHANGES):
            passing = UpstreamServer(server(port))
            policy.add(passing, 1)
            policy.choose((), KEYS[0])
            policy.remove(passing)
            policy.forget(passing)
        self.assertEqual(owners(policy), before)
        self.assertLess(len(policy._present), 3 * CHANGES)

    def test_keyless(self) -> None:
        """
        Requests without a key are dealt out in turn.
        """
        policy = policy_of(upstreams(3))
        found = [policy.choose() for _ in range(6)]
        self.assertEqual([each.port for each in found if each], [1, 2, 3] * 2)


class BoundTests(SynchronousTestCase):
    """
    The bound on the requests of one server.
    """

    @given(
        st.lists(st.integers(1, 10), min_size=1, max_size=10),
        st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=300),
        st.sampled_from([1.0, 1.25, 1.5, 3.0]),
    )
    @settings(max_examples=60)
    def test_kept(self, weights: list[int], requests: list[tuple[int, bool]], bound: float) -> None:
        """
        Whatever keys are asked for, no server gets a request that takes it above the bound times
        its share of all requests, rounded up.
        """
        policy = Rendezvous(bound)
        servers = upstreams(len(weights))
        for each, weight in zip(servers, weights, strict=True):
            policy.add(each, weight)
        flying: list[tuple[UpstreamServer, int]] = []
        for attempt, (key, begins) in enumerate(requests):
            if begins or not flying:
                chosen = policy.choose((), KEYS[key])
                assert chosen is not None
                share = weights[chosen.port - 1] / sum(weights)
                chosen.begin(attempt)
                flying.append((chosen, attempt))
                self.assertLess(chosen.active, bound * len(flying) * share + 1 + 1e-9)
            else:
                upstream, ended = flying.pop(0)
                upstream.end(ended, True)

    def test_hot_key(self) -> None:
        """
        A key that all ask for is spread over servers in one order, and returns to its owner when
        that has room.
        """
        servers = upstreams(4)
        policy = policy_of(servers)
        chosen = []
        for attempt in range(40):
            upstream = policy.choose((), b"hot")
            assert upstream is not None
            upstream.begin(attempt)
            chosen.append(upstream)
        counts = Counter(each.port for each in chosen)
        self.assertEqual(len(counts), 4 - 1)
        self.assertEqual(max(counts.values()), 15)
        for attempt, upstream in enumerate(chosen):
            upstream.end(attempt, True)
        self.assertIs(policy.choose((), b"hot"), chosen[0])

    def test_tried(self) -> None:
        """
        Servers that were tried are passed over, also beyond the best few; if all those within
        their bound were, one above it is better than none.
        """
        servers = upstreams(12)
        policy = policy_of(servers)
        tried: set[UpstreamServer] = set()
        for _ in servers:
            chosen = policy.choose(tried, b"a")
            assert chosen is not None
            self.assertNotIn(chosen, tried)
            tried.add(chosen)
        self.assertIsNone(policy.choose(tried, b"a"))
        for attempt in range(99):
            servers[0].begin(attempt)
        self.assertIs(policy.choose(set(servers[1:]), b"a"), servers[0])

    def test_load(self) -> None:
        """
        The mean is of the servers that are in the set: requests of those that have gone do not
        count.
        """
        servers = upstreams(2)
        policy = policy_of(servers)
        for attempt in range(50):
            servers[1].begin(attempt)
        policy.remove(servers[1])
        self.assertEqual(policy._load.active, 0)
        servers[1].end(0, True)
        policy.add(servers[1], 1)
        self.assertEqual(policy._load.active, 49)
        servers[1].end(1, True)
        self.assertEqual(policy._load.active, 48)
