"""
L{alacrity.management.calls.stats}: the counters.
"""

from __future__ import annotations

from alacrity.metrics.counters import Counter
from tests.management.example import ID, SERVER
from tests.support.management_caller import (
    ManagementCase,
)


class StatsTests(ManagementCase):
    """
    C{/stats} and C{/stats/detail}.
    """

    def test_stats(self) -> None:
        """
        The counters of the node.
        """
        stats = self.management.stats
        stats.client.success, stats.client.failed = 1, 2
        stats.server.success, stats.server.failed = 3, 4
        self.assertEqual(
            self.management.call("GET", "/stats").document,
            {"client": {"success": 1, "failed": 2}, "server": {"success": 3, "failed": 4}},
        )

    def test_detail(self) -> None:
        """
        The counters of each server; none yet is zero.
        """
        self.management.post(SERVER)
        self.management.post({**SERVER, "port": 1, "weight": 2})
        counter = self.management.counters[ID] = Counter()
        counter.success, counter.failed = 5, 6
        common = {"ip": "10.0.0.7", "state": "pending"}
        self.assertEqual(
            self.management.call("GET", "/stats/detail").document,
            [
                {**common, "id": ID, "port": "8080", "success": 5, "failed": 6, "weight": 1},
                {**common, "id": "10.0.0.7:1", "port": "1", "success": 0, "failed": 0, "weight": 2},
            ],
        )
