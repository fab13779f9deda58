"""
L{alacrity.cli.readiness}: the wait for a port.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.cli.readiness import own_addresses, wait_for_port


class WaitTests(SynchronousTestCase):
    def wait(self, hosts: list[str]) -> Deferred[None]:
        """Begin to wait for port 80."""
        self.reactor = MemoryReactorClock()
        return Deferred.fromCoroutine(wait_for_port(self.reactor, hosts, 80))

    def targets(self) -> list[str]:
        """The addresses that were connected to."""
        return [each[0] for each in self.reactor.tcpClients]

    def refuse(self) -> None:
        """Refuse the last connection."""
        factory: Any = self.reactor.tcpClients[-1][2]
        from twisted.internet.error import ConnectionRefusedError
        from twisted.python.failure import Failure

        factory.clientConnectionFailed(None, Failure(ConnectionRefusedError()))

    def accept(self) -> Any:
        """Accept the last connection."""
        from twisted.internet.testing import StringTransport

        factory: Any = self.reactor.tcpClients[-1][2]
        protocol = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 80))
        transport = StringTransport()
        protocol.makeConnection(transport)
        return transport

    def test_accepts(self) -> None:
        waiting = self.wait(["127.0.0.1"])
        self.assertNoResult(waiting)
        transport = self.accept()
        self.successResultOf(waiting)
        self.assertTrue(transport.disconnecting)

    def test_tried_again(self) -> None:
        """
        Each address in turn, with a pause after the round; addresses may be added.
        """
        hosts = ["127.0.0.1", "::1"]
        waiting = self.wait(hosts)
        self.refuse()
        self.refuse()
        self.assertEqual(self.targets(), ["127.0.0.1", "::1"])
        hosts.append("10.0.0.7")
        self.reactor.advance(0.05)
        self.refuse()
        self.refuse()
        self.assertEqual(self.targets()[2:], hosts)
        self.accept()
        self.successResultOf(waiting)

    def test_silent(self) -> None:
        """
        An attempt that is not answered may take a second.
        """
        waiting = self.wait(["10.0.0.7"])
        # The reactor ends attempts that take too long.
        self.assertEqual(self.reactor.tcpClients[0][3], 1.0)
        self.refuse()
        self.reactor.advance(0.05)
        self.assertNoResult(waiting)
        self.assertEqual(len(self.targets()), 2)

    def test_cancelled(self) -> None:
        waiting = self.wait(["127.0.0.1"])
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        waiting = self.wait(["127.0.0.1"])
        self.refuse()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.reactor.advance(10)
        self.assertEqual(len(self.targets()), 1)


class OwnAddressTests(SynchronousTestCase):
    def test_loopback(self) -> None:
        self.assertEqual(own_addresses(["http://127.0.0.1:8687"]), ["127.0.0.1"])

    def test_unknown_names(self) -> None:
        def resolve(*_: object, **__: object) -> object:
            raise socket.gaierror

        self.assertEqual(own_addresses(["http://nowhere:1"], resolve), [])
