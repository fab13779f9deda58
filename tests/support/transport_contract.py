"""
What a Twisted protocol may expect of its transport, as tests over real sockets.

Run as C{python -m tests.support.transport_contract (twisted|uvloop)}; a process has one
reactor, so L{tests.net.test_transports} runs this once for each.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import struct
import sys
import tempfile
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import (
    CannotListenError,
    ConnectingCancelledError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    NoProtocol,
    TimeoutError,
)
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject


class Peer(Protocol):
    """
    Keeps what happens to it, and lets tests wait for it.
    """

    transport: Any

    def __init__(self) -> None:
        self.received = b""
        self.happened: list[str] = []
        self.reason: Any = None
        self._waiting: list[tuple[Callable[[], bool], Deferred[Any]]] = []
        self.connections = 0

    def until(self, condition: Callable[[], bool]) -> Deferred[Any]:
        """
        Fires once a condition holds, which is looked at after each event.
        """
        waiting: Deferred[Any] = Deferred()
        self._waiting.append((condition, waiting))
        self.look()
        return waiting

    def look(self) -> None:
        """Look at the conditions."""
        for each in list(self._waiting):
            if each[0]():
                self._waiting.remove(each)
                each[1].callback(self)

    def connectionMade(self) -> None:
        self.connections += 1
        self.look()

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.look()

    def connectionLost(self, reason: Any = None) -> None:
        self.reason = reason
        self.happened.append("lost")
        self.look()

    def lost(self) -> Deferred[Any]:
        """Fires once the connection is lost."""
        return self.until(lambda: self.reason is not None)


@implementer(IHalfCloseableProtocol)
class HalfPeer(Peer):
    """
    The same, for connections that close by halves.
    """

    def readConnectionLost(self) -> None:
        self.happened.append("read")
        self.look()

    def writeConnectionLost(self) -> None:
        self.happened.append("write")
        self.look()


@implementer(IPushProducer)
class Producer:
    """
    Keeps what it is told.
    """

    def __init__(self, peer: Peer) -> None:
        self.told: list[str] = []
        self._peer = peer

    def pauseProducing(self) -> None:
        self.told.append("pause")
        self._peer.look()

    def resumeProducing(self) -> None:
        self.told.append("resume")
        self._peer.look()

    def stopProducing(self) -> None:
        self.told.append("stop")
        self._peer.look()


class PullProducer:
    """
    Writes so many pieces, one each time that it is asked.
    """

    def __init__(self, peer: Peer, pieces: int) -> None:
        self._peer = peer
        self._left = pieces

    def resumeProducing(self) -> None:
        if self._left:
            self._left -= 1
            self._peer.transport.write(b"x" * 50000)
        else:
            self._peer.transport.unregisterProducer()
            self._peer.transport.loseConnection()

    def stopProducing(self) -> None:
        pass


class Contract(TestCase):
    """
    The tests, for connections that C{listen} and C{connect} make.
    """

    timeout = 20

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor

    def listen(self) -> Any:
        raise NotImplementedError

    def connect(self, host: Any, factory: Any) -> Any:
        raise NotImplementedError

    @inlineCallbacks
    def pair(self, server: Any = Peer, client: Any = Peer) -> Any:
        """
        Two peers, connected.
        """
        accepting = server()
        self.factory = Factory()
        self.factory.noisy = False
        self.factory.buildProtocol = lambda addr: accepting  # type: ignore[method-assign]
        self.port = yield self.listen().listen(self.factory)
        self.addCleanup(self.port.stopListening)
        self.host = self.port.getHost()
        connecting = yield self.connect(self.host, Factory.forProtocol(client))
        yield accepting.until(lambda: accepting.connections == 1)

        @inlineCallbacks
        def close() -> Any:
            for peer in (accepting, connecting):
                if peer.reason is None:
                    peer.transport.unregisterProducer()
                    peer.transport.abortConnection()
                    yield peer.lost()

        self.addCleanup(close)
        return accepting, connecting

    @inlineCallbacks
    def test_bytes(self) -> Any:
        """
        Bytes go both ways, in order, written in one piece or several.
        """
        a, b = yield self.pair()
        a.transport.write(b"to ")
        a.transport.writeSequence([b"the", b" ", b"client"])
        yield b.until(lambda: b.received == b"to the client")
        b.transport.write(b"back")
        yield a.until(lambda: a.received == b"back")

    @inlineCallbacks
    def test_lose_connection(self) -> Any:
        """
        All that was written before arrives, what is written after does not matter,
        and both sides see a clean end.
        """
        a, b = yield self.pair()
        a.transport.write(b"x" * 1000000)
        a.transport.loseConnection()
        yield b.lost()
        yield a.lost()
        a.transport.write(b"late")
        a.transport.loseConnection()
        self.assertEqual(len(b.received), 1000000)
        self.assertTrue(a.reason.check(ConnectionDone))
        self.assertTrue(b.reason.check(ConnectionDone))

    @inlineCallbacks
    def test_abort_connection(self) -> Any:
        """
        An abort is told as such here, and is not a clean end there. It is not told
        from within the call.
        """
        a, b = yield self.pair()
        a.transport.write(b"x")
        yield b.until(lambda: b.received == b"x")
        a.transport.abortConnection()
        a.transport.abortConnection()
        self.assertEqual(a.happened, [])
        yield a.lost()
        yield b.lost()
        self.assertTrue(a.reason.check(ConnectionAborted))
        self.checkAborted(b)

    def checkAborted(self, peer: Peer) -> None:
        """Assert that a peer saw the connection break."""
        self.assertTrue(peer.reason.check(ConnectionLost), peer.reason)

    @inlineCallbacks
    def test_abort_with_unsent_data(self) -> Any:
        """
        What could not be sent yet is dropped.
        """
        a, b = yield self.pair()
        b.transport.pauseProducing()
        a.transport.write(b"x" * 10000000)
        a.transport.abortConnection()
        yield a.lost()
        b.transport.resumeProducing()
        yield b.lost()
        self.assertLess(len(b.received), 10000000)

    @inlineCallbacks
    def test_exception(self) -> Any:
        """
        A protocol that raises loses its connection, for that reason, and the
        exception is logged.
        """
        a, b = yield self.pair()
        error = ZeroDivisionError("a test")

        class Raising(Exception):
            pass

        fresh = yield self.raising_pair(Raising)
        fresh[1].transport.write(b"x")
        yield fresh[0].lost()
        self.assertTrue(fresh[0].reason.check(Raising), error)
        self.assertEqual(len(self.flushLoggedErrors(Raising)), 1)
        del a, b

    @inlineCallbacks
    def raising_pair(self, exception: type[Exception]) -> Any:
        class RaisingPeer(Peer):
            def dataReceived(self, data: bytes) -> None:
                raise exception

        return (yield self.pair(server=RaisingPeer))

    @inlineCallbacks
    def test_end_without_half_close(self) -> Any:
        """
        A protocol that does not know half-closed connections loses its connection
        when the other side half-closes.
        """
        a, b = yield self.pair(client=HalfPeer)
        b.transport.loseWriteConnection()
        yield a.lost()
        self.assertTrue(a.reason.check(ConnectionDone))
        yield b.until(lambda: "read" in b.happened)

    @inlineCallbacks
    def test_half_close(self) -> Any:
        """
        One that does, can still answer.
        """
        a, b = yield self.pair(HalfPeer, HalfPeer)
        b.transport.write(b"q" * 500000)
        b.transport.loseWriteConnection()
        yield a.until(lambda: a.happened == ["read"])
        self.assertEqual(len(a.received), 500000)
        yield b.until(lambda: b.happened == ["write"])
        b.transport.write(b"late")
        a.transport.write(b"answer")
        yield b.until(lambda: b.received == b"answer")
        a.transport.loseConnection()
        yield a.lost()
        yield b.until(lambda: "read" in b.happened)
        b.transport.loseConnection()
        yield b.lost()
        self.assertTrue(b.reason.check(ConnectionDone))

    @inlineCallbacks
    def test_pause_and_resume_reading(self) -> Any:
        """
        Nothing arrives while paused, all of it afterwards.
        """
        a, b = yield self.pair()
        a.transport.pauseProducing()
        a.transport.pauseProducing()
        b.transport.write(b"x")
        b.transport.loseConnection()
        # A second connection's round trip is time enough for the first's byte.
        c, d = yield self.pair()
        d.transport.write(b"y")
        yield c.until(lambda: c.received == b"y")
        self.assertEqual((a.received, a.happened), (b"", []))
        a.transport.resumeProducing()
        a.transport.resumeProducing()
        yield a.lost()
        self.assertEqual(a.received, b"x")

    @inlineCallbacks
    def test_pause_at_once(self) -> Any:
        """
        The same, paused from within C{connectionMade}.
        """

        class Paused(Peer):
            def connectionMade(self) -> None:
                self.transport.pauseProducing()
                super().connectionMade()

        a, b = yield self.pair(server=Paused)
        b.transport.write(b"x")
        c, d = yield self.pair()
        d.transport.write(b"y")
        yield c.until(lambda: c.received == b"y")
        self.assertEqual(a.received, b"")
        a.transport.resumeProducing()
        yield a.until(lambda: a.received == b"x")

    @inlineCallbacks
    def test_push_producer(self) -> Any:
        """
        A push producer is paused when the other side does not read, resumed when it
        has, and stopped when the connection is lost.
        """
        a, b = yield self.pair()
        producer = Producer(a)
        a.transport.registerProducer(producer, True)
        self.assertRaises(RuntimeError, a.transport.registerProducer, producer, True)
        b.transport.pauseProducing()
        a.transport.write(b"x" * 10000000)
        yield a.until(lambda: producer.told == ["pause"])
        b.transport.resumeProducing()
        yield a.until(lambda: producer.told == ["pause", "resume"])
        b.transport.abortConnection()
        yield a.lost()
        self.assertEqual(producer.told, ["pause", "resume", "stop"])
        late = Producer(a)
        a.transport.registerProducer(late, True)
        self.assertEqual(late.told, ["stop"])

    @inlineCallbacks
    def test_close_with_producer(self) -> Any:
        """
        A connection that is closed while a producer is paused closes when that is
        unregistered, with all that was written.
        """
        a, b = yield self.pair()
        producer = Producer(a)
        a.transport.registerProducer(producer, True)
        b.transport.pauseProducing()
        a.transport.write(b"x" * 10000000)
        yield a.until(lambda: producer.told == ["pause"])
        a.transport.loseConnection()
        a.transport.unregisterProducer()
        b.transport.resumeProducing()
        yield a.lost()
        yield b.lost()
        self.assertEqual(len(b.received), 10000000)

    @inlineCallbacks
    def test_pull_producer(self) -> Any:
        """
        A pull producer is asked again and again, at the pace of the other side.
        """
        a, b = yield self.pair()
        a.transport.registerProducer(PullProducer(a, 50), False)
        yield b.lost()
        self.assertEqual(len(b.received), 50 * 50000)

    @inlineCallbacks
    def test_close_at_once(self) -> Any:
        """
        A protocol may close from within C{connectionMade}.
        """

        class Closing(Peer):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.transport.write(b"bye")
                self.transport.loseConnection()

        a, b = yield self.pair(server=Closing)
        yield a.lost()
        yield b.lost()
        self.assertEqual(b.received, b"bye")

    @inlineCallbacks
    def test_no_protocol(self) -> Any:
        """
        A factory may refuse a connection.
        """
        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = lambda addr: None  # type: ignore[method-assign]
        port = yield self.listen().listen(factory)
        self.addCleanup(port.stopListening)
        client = yield self.connect(port.getHost(), Factory.forProtocol(Peer))
        yield client.lost()

    @inlineCallbacks
    def test_addresses(self) -> Any:
        """
        Both ends agree on who they are.
        """
        a, b = yield self.pair()
        self.assertEqual(b.transport.getPeer(), a.transport.getHost())
        self.checkAddresses(a, b)

    def checkAddresses(self, a: Peer, b: Peer) -> None:
        """What else there is to say of the addresses of a pair."""
        self.assertEqual(a.transport.getPeer(), b.transport.getHost())
        self.assertEqual(self.host, a.transport.getHost())

    @inlineCallbacks
    def test_stop_listening(self) -> Any:
        """
        A port that has stopped takes no connections; those it took go on.
        """
        a, b = yield self.pair()
        yield self.port.stopListening()
        yield self.assertFailure(self.connect(self.host, Factory.forProtocol(Peer)), *self.refusals)
        b.transport.write(b"still")
        yield a.until(lambda: a.received == b"still")

    refusals: tuple[type[Exception], ...] = (ConnectionRefusedError,)

    @inlineCallbacks
    def test_freed_at_once(self) -> Any:
        """
        A connection that has ended is freed without a collection of cycles, which
        would stop all others meanwhile.
        """
        peers: weakref.WeakSet[Peer] = weakref.WeakSet()

        class Brief(Peer):
            """Leaves once it is greeted, and is known to nobody else."""

            def connectionMade(self) -> None:
                peers.add(self)
                self.transport.write(b"hello")

            def dataReceived(self, data: bytes) -> None:
                self.transport.loseConnection()

        factory = Factory.forProtocol(Brief)
        factory.noisy = False
        port = yield self.listen().listen(factory)
        self.addCleanup(port.stopListening)
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        yield self.connect(port.getHost(), factory).addCallback(lambda _: None)
        turns = 0
        while peers and turns < 1000:
            turns += 1
            yield deferLater(self.reactor, 0, lambda: None)
        self.assertEqual(list(peers), [])

    @inlineCallbacks
    def test_interfaces(self) -> Any:
        """
        The transport provides what it says.
        """
        from twisted.internet.interfaces import IConsumer, ITransport

        a, _ = yield self.pair()
        for interface in (ITransport, IConsumer, IPushProducer):
            verifyObject(interface, a.transport)


class TCPContract(Contract):
    """
    What TCP has beyond that.
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
        from alacrity.net.connecting import unix_client_endpoint

        factory.noisy = False
        return unix_client_endpoint(self.reactor, self.path, 5.0).connect(factory)

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
            more = {} if default is None else {"mode": default}
            endpoint = server_endpoint(self.reactor, f"unix:{path}{arguments}", **more)
            port = yield endpoint.listen(Factory())
            self.assertEqual(os.stat(path).st_mode & 0o777, mode, arguments)
            self.assertEqual(os.umask(0), 0)
            yield port.stopListening()
        self.assertEqual(seen, [0o600] * 6)


def main(kind: str, *cases: type) -> int:
    """
    Run tests on a kind of reactor.

    @param cases: the L{TestCase}s; none: those of the contract.
    @return: the exit status.
    """
    if kind == "uvloop":
        import uvloop
        from twisted.internet import asyncioreactor

        loop = uvloop.new_event_loop()
        asyncio.set_event_loop(loop)
        asyncioreactor.install(loop)
    from twisted.internet import reactor

    from alacrity.net.loops import uvloop_of

    assert (uvloop_of(reactor) is not None) == (kind == "uvloop")
    sys.stdout.write(f"on {kind}: {reactor}\n")
    from twisted.trial.reporter import TreeReporter
    from twisted.trial.runner import TestLoader, TrialRunner

    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        suite = TestLoader().loadClass
        runner = TrialRunner(TreeReporter, workingDirectory=os.path.join(directory, "trial"))
        from twisted.trial.unittest import TestSuite

        cases = cases or (TCP4Tests, TCP6Tests, UNIXTests)
        result = runner.run(TestSuite(suite(each) for each in cases))
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
