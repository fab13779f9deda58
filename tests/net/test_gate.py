"""
Tests for L{alacrity.net.gate}.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from alacrity.net.gate import ENDED, HELD, SLOW, TURN, ReadGate
from alacrity.net.turns import LARGE_READS_PER_TURN, Turns


class ReadGateTests(SynchronousTestCase):
    """
    Reading goes on when no reason against it is left.
    """

    def setUp(self) -> None:
        self.calls: list[str] = []
        self.soon: list[Callable[[], None]] = []
        self.gate = ReadGate(self, Turns(self.soon.append))

    # As the transport

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def turn(self) -> None:
        """
        Let the loop have a turn.
        """
        (call,) = self.soon
        self.soon.clear()
        call()

    def go_on(self) -> None:
        """
        Calls in a turn that was waited for.
        """
        self.gate.open(TURN)
        self.calls.append("turn")

    def test_reasons(self) -> None:
        """
        The transport is paused for the first reason, and resumed with the last, once each.
        """
        for reason in (SLOW, HELD, SLOW):
            self.gate.close(reason)
        self.assertEqual(self.calls, ["pause"])
        self.assertEqual(repr(self.gate), "<ReadGate slow+held>")
        self.gate.open(SLOW)
        self.assertEqual(self.calls, ["pause"])
        self.gate.open(HELD)
        self.assertEqual(self.calls, ["pause", "resume"])
        self.gate.open(HELD)
        self.gate.open(TURN | SLOW)
        self.assertEqual(self.calls, ["pause", "resume"])
        self.assertEqual((self.gate.reasons, repr(self.gate)), (0, "<ReadGate open>"))

    def test_turn(self) -> None:
        """
        A turn is waited for once, however often it is asked for.
        """
        self.gate.await_turn(self.go_on)
        self.gate.await_turn(self.go_on)
        self.assertEqual(self.calls, ["pause"])
        self.turn()
        self.assertEqual((self.calls, self.soon), (["pause", "resume", "turn"], []))

    def test_turn_while_slow(self) -> None:
        """
        A turn does not resume what is paused for another reason, nor that reason's end what
        waits for a turn.
        """
        for first, last in ((self.turn, lambda: self.gate.open(SLOW)),):
            self.gate.close(SLOW)
            self.gate.await_turn(self.go_on)
            first()
            self.assertEqual(self.calls, ["pause", "turn"])
            last()
            self.assertEqual(self.calls, ["pause", "turn", "resume"])
        self.calls.clear()
        self.gate.close(SLOW)
        self.gate.await_turn(self.go_on)
        self.gate.open(SLOW)
        self.assertEqual(self.calls, ["pause"])
        self.turn()
        self.assertEqual(self.calls, ["pause", "resume", "turn"])

    def test_large_reads(self) -> None:
        """
        After so many large reads, a turn is waited for, again and again.
        """
        for _ in range(3):
            for _ in range(LARGE_READS_PER_TURN):
                self.assertEqual(self.soon, [])
                self.gate.count_large_read(self.go_on)
            self.turn()
        self.assertEqual(self.calls, ["pause", "resume", "turn"] * 3)

    def test_ended(self) -> None:
        """
        A connection that has ended is neither read from again nor paused.
        """
        self.gate.end()
        self.gate.close(SLOW)
        self.gate.open(SLOW)
        self.assertEqual((self.calls, self.gate.reasons), ([], ENDED))
