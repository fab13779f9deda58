"""
L{alacrity.cluster.wire.peer_warnings}: bounded and unrepeated warnings.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import Logger, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.wire.peer_warnings import (
    MOST_PER_PERIOD,
    MOST_REMEMBERED,
    PERIOD,
    PeerWarnings,
)


class PeerWarningsTests(SynchronousTestCase):
    """
    L{PeerWarnings}.
    """

    def test_bounded(self) -> None:
        """
        Any number of strangers fills neither the memory nor the log.
        """
        clock = Clock()
        warnings = PeerWarnings(Logger(), clock)
        with capturedLogs() as logs:
            for n in range(2000):
                warnings.warn(f"host{n}", "reason")
        self.assertEqual(len(logs), MOST_PER_PERIOD + 1)
        for n in range(MOST_REMEMBERED):
            clock.advance(PERIOD)
            warnings.warn(f"later{n}", "reason")
        self.assertEqual(len(warnings._logged), MOST_REMEMBERED)
        clock.advance(PERIOD)
        with capturedLogs() as logs:
            warnings.warn("another", "reason")
            warnings.warn("another", "reason")
            warnings.forget("another")
            warnings.warn("another", "reason")
        self.assertEqual([formatEvent(e) for e in logs], ["another: reason"] * 2)

    def test_lost_in_the_crowd(self) -> None:
        """
        A warning that was left out for too many others is logged if it comes again later.
        """
        clock = Clock()
        warnings = PeerWarnings(Logger(), clock)
        with capturedLogs() as logs:
            for n in range(MOST_PER_PERIOD + 1):
                warnings.warn(f"stranger{n}", "reason")
            warnings.warn("a member", "it has another secret")
        self.assertEqual(len(logs), MOST_PER_PERIOD + 1)
        clock.advance(PERIOD)
        with capturedLogs() as logs:
            warnings.warn("a member", "it has another secret")
        self.assertEqual([formatEvent(e) for e in logs], ["a member: it has another secret"])
