"""
L{alacrity.health.checks.tcp}: can a connection be opened?
"""

from __future__ import annotations

import errno
from collections.abc import Generator
from typing import Any

from twisted.internet import error
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase, TestCase

from alacrity.health.checks import (
    CannotCheck,
    Verdict,
    tcp_check,
)
from alacrity.pool import TcpCheck
from tests.health.checks.fake_servers import FAILURES, Network, fails, passes, server_at


class TcpTests(SynchronousTestCase):
    """
    The check by TCP.
    """

    def setUp(self) -> None:
        self.network = Network()
        self.check = tcp_check(self.network)

    def begin(self, check: TcpCheck | None = None, ip: str = "10.0.0.7") -> Deferred[Verdict]:
        check = TcpCheck() if check is None else check
        return self.check(server_at(ip, 8080, check), check, 2.0)

    def test_passes_when_connected_and_leaves_by_a_reset(self) -> None:
        checking = self.begin()
        wire = self.network.accept()
        self.assertEqual(self.successResultOf(checking), passes("connected"))
        self.assertTrue(wire.aborted)
        self.assertEqual(wire.value(), b"")
        self.assertEqual(self.network.addresses, [("10.0.0.7", 8080, 2.0)])

    def test_its_port_comes_before_the_servers(self) -> None:
        self.begin(TcpCheck(port=9), ip="2001:db8::7")
        self.assertEqual(self.network.addresses, [("2001:db8::7", 9, 2.0)])

    def test_each_failure_to_connect_has_its_reason(self) -> None:
        for failure, reason in FAILURES:
            checking = self.begin()
            self.network.refuse(failure)
            self.assertEqual(self.successResultOf(checking), fails(reason))

    def test_want_of_means_here_says_nothing_of_the_server(self) -> None:
        for code in (errno.EMFILE, errno.EADDRNOTAVAIL):
            for failure in (error.ConnectError(code), OSError(code, "x")):
                checking = self.begin()
                self.network.refuse(failure)
                self.failureResultOf(checking, CannotCheck)

    def test_an_unexpected_error_is_no_verdict(self) -> None:
        checking = self.begin()
        self.network.refuse(ZeroDivisionError())
        self.failureResultOf(checking, ZeroDivisionError)

    def test_cancelling_it_ends_the_connecting(self) -> None:
        checking = self.begin()
        checking.cancel()
        self.assertEqual(self.network.cancelled, 1)
        self.failureResultOf(checking)


class LoopbackTests(TestCase):
    """
    The check by TCP, for once with sockets.
    """

    @inlineCallbacks
    def test_listening_and_not(self) -> Generator[Deferred[Any], Any, None]:
        from twisted.internet import reactor

        listening = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port = yield listening.listen(Factory.forProtocol(Protocol))
        check = tcp_check(lambda *address: TCP4ClientEndpoint(reactor, *address))
        server = server_at("127.0.0.1", port.getHost().port, TcpCheck())
        verdict = yield check(server, TcpCheck(), 5.0)
        self.assertEqual(verdict, passes("connected"))
        yield port.stopListening()
        verdict = yield check(server, TcpCheck(), 5.0)
        self.assertEqual(verdict, fails("connection refused"))
