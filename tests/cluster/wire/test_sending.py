"""
L{alacrity.cluster.wire.sending}: the pace of frames.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cluster.wire.encryption import LONGEST_PIECE, EncryptingSealer
from alacrity.cluster.wire.sending import AT_ONCE, MOST_UNSENT, FrameWriter


class _Sealer(EncryptingSealer):
    """
    A sealer that seals nothing, and counts.
    """

    def __init__(self) -> None:
        super().__init__(bytes(32))
        self.sealed = 0

    def seal(self, payload: bytes, start: int = 0) -> bytes:
        piece = payload[start : start + LONGEST_PIECE]
        self.sealed += len(piece)
        return piece


class FrameWriterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.transport = StringTransport()
        self.sealer = _Sealer()
        self.overflows = 0
        self.writer = FrameWriter(self.transport, self.sealer, self.clock, self.overflow)

    def overflow(self) -> None:
        self.overflows += 1

    def test_at_once(self) -> None:
        """
        A payload of one piece is written at once, without the clock.
        """
        self.writer.send(b"one")
        self.writer.send(b"two")
        self.assertEqual(self.transport.value(), b"onetwo")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_in_turns(self) -> None:
        """
        A long payload is sealed in several turns, and what is sent meanwhile follows it.
        """
        payload = bytes(range(256)) * (6 * LONGEST_PIECE // 256)
        self.writer.send(payload)
        self.writer.send(b"end")
        turns = [self.sealer.sealed]
        while self.clock.getDelayedCalls():
            self.clock.advance(0)
            turns.append(self.sealer.sealed)
        self.assertEqual(turns, [AT_ONCE, len(payload) + 3])
        self.assertEqual(self.transport.value(), payload + b"end")

    def test_paused(self) -> None:
        """
        Nothing is sealed while the transport takes nothing.
        """
        self.writer.send(b"a")
        self.writer.pauseProducing()
        self.writer.send(b"b")
        self.writer.send(bytes(2 * LONGEST_PIECE))
        self.clock.advance(1)
        self.assertEqual((self.transport.value(), self.sealer.sealed), (b"a", 1))
        self.writer.resumeProducing()
        self.assertEqual(self.transport.value(), b"ab" + bytes(2 * LONGEST_PIECE))

    def test_paused_in_between(self) -> None:
        """
        A pause during a long payload, and again in a later turn.
        """
        payload = bytes(9 * LONGEST_PIECE)
        self.writer.send(payload)
        self.writer.pauseProducing()
        self.clock.advance(0)
        self.assertEqual(self.sealer.sealed, AT_ONCE)
        self.writer.resumeProducing()
        self.writer.pauseProducing()
        self.writer.resumeProducing()
        self.clock.advance(0)
        self.assertEqual(self.transport.value(), payload)

    def test_resumed_before_the_next_turn(self) -> None:
        """
        A transport that pauses and resumes within a turn gets no more in it.
        """
        self.writer.send(bytes(9 * LONGEST_PIECE))
        self.writer.pauseProducing()
        self.writer.resumeProducing()
        self.assertEqual(self.sealer.sealed, AT_ONCE)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_what_is_written_waits_no_more(self) -> None:
        """
        The bound is on the bytes that wait at a time.
        """
        for _ in range(4 * (MOST_UNSENT >> 20)):
            self.writer.pauseProducing()
            self.writer.send(b"")
            self.writer.send(bytes(1 << 20))
            self.writer.resumeProducing()
            self.clock.advance(0)
            self.transport.clear()
        self.assertEqual(self.overflows, 0)

    def test_overflow(self) -> None:
        self.writer.pauseProducing()
        for _ in range(MOST_UNSENT >> 20):
            self.writer.send(bytes((1 << 20) - 16))
        self.assertEqual(self.overflows, 0)
        self.writer.send(bytes(1 << 20))
        self.assertEqual(self.overflows, 1)

    def test_finish(self) -> None:
        """
        The rest of a payload is written at once, unless the transport takes nothing.
        """
        for paused in (False, True):
            self.setUp()
            self.writer.send(bytes(8 * LONGEST_PIECE))
            if paused:
                self.writer.pauseProducing()
            self.writer.finish()
            self.assertEqual(self.sealer.sealed, AT_ONCE if paused else 8 * LONGEST_PIECE)
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.writer.resumeProducing()
            self.assertEqual(self.sealer.sealed, AT_ONCE if paused else 8 * LONGEST_PIECE)

    def test_last_sent(self) -> None:
        self.clock.advance(3)
        self.assertEqual(self.writer.last_sent, 0)
        self.writer.send(b"")
        self.assertEqual(self.writer.last_sent, 3)
