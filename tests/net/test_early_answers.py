"""
Tests for L{alacrity.net.early_answers}. The row RS25 of L{tests.system.test_bad_input} has it
with a real reactor.
"""

from __future__ import annotations

import socket

from twisted.internet import abstract
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from alacrity.net.early_answers import _Client


class _Recorder(Protocol):
    """
    Records what comes.
    """

    def __init__(self, *, raises: bool = False) -> None:
        self.events: list[object] = []
        self._raises = raises

    def dataReceived(self, data: bytes) -> None:
        self.events.append(data)
        if self._raises:
            raise ZeroDivisionError

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:
        self.events.append(reason.type)


class _NoConnector:
    """
    Is told of the end of the connection, too.
    """

    def connectionLost(self, reason: Failure) -> None:
        pass


class EarlyAnswerTests(SynchronousTestCase):
    """
    The last bytes of a connection that is lost.
    """

    def events(
        self, error: Exception, said: bytes, *, ends: bool = True, raises: bool = False
    ) -> list[object]:
        """
        The calls on the protocol of a connection that is lost to an error, after its other end
        has said something.
        """
        near, far = socket.socketpair()
        self.addCleanup(far.close)
        near.setblocking(False)
        far.sendall(said)
        if ends:
            far.close()
        client = _Client.__new__(_Client)
        abstract.FileDescriptor.__init__(client, MemoryReactorClock())
        client.socket, client.fileno = near, near.fileno
        client.connected = 1
        client.connector = _NoConnector()
        client.protocol = recorder = _Recorder(raises=raises)
        client.connectionLost(Failure(error))
        self.assertEqual(near.fileno(), -1)
        return recorder.events

    def test_failed_write(self) -> None:
        """
        The bytes that had come are read before the protocol is told that the connection is
        lost, whether they have an end or not.
        """
        for ends in (True, False):
            for said, read in ((b"answer", [b"answer"]), (b"", [])):
                self.assertEqual(
                    self.events(ConnectionLost(), said, ends=ends), [*read, ConnectionLost]
                )

    def test_other_ends(self) -> None:
        """
        A connection that was closed or dropped here is not read from.
        """
        for error in (ConnectionDone(), ConnectionAborted()):
            self.assertEqual(self.events(error, b"answer"), [type(error)])

    def test_fault(self) -> None:
        """
        A protocol that raises is told of the end all the same.
        """
        self.assertEqual(
            self.events(ConnectionLost(), b"answer", raises=True), [b"answer", ConnectionLost]
        )
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
