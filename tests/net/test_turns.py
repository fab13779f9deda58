"""
Tests for L{alacrity.net.turns} and for L{Deadline<alacrity.runtime.clocks.Deadline>}.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.net.turns import Turns
from alacrity.runtime.clocks import Deadline


class TurnsTests(SynchronousTestCase):
    """
    Who goes on when.
    """

    def setUp(self) -> None:
        self.asked: list[Callable[[], None]] = []
        self.turns = Turns(self.asked.append)
        self.done: list[str] = []

    def turn(self) -> None:
        """The loop has a turn; more than one call was never asked for."""
        (call,) = self.asked
        self.asked.clear()
        call()

    def test_in_order(self) -> None:
        """
        One goes on in each turn, first come first served, also those that come again.
        """

        def begin() -> None:
            self.done.append("a")
            self.turns.add(lambda: self.done.append("a again"))

        self.turns.add(begin)
        self.turns.add(lambda: self.done.append("b"))
        self.assertEqual(len(self.turns), 2)
        for _ in range(3):
            self.turn()
        self.assertEqual(self.done, ["a", "b", "a again"])
        self.assertEqual((self.asked, bool(self.turns)), ([], False))

    def test_fault(self) -> None:
        """
        The fault of one is logged, and not the others'.
        """
        self.turns.add(self.done.clear)
        self.turns.add(lambda: self.done.remove("a"))
        self.turns.add(lambda: self.done.append("b"))
        for _ in range(3):
            self.turn()
        self.assertEqual(self.done, ["b"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


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
        After its end come the turns in which the sockets are looked at, then it is called.
        """
        for _ in range(Deadline.TURNS):
            (call,) = self.clock.calls
            self.clock.calls.clear()
            self.clock.rightNow = call.getTime()
            call.func()
            self.assertEqual(self.called, [])
        self.clock.advance(0)
        self.assertEqual(self.called, [2.0])

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
