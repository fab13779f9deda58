"""
The contract of L{tests.support.transport_contract} for each kind of socket, and what each has
beyond it.

Run as C{python -m tests.support.transport_kinds (twisted|uvloop)}; a process has one
reactor, so L{tests.net.test_transports} runs this once for each.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import tempfile
from functools import partial
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import (
    CannotListenError,
    ConnectingCancelledError,
    ConnectionLost,
    NoProtocol,
    TimeoutError,
)
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest

from tests.support.own_reactor import run
from tests.support.transport_contract import Contract
from tests.support.transport_peers import HalfPeer, Peer, Producer


class TCPContract(Contract):
    """
    The contract over TCP, and what holds there alone.
    """

    interface = "127.0.0.1"

    def listen(self) -> Any:
        from alacrity.net.listening import server_endpoint

        kind = "tcp6" if ":" in self.interface else "tcp"
        escaped = self.interface.replace(":", "\\:")
        return server_endpoint(self.reactor, f"{kind}:0:interface={escaped}")

    def connect(self, host: Any, factory: Any) -> Any:
        from alacrity.net.connecting import client_endpoint

        factory.noisy = False
        return client_endpoint(self.reactor, self.interface, host.port, 5.0).connect(factory)

    @inlineCallbacks
    def test_reset_after_data(self) -> Any:
        """
        A reset that comes together with the last bytes is not taken for an end.
        """
        for kind in (Peer, HalfPeer):
            peer = kind()
            factory = Factory()
            factory.noisy = False
            factory.buildProtocol = lambda addr, peer=peer: peer  # type: ignore[method-assign,misc]
            port = yield self.listen().listen(factory)
            self.addCleanup(port.stopListening)
            host = port.getHost()
            with socket.create_connection((host.host, host.port)) as client:
                yield peer.until(lambda peer=peer: peer.connections == 1)  # type: ignore[misc]
                client.sendall(b"hello")
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            yield peer.lost()
            peer.reason.trap(ConnectionLost)
            self.assertNotIn("read", peer.happened)

    @inlineCallbacks
    def test_options(self) -> Any:
        """
        Socket options can be read and set.
        """
        a, _ = yield self.pair()
        for enabled in (True, False):
            a.transport.setTcpNoDelay(enabled)
            self.assertEqual(bool(a.transport.getTcpNoDelay()), enabled)
            a.transport.setTcpKeepAlive(enabled)
            self.assertEqual(bool(a.transport.getTcpKeepAlive()), enabled)

    def test_port_in_use(self) -> Any:
        """
        A port cannot be listened on twice; that is known at once.
        """
        taken = socket.socket(socket.AF_INET6 if ":" in self.interface else socket.AF_INET)
        self.addCleanup(taken.close)
        taken.bind((self.interface, 0))
        taken.listen()
        from alacrity.net.listening import server_endpoint

        kind = "tcp6" if ":" in self.interface else "tcp"
        escaped = self.interface.replace(":", "\\:")
        endpoint = server_endpoint(
            self.reactor, f"{kind}:{taken.getsockname()[1]}:interface={escaped}"
        )
        self.failureResultOf(endpoint.listen(Factory()), CannotListenError)

    @inlineCallbacks
    def test_timeout(self) -> Any:
        """
        A connection that is not made in time fails with a timeout; one that is
        cancelled, as cancelled.
        """
        from alacrity.net.connecting import client_endpoint

        full = socket.socket(socket.AF_INET6 if ":" in self.interface else socket.AF_INET)
        self.addCleanup(full.close)
        full.bind((self.interface, 0))
        full.listen(0)
        port = full.getsockname()[1]
        # The queue of a listening socket that nobody accepts from is soon full.
        for _ in range(4):
            filler = socket.socket(full.family)
            self.addCleanup(filler.close)
            filler.setblocking(False)
            filler.connect_ex((self.interface, port))
        factory = Factory.forProtocol(Peer)
        factory.noisy = False
        endpoint = client_endpoint(self.reactor, self.interface, port, 0.2)
        yield self.assertFailure(endpoint.connect(factory), TimeoutError)
        connecting = client_endpoint(self.reactor, self.interface, port, 5.0).connect(factory)
        self.reactor.callLater(0, connecting.cancel)
        yield self.assertFailure(connecting, ConnectingCancelledError)

    def turns(self, count: int) -> Deferred[None]:
        """
        Fires after so many turns of the loop.
        """
        from alacrity.net.loops import uvloop_of

        loop = uvloop_of(self.reactor)
        soon = partial(self.reactor.callLater, 0) if loop is None else loop.call_soon
        over: Deferred[None] = Deferred()

        def turn(left: int) -> None:
            if left:
                soon(turn, left - 1)
            else:
                over.callback(None)

        turn(count)
        return over

    @inlineCallbacks
    def attempt(self, give_up: str, turns: int = 0) -> Any:
        """
        Connect to somebody, and give up, when one of C{now}, C{build}, C{made} comes or
        the time is over.

        @return: whether the connection was given up, and how often it came and went.
        """
        from alacrity.net.connecting import client_endpoint

        built: list[Peer] = []

        class Tried(Peer):
            def connectionMade(self) -> None:
                if give_up == "made":
                    connecting.cancel()
                super().connectionMade()
                self.transport.write(b"hello")

        class TriedFactory(Factory):
            noisy = False

            def buildProtocol(self, addr: object) -> Peer:
                if give_up == "build":
                    connecting.cancel()
                built.append(Tried())
                return built[-1]

        timeout = 5.0 if give_up != "late" else 1e-9
        endpoint = client_endpoint(self.reactor, self.interface, self.host.port, timeout)
        connecting = endpoint.connect(TriedFactory())
        results: list[Any] = []
        connecting.addBoth(results.append)
        if give_up == "now":
            yield self.turns(turns)
            connecting.cancel()
        for peer in built:
            self.use_all(peer.transport)
        while not results:
            yield self.turns(1)
        given_up = isinstance(results[0], Failure)
        if not given_up:
            results[0].transport.abortConnection()
        # All that was begun is over by then.
        yield self.turns(10)
        for peer in built:
            yield peer.lost()
            self.use_all(peer.transport)
        yield self.turns(5)
        self.assertLessEqual(len(built), 1)
        return given_up, [peer.happened for peer in built if peer.connections]

    def use_all(self, transport: Any) -> None:
        """
        Call all that a transport has, which must not raise, whatever uvloop has done.
        """
        if transport is None:
            return
        transport.getPeer()
        self.assertIsNotNone(transport.getHost())
        transport.setTcpNoDelay(True)
        transport.setTcpKeepAlive(True)
        self.assertIsInstance(transport.getTcpNoDelay(), bool)
        self.assertIsInstance(transport.getTcpKeepAlive(), bool)
        transport.pauseProducing()
        transport.resumeProducing()
        transport.registerProducer(Producer(Peer()), True)
        transport.unregisterProducer()
        transport.write(b"x")
        transport.writeSequence([b"y", b"z"])
        transport.loseWriteConnection()
        transport.loseConnection()
        transport.abortConnection()
        transport.stopProducing()

    def uvloop_only(self) -> None:
        from alacrity.net.loops import uvloop_of

        if uvloop_of(self.reactor) is None:
            raise SkipTest("Twisted's own transports are Twisted's to test")

    @inlineCallbacks
    def test_given_up_at_every_step(self) -> Any:
        """
        A connection that is given up after any number of turns of the loop, by its maker,
        by its protocol or by the clock: whoever was told that it is made, is told once that
        it is lost, and nobody holds it.
        """
        self.uvloop_only()
        yield self.serve()
        outcomes = []
        for turns in range(12):
            outcome = yield self.attempt("now", turns)
            outcomes.append(outcome)
        self.assertEqual(outcomes[0], (True, []))
        self.assertEqual(outcomes[-1], (False, [["lost"]]))
        for given_up, happened in outcomes:
            self.assertIn(happened, ([["lost"]], []) if given_up else ([["lost"]],))
        # Between the connection and the news of it.
        self.assertIn((True, [["lost"]]), outcomes)
        for where in ("build", "made"):
            self.assertEqual((yield self.attempt(where)), (True, [["lost"]]))
        for _ in range(20):
            given_up, happened = yield self.attempt("late")
            self.assertIn(happened, ([["lost"]], []) if given_up else ([["lost"]],))

    @inlineCallbacks
    def serve(self) -> Any:
        """
        Accept whoever comes.
        """
        factory = Factory.forProtocol(Peer)
        factory.noisy = False
        port = yield self.listen().listen(factory)
        self.addCleanup(port.stopListening)
        self.host = port.getHost()

    @inlineCallbacks
    def test_faults_of_who_connects(self) -> Any:
        """
        A factory or a protocol that raises makes the attempt fail, and is left without a
        connection.
        """
        self.uvloop_only()
        yield self.serve()
        from alacrity.net.connecting import client_endpoint

        class Raising(Exception):
            pass

        class Faulty(Peer):
            def connectionMade(self) -> None:
                raise Raising

        class FaultyFactory(Factory):
            noisy = False

            def buildProtocol(self, addr: object) -> None:
                raise Raising

        faulty = Faulty()
        factory = Factory.forProtocol(lambda: faulty)
        factory.noisy = False
        endpoint = client_endpoint(self.reactor, self.interface, self.host.port, 5.0)
        yield self.assertFailure(endpoint.connect(factory), NoProtocol)
        yield faulty.lost()
        yield self.assertFailure(endpoint.connect(FaultyFactory()), NoProtocol)
        self.assertEqual(len(self.flushLoggedErrors(Raising)), 2)


class TCP4Tests(TCPContract):
    """IPv4."""


class TCP6Tests(TCPContract):
    """IPv6."""

    interface = "::1"
    if not socket.has_ipv6 or not os.path.exists("/proc/net/if_inet6"):
        skip = "this machine has no IPv6"


class UNIXTests(Contract):
    """Unix sockets."""

    refusals = (OSError, Exception)

    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.paths = iter([f"{directory.name}/{n}" for n in range(5)])

    def listen(self) -> Any:
        from alacrity.net.listening import server_endpoint

        self.path = next(self.paths)
        return server_endpoint(self.reactor, f"unix:{self.path}:mode=600")

    def connect(self, host: Any, factory: Any) -> Any:
        from alacrity.net.connecting import UvClientEndpoint
        from alacrity.net.loops import uvloop_of

        factory.noisy = False
        loop, path = uvloop_of(self.reactor), self.path
        if loop is None:
            return UNIXClientEndpoint(self.reactor, path, 5.0).connect(factory)
        create = partial(loop.create_unix_connection, path=path)
        return UvClientEndpoint(loop, create, UNIXAddress(path), 5.0).connect(factory)

    def checkAborted(self, peer: Peer) -> None:
        """A Unix socket knows no reset."""

    def checkAddresses(self, a: Peer, b: Peer) -> None:
        """The connecting end has no name."""

    @inlineCallbacks
    def test_files(self) -> Any:
        """
        The socket has the mode that was asked for, one listener, and goes with it.
        """
        from alacrity.net.listening import server_endpoint

        yield self.pair()
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)
        again = server_endpoint(self.reactor, f"unix:{self.path}")
        yield self.assertFailure(again.listen(Factory()), CannotListenError)
        yield self.port.stopListening()
        self.assertFalse(os.path.exists(self.path))

    @inlineCallbacks
    def test_modes(self) -> Any:
        """
        A socket is its owner's alone, or as its description says, or as the caller has
        it for those that say nothing; and at no moment more users may connect than then.
        """
        from alacrity.net.listening import server_endpoint

        seen: list[int] = []
        change = os.chmod

        def chmod(path: Any, mode: int) -> None:
            seen.append(os.stat(path).st_mode & 0o777)
            change(path, mode)

        self.patch(os, "chmod", chmod)
        mask = os.umask(0)
        self.addCleanup(os.umask, mask)
        for arguments, default, mode in (
            ("", None, 0o600),
            (":mode=660", None, 0o660),
            (":mode=666:lockfile=0", 0o660, 0o666),
            (":640", None, 0o640),
            (":lockfile=0", None, 0o600),
            ("", 0o660, 0o660),
        ):
            path = f"{os.path.dirname(next(self.paths))}/s"
            self.paths = iter([path] * 9)
            more: dict[str, Any] = {} if default is None else {"mode": default}
            endpoint = server_endpoint(self.reactor, f"unix:{path}{arguments}", **more)
            port = yield endpoint.listen(Factory())
            self.assertEqual(os.stat(path).st_mode & 0o777, mode, arguments)
            self.assertEqual(os.umask(0), 0)
            yield port.stopListening()
        self.assertEqual(seen, [0o600] * 6)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], TCP4Tests, TCP6Tests, UNIXTests))
