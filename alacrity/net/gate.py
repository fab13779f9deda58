"""
A gate for reading: a connection is read from while no reason is set against it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from alacrity.net.turns import LARGE_READS_PER_TURN, Turns

TURN: Final = 1
"""Reason not to read: the connection waits for its turn of the loop."""

SLOW: Final = 2
"""Reason not to read: the other side takes no more for now."""

HELD: Final = 4
"""Reason not to read: bytes that came earlier are still to be used."""

ENDED: Final = 8
"""Reason not to read: the other end has sent all that it will, or the connection is closed."""


class PausableTransport(Protocol):
    """
    The part of a transport that L{ReadGate} uses.
    """

    def pauseProducing(self) -> None:
        """Stop reading."""

    def resumeProducing(self) -> None:
        """Read on."""


class ReadGate:
    """
    A set of reasons not to read from a connection. Reading is paused while there is one.

    @ivar reasons: those that hold, as the sum of L{TURN}, L{SLOW}, L{HELD} and L{ENDED}.
    """

    __slots__ = ("_is_open", "_large_reads", "_transport", "_turns", "reasons")

    def __init__(self, transport: PausableTransport, turns: Turns) -> None:
        """
        @param transport: of the connection; it is being read from.
        @param turns: the queue of connections that wait for a turn.
        """
        self._transport = transport
        self._turns = turns
        self._large_reads = 0
        self._is_open = True
        self.reasons = 0

    def __repr__(self) -> str:
        names = ((TURN, "turn"), (SLOW, "slow"), (HELD, "held"), (ENDED, "ended"))
        reasons = [name for reason, name in names if self.reasons & reason]
        return f"<ReadGate {'+'.join(reasons) or 'open'}>"

    def close(self, reason: int) -> None:
        """
        Set a reason, and pause reading.
        """
        self.reasons |= reason
        if self._is_open:
            self._is_open = False
            self._transport.pauseProducing()

    def open(self, reason: int) -> None:
        """
        Clear a reason, and resume reading if there is no other.
        """
        self.reasons &= ~reason
        if not self.reasons and not self._is_open:
            self._is_open = True
            self._transport.resumeProducing()

    def end(self) -> None:
        """
        Never read on: the other end has sent all that it will, or the connection is closed.
        """
        self.reasons |= ENDED
        self._is_open = False

    def await_turn(self, go_on: Callable[[], None]) -> None:
        """
        Pause reading until a turn of the loop of its own.

        @param go_on: called in that turn; it opens the gate for L{TURN} first of all.
        """
        if not self.reasons & TURN:
            self.close(TURN)
            self._turns.add(go_on)

    def count_large_read(self, go_on: Callable[[], None]) -> None:
        """
        Count a read of L{LARGE_READ<alacrity.net.turns.LARGE_READ>} bytes or more; after some of
        them, await a turn.

        @param go_on: as for L{await_turn}.
        """
        self._large_reads += 1
        if self._large_reads % LARGE_READS_PER_TURN == 0:
            self.await_turn(go_on)
