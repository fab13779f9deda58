"""
Tests for L{alacrity.net.turns}.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from alacrity.net.turns import Turns


class TurnsTests(SynchronousTestCase):
    """
    The order of the turns.
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
