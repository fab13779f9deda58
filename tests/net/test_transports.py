"""
Tests for L{alacrity.net.transports}: one set of tests, over real sockets, for Twisted's own
transports and for uvloop's.

Each runs in a process of its own reactor: see L{alacrity.net.loops.uvloop_of}.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import SynchronousTestCase

from alacrity.net.portions import PortionedTransport
from alacrity.net.transports import StreamTransport, TransportPhase
from alacrity.net.turns import Turns
from tests.support.own_reactor import OwnReactorTestCase


class ContractTests(OwnReactorTestCase):
    """
    The contract of L{tests.support.transport_contract}, kept on each kind of reactor.
    """

    MODULE = "tests.support.transport_kinds"

    def test_twisted(self) -> None:
        """
        Twisted's own transports: the contract is theirs.
        """
        self.assert_passes(self.MODULE, "twisted")

    def test_uvloop(self) -> None:
        """
        uvloop's transports.
        """
        self.assert_passes(self.MODULE, "uvloop")


class _Loop:
    """
    A loop that calls at once.
    """

    def call_soon(self, call: Any, *arguments: object) -> None:
        call(*arguments)


class _Socket:
    """
    An open socket.
    """

    family = socket.AF_INET

    def fileno(self) -> int:
        return 0

    def setsockopt(self, *arguments: object) -> None:
        """It has no options."""


class _Uv:
    """
    uvloop's side of a connection.
    """

    reading = True

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        """It has none."""

    def get_extra_info(self, name: str, default: object = None) -> Any:
        return _Socket() if name == "socket" else ("192.0.2.9", 9)

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def write(self, data: bytes) -> None:
        """Nobody reads it."""

    writelines = write

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        """Nothing is sent."""

    abort = close


class _Taker(Protocol):
    """
    A protocol that keeps what it is given.
    """

    transport: Any

    def __init__(self) -> None:
        self.given: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        self.given.append(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.reason = reason


class PacedTests(SynchronousTestCase):
    """
    Connections whose protocol takes a bounded number of bytes in a turn.
    """

    def setUp(self) -> None:
        self.asked: list[Callable[[], None]] = []
        self.turns = Turns(self.asked.append)

    def connected(self) -> tuple[_Uv, _Taker]:
        """
        A connection of which four bytes are given at once.
        """
        uv, taker = _Uv(), _Taker()
        loop: Any = _Loop()
        transport = PortionedTransport(loop, lambda _address: taker, 4, self.turns)
        transport.connection_made(uv)
        return uv, taker

    def turn(self) -> None:
        """The loop has a turn."""
        (call,) = self.asked
        self.asked.clear()
        call()

    def test_little(self) -> None:
        """
        A short read is given at once.
        """
        uv, taker = self.connected()
        uv.protocol.data_received(b"abcd")
        uv.protocol.data_received(b"e")
        self.assertEqual(taker.given, [b"abcd", b"e"])
        self.assertEqual((uv.reading, self.asked), (True, []))

    def test_much(self) -> None:
        """
        A long read waits, piece by piece, and other connections with it, which are not read
        from.
        """
        uv, taker = self.connected()
        other, patient = self.connected()
        uv.protocol.data_received(b"abcdefghi")
        other.protocol.data_received(b"1")
        self.assertFalse(uv.reading or other.reading)
        self.turn()
        self.turn()
        self.assertEqual((taker.given, patient.given), ([b"abcd"], [b"1"]))
        self.assertEqual((uv.reading, other.reading), (False, True))
        self.turn()
        self.turn()
        self.assertEqual(taker.given, [b"abcd", b"efgh", b"i"])
        self.assertEqual((uv.reading, self.asked), (True, []))

    def test_paused(self) -> None:
        """
        A protocol that wants nothing for now is given nothing, and then the rest.
        """
        uv, taker = self.connected()
        uv.protocol.data_received(b"abcdefgh")
        taker.transport.pauseProducing()
        self.turn()
        self.assertEqual((taker.given, uv.reading), ([], False))
        taker.transport.resumeProducing()
        self.turn()
        self.turn()
        self.assertEqual((taker.given, uv.reading), ([b"abcd", b"efgh"], True))

    def test_lost(self) -> None:
        """
        Bytes that wait as the connection is lost are dropped.
        """
        uv, taker = self.connected()
        uv.protocol.data_received(b"abcdefgh")
        uv.protocol.connection_lost(None)
        self.turn()
        self.assertEqual((taker.given, self.asked), ([], []))

    def test_paused_twice(self) -> None:
        """
        Paused twice in a turn, and told to read on, it reads on.
        """
        later: list[Callable[[], None]] = []
        loop: Any = _Loop()
        loop.call_soon = later.append
        uv, taker = _Uv(), _Taker()
        transport = StreamTransport(loop, lambda _address: taker)
        transport.connection_made(uv)
        transport.pauseProducing()
        transport.pauseProducing()
        transport.resumeProducing()
        for call in later:
            call()
        self.assertTrue(uv.reading)


class PhaseTests(SynchronousTestCase):
    """
    The phases of a connection, which its representation shows.
    """

    def setUp(self) -> None:
        loop: Any = _Loop()
        self.taker = _Taker()
        self.uv = _Uv()
        self.transport = StreamTransport(loop, lambda _address: self.taker)

    def phase(self) -> tuple[TransportPhase, bool]:
        """
        The phase, and whether the protocol is to write no more.
        """
        self.assertIn(f" {self.transport.phase.value}: ", repr(self.transport))
        return self.transport.phase, self.transport.disconnecting

    def test_closed(self) -> None:
        """
        Opened, closed by the protocol, lost.
        """
        self.assertEqual(self.phase(), (TransportPhase.CONNECTING, False))
        self.assertFalse(self.transport.was_taken)
        self.transport.connection_made(self.uv)
        self.assertEqual(self.phase(), (TransportPhase.OPEN, False))
        self.assertTrue(self.transport.was_taken)
        self.transport.loseConnection()
        self.assertEqual(self.phase(), (TransportPhase.CLOSING, True))
        self.transport.connection_lost(None)
        self.assertEqual(self.phase(), (TransportPhase.LOST, True))
        self.taker.reason.trap(ConnectionDone)

    def test_aborted(self) -> None:
        """
        An abort is not taken back by a close, and is told as the reason.
        """
        self.transport.connection_made(self.uv)
        self.transport.abortConnection()
        self.transport.loseConnection()
        self.assertEqual(self.phase(), (TransportPhase.ABORTING, True))
        self.transport.connection_lost(None)
        self.assertEqual(self.phase(), (TransportPhase.LOST, True))
        self.taker.reason.trap(ConnectionAborted)
