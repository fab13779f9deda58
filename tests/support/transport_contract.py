"""
The contract of a transport with a Twisted protocol, as tests over real sockets;
L{tests.support.transport_kinds} has them run for each kind of socket.
"""

from __future__ import annotations

import gc
import weakref
from typing import Any

from twisted.internet.defer import inlineCallbacks
from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
)
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from tests.support.transport_peers import HalfPeer, Peer, Producer, PullProducer


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
        Bytes that could not be sent yet are dropped.
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
        A protocol that knows half-closed connections can still answer.
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
        Both ends agree on their addresses.
        """
        a, b = yield self.pair()
        self.assertEqual(b.transport.getPeer(), a.transport.getHost())
        self.checkAddresses(a, b)

    def checkAddresses(self, a: Peer, b: Peer) -> None:
        """Assert what holds for the addresses of this kind of socket alone."""
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
        The transport provides the interfaces that it declares.
        """
        from twisted.internet.interfaces import IConsumer, ITransport

        a, _ = yield self.pair()
        for interface in (ITransport, IConsumer, IPushProducer):
            verifyObject(interface, a.transport)
