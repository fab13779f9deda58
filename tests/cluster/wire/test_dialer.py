"""
L{alacrity.cluster.wire.dialer} and L{alacrity.cluster.wire.dialers}: attempts to connect.
"""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.wire.dialer import (
    ATTEMPT_TIMEOUT,
    FIRST_RETRY,
    LONGEST_RETRY,
    Dialer,
    DialerPhase,
)
from alacrity.cluster.wire.dialers import YIELD, Dialers


class DialerTests(SynchronousTestCase):
    """
    L{Dialer}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.attempts: list[Deferred[Any]] = []
        self.failures: list[str] = []
        self.dialer = Dialer(self.connect, self.clock, Random(1), self.failures.append)

    def connect(self) -> Deferred[Any]:
        self.attempts.append(Deferred())
        return self.attempts[-1]

    def assert_phase(self, phase: DialerPhase, attempts: int) -> None:
        self.assertEqual((self.dialer.phase, len(self.attempts)), (phase, attempts))
        self.assertEqual(repr(self.dialer), f"<Dialer: {phase.value}>")

    def test_connects(self) -> None:
        self.assert_phase(DialerPhase.NEW, 0)
        self.dialer.dial()
        self.assert_phase(DialerPhase.CONNECTING, 1)
        self.attempts[0].callback(None)
        self.assert_phase(DialerPhase.CONNECTED, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.dialer.pause()
        self.assert_phase(DialerPhase.PAUSED, 1)

    def test_fails(self) -> None:
        """
        After each failure, the callback is called, and the next attempt comes later.
        """
        self.dialer.dial()
        waits = []
        for count in range(1, 9):
            self.attempts[-1].errback(ConnectionRefusedError())
            self.assert_phase(DialerPhase.WAITING, count)
            self.assertEqual(len(self.failures), count)
            [retry] = self.clock.getDelayedCalls()
            waits.append(retry.getTime() - self.clock.seconds())
            self.clock.advance(waits[-1])
            self.assert_phase(DialerPhase.CONNECTING, count + 1)
        self.assertLessEqual(waits[0], 1.2 * FIRST_RETRY)
        self.assertGreaterEqual(waits[-1], 0.8 * LONGEST_RETRY)
        self.assertLessEqual(max(waits), 1.2 * LONGEST_RETRY)

    def test_connect_raises(self) -> None:
        def fail() -> Deferred[Any]:
            raise ValueError("no address\nat all")

        self.dialer = Dialer(fail, self.clock, Random(1), self.failures.append)
        self.dialer.dial()
        self.assert_phase(DialerPhase.WAITING, 0)
        self.assertEqual(self.failures, ["no address at all"])

    def test_timeout(self) -> None:
        self.dialer.dial()
        self.clock.advance(ATTEMPT_TIMEOUT)
        self.assert_phase(DialerPhase.WAITING, 1)
        self.assertEqual(self.failures, [f"no connection in {ATTEMPT_TIMEOUT:g} seconds"])

    def test_lost(self) -> None:
        """
        A lost connection is made anew once, even if the loss is told repeatedly.
        """
        self.dialer.dial()
        self.attempts[0].callback(None)
        for _ in range(3):
            self.dialer.dial_later()
            self.assert_phase(DialerPhase.WAITING, 1)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(1)
        self.assert_phase(DialerPhase.CONNECTING, 2)
        self.dialer.dial_later()
        self.assert_phase(DialerPhase.CONNECTING, 2)

    def test_lasting_connection(self) -> None:
        """
        After a connection that lasted, the next retry comes soon again.
        """
        for _ in range(9):
            self.dialer.dial_later()
            self.clock.advance(2)
            self.attempts[-1].errback(ConnectionRefusedError())
            self.dialer.pause()
        self.dialer.reset_wait()
        self.dialer.dial_later()
        [retry] = self.clock.getDelayedCalls()
        self.assertLessEqual(retry.getTime() - self.clock.seconds(), 1.2 * FIRST_RETRY)

    def test_paused(self) -> None:
        """
        A pause ends the present attempt without a failure, and lasts until the dialer is
        told to go on.
        """
        self.dialer.dial()
        self.dialer.pause()
        self.assert_phase(DialerPhase.PAUSED, 1)
        self.assertEqual(self.failures, [])
        self.dialer.dial_later()
        self.assert_phase(DialerPhase.WAITING, 1)
        self.dialer.pause()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped(self) -> None:
        """
        A stopped dialer never connects again.
        """
        self.dialer.dial()
        self.dialer.stop()
        self.dialer.dial_later()
        self.dialer.pause()
        self.assert_phase(DialerPhase.STOPPED, 1)
        self.assertEqual((self.failures, self.clock.getDelayedCalls()), ([], []))

    def test_paused_while_an_attempt_cannot_be_cancelled(self) -> None:
        """
        If the dialer is told to go on while a cancelled attempt has not ended, no second
        one is begun.
        """
        stubborn: Deferred[Any] = Deferred(lambda _: stubborn.pause())
        self.dialer = Dialer(lambda: stubborn, self.clock, Random(1), self.failures.append)
        self.dialer.dial()
        self.dialer.pause()
        self.assert_phase(DialerPhase.PAUSED, 0)
        self.dialer.dial_later()
        self.assert_phase(DialerPhase.CONNECTING, 0)
        stubborn.unpause()
        self.assert_phase(DialerPhase.WAITING, 0)


class DialersTests(SynchronousTestCase):
    """
    L{Dialers}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.attempts: list[str] = []
        self.failures: list[tuple[str, str]] = []
        self.dialers = Dialers(
            "b", self.connect, self.clock, Random(1), lambda *told: self.failures.append(told)
        )

    def connect(self, name: str) -> Deferred[Any]:
        self.attempts.append(name)
        return Deferred()

    def test_the_greater_name_connects_first(self) -> None:
        self.dialers.start("a", connected=False)
        self.dialers.start("c", connected=False)
        self.assertEqual(self.attempts, ["a"])
        self.clock.advance(1.2 * YIELD)
        self.assertEqual(self.attempts, ["a", "c"])

    def test_connected_already(self) -> None:
        self.dialers.start("a", connected=True)
        self.clock.advance(10)
        self.assertEqual(self.attempts, [])
        self.assertIn("paused", repr(self.dialers.get("a")))

    def test_failures_are_told_by_name(self) -> None:
        self.dialers.start("a", connected=False)
        self.clock.advance(ATTEMPT_TIMEOUT)
        self.assertEqual([name for name, _ in self.failures], ["a"])

    def test_stopped(self) -> None:
        for name in "acd":
            self.dialers.start(name, connected=False)
        self.dialers.stop("a")
        self.assertIsNone(self.dialers.get("a"))
        self.dialers.stop("nobody")
        self.dialers.pause("nobody")
        self.dialers.stop_all()
        self.assertIsNone(self.dialers.get("d"))
        self.assertEqual(self.clock.getDelayedCalls(), [])
