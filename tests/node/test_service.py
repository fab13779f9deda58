"""
L{alacrity.node.service}: what a node does when it comes to lead, and when it leads no more.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.config import parse
from alacrity.node.service import Alacrity, Entry
from alacrity.pool import PoolView


class _Monitor:
    """
    Fails as often as it is told to.
    """

    running = False

    def __init__(self) -> None:
        self.failures = 0

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise ZeroDivisionError

    def startService(self) -> None:
        self._fail()
        self.running = True

    def stopService(self) -> None:
        self._fail()
        self.running = False


class LeadingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.monitor = _Monitor()
        self.service: Any = Alacrity(Clock(), parse("", "a.toml"), Path("state"), Entry())
        self._prepare(self.service)

    def _prepare(self, service: Any) -> None:
        service.monitor = self.monitor
        service.view = PoolView()
        service.serving = True

    def lead(self, leading: bool) -> None:
        self.service.replica = SimpleNamespace(is_leader=leading)
        self.service._led(leading)

    def test_who_leads_checks(self) -> None:
        for leading in (True, False, True):
            self.lead(leading)
            self.assertEqual(self.monitor.running, leading)

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
        self.assertTrue(self.service._checking.called)
        self.assertIsNone(self.successResultOf(self.service._checking))
