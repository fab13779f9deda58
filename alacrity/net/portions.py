"""
A transport that bounds the bytes which its protocol is given in one turn of the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress, IProtocol

from alacrity.net.gate import HELD, SLOW, TURN, ReadGate
from alacrity.net.transports import StreamTransport
from alacrity.net.turns import Turns


class _UngatedReading:
    """
    The reading of a transport itself, which the gate pauses and resumes.
    """

    __slots__ = ("_transport",)

    def __init__(self, transport: StreamTransport) -> None:
        self._transport = transport

    def pauseProducing(self) -> None:
        StreamTransport.pauseProducing(self._transport)

    def resumeProducing(self) -> None:
        StreamTransport.resumeProducing(self._transport)


class PortionedTransport(StreamTransport):
    """
    A connection whose protocol is given one portion in a turn of the loop. The rest of a read
    is held, and nothing is read meanwhile.
    """

    __slots__ = ("_gate", "_held", "_portion", "_turns")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        build: Callable[[IAddress], IProtocol | None],
        portion: int,
        turns: Turns,
    ) -> None:
        """
        @param build: see L{StreamTransport}.
        @param portion: bytes that the protocol is given at once.
        @param turns: the queue in which it waits for more.
        """
        super().__init__(loop, build)
        self._portion = portion
        self._turns = turns
        self._held = b""
        self._gate: ReadGate | None = ReadGate(_UngatedReading(self), turns)

    def connection_lost(self, error: BaseException | None) -> None:
        self._held = b""
        # The gate knows this transport: no cycle is left behind.
        self._gate = None
        super().connection_lost(error)

    def pauseProducing(self) -> None:
        if self._gate is not None:
            self._gate.close(SLOW)

    def resumeProducing(self) -> None:
        gate = self._gate
        if gate is not None:
            gate.open(SLOW)
            if self._held:
                gate.await_turn(self._go_on)

    def _receiver(self, protocol: Any) -> Callable[[bytes], None]:
        return self._receive

    def _read_rest(self) -> None:
        """Leave what came before a failed write: it may be more than a portion."""

    def _receive(self, data: bytes) -> None:
        self._held += data
        gate = self._gate
        if gate is None or gate.reasons & TURN:
            return
        if self._turns or len(self._held) > self._portion:
            gate.close(HELD)
            gate.await_turn(self._go_on)
        else:
            self._give()

    def _go_on(self) -> None:
        if self._gate is not None:
            self._gate.open(TURN)
            self._give()

    def _give(self) -> None:
        """
        Give the protocol a portion, unless it takes none for now.
        """
        gate = self._gate
        if gate is not None and not gate.reasons & SLOW:
            portion, self._held = self._held[: self._portion], self._held[self._portion :]
            assert self._protocol is not None
            self._protocol.dataReceived(portion)
            # The protocol may have paused the reading, or dropped the connection.
            gate = self._gate
        if gate is None:
            return
        if not self._held:
            gate.open(HELD)
            return
        gate.close(HELD)
        if not gate.reasons & SLOW:
            gate.await_turn(self._go_on)
