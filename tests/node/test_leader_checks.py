"""
Tests for L{alacrity.node.leader_checks}.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from alacrity.node.leader_checks import LeaderChecks


class _Monitor:
    """
    Fails as often as it is told to.
    """

    running = False

    def __init__(self) -> None:
        self.failures = 0
        self.stopping: Deferred[None] | None = None

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise ZeroDivisionError

    def startService(self) -> None:
        self._fail()
        self.running = True

    def stopService(self) -> Deferred[None] | None:
        self._fail()
        self.running = False
        return self.stopping


class LeaderChecksTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.monitor = _Monitor()
        self.leads = False
        self.checks = LeaderChecks(self.monitor, lambda: self.leads, lambda: 0)

    def lead(self, leads: bool) -> None:
        self.leads = leads
        self.last = self.checks.update()

    def test_who_leads_checks(self) -> None:
        for leads in (True, False, True):
            self.lead(leads)
            self.assertEqual(self.monitor.running, leads)

    def test_a_fault_is_of_one_leadership(self) -> None:
        """
        The next time this node leads, it checks, and it can be stopped.
        """
        self.monitor.failures = 1
        self.lead(True)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.lead(False)
        self.lead(True)
        self.assertTrue(self.monitor.running)
        self.monitor.failures = 1
        self.lead(False)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.lead(False)
        self.assertFalse(self.monitor.running)
        self.assertTrue(self.last.called)
        self.assertIsNone(self.successResultOf(self.last))

    def test_a_start_waits_for_the_stop_before_it(self) -> None:
        self.lead(True)
        stopping: Deferred[None] = Deferred()
        self.monitor.stopping = stopping
        self.lead(False)
        self.lead(True)
        self.assertFalse(self.monitor.running)
        stopping.callback(None)
        self.assertTrue(self.monitor.running)
