"""
Tests for L{alacrity.net.unsent}.
"""

from __future__ import annotations

import socket
from types import SimpleNamespace

from twisted.trial.unittest import SynchronousTestCase

from alacrity.net.unsent import unacknowledged, unsent


class UnsentTests(SynchronousTestCase):
    """
    Bytes on their way.
    """

    def setUp(self) -> None:
        self.here, self.there = socket.socketpair()
        self.addCleanup(self.here.close)
        self.addCleanup(self.there.close)

    def test_kernel(self) -> None:
        """
        The kernel tells of the bytes that the other end has not taken; of none, where it
        keeps no count.
        """
        self.assertEqual(unacknowledged(self.here), 0)
        self.here.sendall(b"x" * 100)
        self.assertGreaterEqual(unacknowledged(self.here), 100)
        self.there.recv(100)
        self.assertEqual(unacknowledged(self.here), 0)
        with open("/dev/null") as file:
            self.assertEqual(unacknowledged(file), 0)

    def test_transports(self) -> None:
        """
        A transport tells itself, or is Twisted's, whose buffers are counted, or says nothing.
        """
        self.assertEqual(unsent(SimpleNamespace(unsent=lambda: 7)), 7)
        twisted = SimpleNamespace(socket=self.here, dataBuffer=b"abcd", offset=1, _tempDataLen=5)
        self.assertEqual(unsent(twisted), 8)
        self.assertIsNone(unsent(object()))
