"""
Tests for L{alacrity.net.deadline}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.net.deadline import Deadline


class DeadlineTests(SynchronousTestCase):
    """
    Time limits that a stall does not bring about.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.called: list[float] = []
        self.deadline = Deadline(self.clock, 2.0, lambda: self.called.append(self.clock.seconds()))

    def test_after_turns(self) -> None:
        """
        After its end come the turns in which the sockets are polled, then the call.
        """
        for _ in range(Deadline.TURNS):
            (call,) = self.clock.calls
            self.clock.calls.clear()
            self.clock.rightNow = call.getTime()
            call.func()
            self.assertEqual((self.called, repr(self.deadline)), ([], "<Deadline polling>"))
        self.clock.advance(0)
        self.assertEqual((self.called, repr(self.deadline)), ([2.0], "<Deadline over>"))

    def test_cancelled(self) -> None:
        """
        Cancelled before, between or after, it does nothing more.
        """
        self.deadline.cancel()
        self.clock.advance(3)
        self.assertEqual((self.called, self.clock.calls), ([], []))
        self.deadline.cancel()
        late = Deadline(self.clock, 1.0, lambda: self.called.append(0.0))
        self.clock.advance(1)
        late.cancel()
        self.assertEqual(self.called, [0.0])
