"""
Tests for L{alacrity.proxy.upstream.balancer}.
"""

from __future__ import annotations

from collections import Counter
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from alacrity.pool import Change, Server, State
from alacrity.proxy.upstream.balancer import Balancer
from alacrity.proxy.upstream.policies.round_robin import STALE_ENTRIES
from tests.support.wire import server


class RotationTests(SynchronousTestCase):
    """
    The rotation follows the pool.
    """

    def test_any_changes(self) -> None:
        """
        Whoever comes, goes and changes its weight: those that are up, and they alone,
        get their shares.
        """
        rng = Random(0)
        balancer = Balancer()
        pool: dict[int, Server] = {}
        for _ in range(2000):
            port = rng.randrange(8)
            before = pool.pop(port, None)
            after = None
            if before is None or rng.random() < 0.7:
                state = rng.choice([State.UP, State.UP, State.DOWN])
                after = pool[port] = server(port, state=state, weight=rng.choice([1, 1, 1, 1, 2]))
            balancer.changed(Change(before, after))
            up = {each.port: each.weight for each in pool.values() if each.state is State.UP}
            if rng.random() < 0.5:
                balancer.choose()
            if rng.random() < 0.2:
                rounds = [balancer.choose() for _ in range(2 * sum(up.values()))]
                counts = Counter(each.port for each in rounds if each is not None)
                for port, weight in up.items():
                    self.assertLessEqual(abs(counts[port] - 2 * weight), 1, (up, counts))
                self.assertLessEqual(set(counts), set(up))

    def test_many_go_and_come_at_once(self) -> None:
        """
        Between two requests, as when a rack fails: those that are left get their shares, and
        then all do.
        """
        for going in (
            STALE_ENTRIES - 1,
            STALE_ENTRIES,
            STALE_ENTRIES + 1,
            3 * STALE_ENTRIES,
        ):
            balancer = Balancer()
            ports = range(1, 5 * STALE_ENTRIES)
            for port in ports:
                balancer.changed(Change(None, server(port)))
            for _ in range(7):
                balancer.choose()
            for port in ports[:going]:
                balancer.changed(Change(server(port), server(port, state=State.DOWN)))
            left = ports[going:]
            chosen = [balancer.choose() for _ in left]
            self.assertEqual(sorted(each.port for each in chosen if each), list(left))
            for port in ports[:going]:
                balancer.changed(Change(server(port, state=State.DOWN), server(port)))
            chosen = [balancer.choose() for _ in ports]
            self.assertEqual(sorted(each.port for each in chosen if each), list(ports))
