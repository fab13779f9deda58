"""
Tests for L{alacrity.proxy.upstream.server}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from alacrity.proxy.upstream.server import Load, UpstreamServer
from tests.support.wire import server


class AttemptTests(SynchronousTestCase):
    """
    The attempts under way with a server.
    """

    def setUp(self) -> None:
        self.told: list[bool] = []
        self.upstream = UpstreamServer(server(), lambda upstream: self.told.append(upstream.full))

    def test_cap(self) -> None:
        """
        It is full from the last attempt that it may have until one ends, and tells of each
        change once.
        """
        self.upstream.limit(2)
        for attempt in (1, 2, 3):
            self.upstream.begin(attempt)
        self.assertEqual((self.upstream.active, self.upstream.full, self.told), (3, True, [True]))
        for attempt in (1, 2, 3):
            self.upstream.end(attempt, True)
        self.assertEqual((self.upstream.full, self.told), (False, [True, False]))

    def test_no_cap(self) -> None:
        """
        Without a cap it is never full, with one below 0 always.
        """
        for attempt in range(100):
            self.upstream.begin(attempt)
        self.assertFalse(self.upstream.full)
        self.upstream.limit(-1)
        self.assertTrue(self.upstream.full)
        self.upstream.end(0, None)
        self.assertTrue(self.upstream.full)
        self.upstream.limit(0)
        self.assertFalse(self.upstream.full)
        self.assertEqual(self.told, [])

    def test_load(self) -> None:
        """
        Its attempts are part of a load from when it joins until it leaves.
        """
        load = Load()
        self.upstream.begin(1)
        self.upstream.join(load)
        self.upstream.begin(2)
        self.assertEqual(load.active, 2)
        self.upstream.end(1, True)
        self.assertEqual(load.active, 1)
        self.upstream.leave()
        self.assertEqual(load.active, 0)
        self.upstream.end(2, False)
        self.assertEqual((load.active, self.upstream.active), (0, 0))
