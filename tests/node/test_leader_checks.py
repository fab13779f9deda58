"""
Tests for L{alacrity.node.leader_checks}.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from alacrity.node.leader_checks import Duties, LeaderChecks


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


class DutiesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.first, self.second = _Monitor(), _Monitor()
        self.duties = Duties(self.first, self.second)

    def test_they_start_and_stop_as_one(self) -> None:
        self.assertFalse(self.duties.running)
        self.successResultOf(self.duties.startService())
        self.assertTrue(self.first.running and self.second.running and self.duties.running)
        stopping: Deferred[None] = Deferred()
        self.second.stopping = stopping
        stopped = self.duties.stopService()
        self.assertNoResult(stopped)
        stopping.callback(None)
        self.successResultOf(stopped)
        self.assertFalse(self.first.running or self.second.running or self.duties.running)

    def test_one_that_fails_keeps_no_other_from_it(self) -> None:
        self.first.failures = 1
        self.failureResultOf(self.duties.startService(), ZeroDivisionError)
        self.assertEqual((self.first.running, self.second.running), (False, True))
        self.first.failures = 1
        self.failureResultOf(self.duties.stopService(), ZeroDivisionError)
        self.assertFalse(self.second.running)
