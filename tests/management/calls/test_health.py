"""
L{alacrity.management.calls.health}, and the leader's: is this node fit for traffic?
"""

from __future__ import annotations

from tests.support.management_caller import (
    ManagementCase,
)


class HealthTests(ManagementCase):
    """
    C{/health}.
    """

    def test_health(self) -> None:
        """
        200 while the proxy serves, 503 else.
        """
        self.assertEqual(self.management.call("GET", "/health").status, 200)
        self.management.serving = False
        detail = self.assertProblem(self.management.call("GET", "/health"), 503)
        self.assertEqual(detail, "this node should get no requests: it is stopping")
        self.assertEqual(self.management.call("HEAD", "/health").status, 503)
