"""
The frames that one side of a connection sends, at the pace of the network.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from alacrity.cluster.wire.frames import FrameSealer

MOST_UNSENT: Final = 16 << 20
"""Bytes that may wait for a peer that does not read; with more, the connection is closed."""

AT_ONCE: Final = 1 << 18
"""Bytes of waiting pieces that are sealed at most in one turn of the event loop."""


@implementer(IPushProducer)
class FrameWriter:
    """
    Seals payloads, and writes them to a transport in their order. A payload is sealed when the
    transport takes it; a long one is sealed in several turns of the event loop.

    @ivar last_sent: the time at which a frame was last sent, by the clock.
    """

    def __init__(
        self,
        transport: Any,
        sealer: FrameSealer,
        clock: IReactorTime,
        on_overflow: Callable[[], object],
    ) -> None:
        """
        @param on_overflow: called when more than L{MOST_UNSENT} bytes wait.
        """
        self.last_sent = clock.seconds()
        self._transport = transport
        self._sealer = sealer
        self._clock = clock
        self._on_overflow = on_overflow
        self._waiting: deque[bytes] = deque()
        # The offset of the first payload's next piece.
        self._at = 0
        self._waiting_bytes = 0
        self._paused = False
        self._next_turn: IDelayedCall | None = None

    def send(self, payload: bytes) -> None:
        """
        Send a payload.
        """
        self.last_sent = self._clock.seconds()
        if len(payload) <= self._sealer.piece and not self._waiting and not self._paused:
            self._transport.write(self._sealer.seal(payload))
            return
        self._waiting.append(payload)
        # An empty payload takes memory, too.
        self._waiting_bytes += max(1, len(payload))
        if self._waiting_bytes > MOST_UNSENT:
            self._on_overflow()
        elif self._next_turn is None:
            self._write_waiting()

    def _write_waiting(self) -> None:
        """
        Write the pieces that wait, at most L{AT_ONCE} bytes in this turn.
        """
        self._next_turn = None
        left = AT_ONCE
        while self._waiting and not self._paused:
            if left <= 0:
                self._next_turn = self._clock.callLater(0, self._write_waiting)
                return
            left -= self._write_next()

    def _write_next(self) -> int:
        """
        Write the next piece.

        @return: its size.
        """
        payload, at = self._waiting[0], self._at
        size = min(self._sealer.piece, len(payload) - at)
        self._at += size
        if self._at == len(payload):
            self._waiting.popleft()
            self._waiting_bytes -= max(1, len(payload))
            self._at = 0
        self._transport.write(self._sealer.seal(payload, at))
        return size

    def finish(self) -> None:
        """
        Write what the transport has not refused to take, and nothing more after that.
        """
        while self._waiting and not self._paused:
            self._write_next()
        self.stop()

    def stop(self) -> None:
        """
        Write nothing more.
        """
        self._waiting.clear()
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None

    # From the transport

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        if self._next_turn is None:
            self._write_waiting()

    def stopProducing(self) -> None:
        """The connection has ended; the link is told."""
