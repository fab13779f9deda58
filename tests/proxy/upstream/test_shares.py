"""
Tests for L{alacrity.proxy.upstream.shares}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from alacrity.proxy.upstream.server import UpstreamServer
from alacrity.proxy.upstream.shares import Shares
from tests.support.wire import server

GROUPS = {"canary": 5, "stable": 95}


class SharesTests(SynchronousTestCase):
    """
    The weights by which servers are chosen.
    """

    def setUp(self) -> None:
        self.shares = Shares(GROUPS)
        self.servers = [UpstreamServer(server(port)) for port in range(1, 6)]

    def put(self, at: int, group: str = "", weight: int = 1, *, ramping: bool = False) -> None:
        """
        Put a server.
        """
        self.shares.put(self.servers[at], group, weight, ramping=ramping)

    def weight(self, at: int, part: float = 1.0) -> float:
        """
        A server's weight.
        """
        return self.shares.weight(self.servers[at], part)

    def test_one_group(self) -> None:
        """
        While there is one group, weights are the servers' own, and none moves another.
        """
        for group in ("", "canary"):
            for at in range(3):
                self.put(at, group, at + 1)
            self.assertEqual([self.weight(at) for at in range(3)], [1, 2, 3])
            self.shares.drop(self.servers[0])
            self.assertFalse(self.shares.moved)
            for at in (1, 2):
                self.shares.drop(self.servers[at])
        self.assertEqual(len(self.shares), 0)

    def test_groups(self) -> None:
        """
        A group's weight is divided among its servers; those without a group are one of weight 1.
        """
        self.put(0, "canary", 7)
        self.put(1, "stable", 1)
        self.assertTrue(self.shares.moved)
        self.put(2, "stable", 4)
        self.put(3, "", 3)
        self.put(4, "other", 2)
        found = [self.weight(at) for at in range(5)]
        for one, other in zip(found, [5, 19, 76, 1, 1], strict=True):
            self.assertAlmostEqual(one, other)
        self.shares.settle()
        self.put(2, "stable", 4)
        self.assertFalse(self.shares.moved)

    @given(
        st.lists(
            st.tuples(
                st.integers(0, 4), st.sampled_from(["", "canary", "stable"]), st.integers(0, 9)
            ),
            max_size=30,
        )
    )
    def test_any_changes(self, changes: list[tuple[int, str, int]]) -> None:
        """
        Whatever has changed, a group's servers have its weight together.
        """
        shares = Shares(GROUPS)
        present: dict[int, str] = {}
        for at, group, weight in changes:
            if weight:
                shares.put(self.servers[at], group, weight, ramping=False)
                present[at] = group
            elif present.pop(at, None) is not None:
                shares.drop(self.servers[at])
        groups = set(present.values())
        if len(groups) > 1:
            for group in groups:
                total = sum(
                    shares.weight(self.servers[at], 1.0) for at in present if present[at] == group
                )
                self.assertAlmostEqual(total, GROUPS.get(group, 1))

    def test_slow_start(self) -> None:
        """
        A slow start counts beside servers that are in none, not where all are.
        """
        self.put(0, ramping=True)
        self.put(1, ramping=True)
        self.assertEqual(self.weight(0, 0.1), 1)
        self.shares.settle()
        self.put(2)
        self.assertTrue(self.shares.moved)
        self.assertEqual([self.weight(0, 0.1), self.weight(1, 0.5), self.weight(2)], [0.1, 0.5, 1])
        self.shares.settle()
        self.shares.drop(self.servers[2])
        self.assertTrue(self.shares.moved)
        self.assertEqual(self.weight(0, 0.1), 1)

    def test_slow_start_in_a_group(self) -> None:
        """
        A group whose only server starts slowly starts slowly itself.
        """
        self.put(0, "canary", ramping=True)
        self.put(1, "stable")
        self.assertAlmostEqual(self.weight(0, 0.1), 0.5)
        self.assertAlmostEqual(self.weight(1), 95)
