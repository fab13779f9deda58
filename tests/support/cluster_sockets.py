"""
L{alacrity.cluster.wire.transport} over real sockets.

Run as C{python -m tests.support.cluster_sockets (twisted|uvloop)}; a process has one reactor,
so L{tests.integration.test_cluster_sockets} runs this once for each.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from pysyncobj.node import Node
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.trial.unittest import TestCase

from alacrity.cluster.log.members import Member
from alacrity.cluster.wire.handshake import Identity
from alacrity.cluster.wire.transport import PeerTransport
from tests.support.own_reactor import run
from tests.support.transport_peers import Peer

SECRET = b"s" * 32


class SocketTests(TestCase):
    timeout = 20

    async def node(self, name: str) -> PeerTransport:
        """
        A node that listens on a port that was free.
        """
        from twisted.internet import reactor

        from alacrity.net.connecting import host_endpoint
        from alacrity.net.listening import server_endpoint

        transport = PeerTransport(
            Member(name, "127.0.0.1:1"),
            lambda: Identity(name, f"{ord(name):032x}"),
            (SECRET,),
            lambda peer: None,
            [server_endpoint(reactor, "tcp:0:interface=127.0.0.1")],
            partial(host_endpoint, reactor),
            reactor,
            Random(1),
        )
        self.addCleanup(transport.stop)
        await transport.start()
        return transport

    def told(self, transport: PeerTransport) -> tuple[list[Any], Callable[[int], Deferred[None]]]:
        """
        The events that the replica of a node is told, and a function that waits for a
        number of them.
        """
        told: list[Any] = []
        waiting: list[tuple[int, Deferred[None]]] = []

        def tell(what: object) -> None:
            told.append(what)
            for each in [w for w in waiting if len(told) >= w[0]]:
                waiting.remove(each)
                each[1].callback(None)

        def until(count: int) -> Deferred[None]:
            done: Deferred[None] = Deferred()
            if len(told) >= count:
                done.callback(None)
            else:
                waiting.append((count, done))
            return done

        transport.setOnMessageReceivedCallback(lambda node, message: tell(message))
        transport.setOnNodeConnectedCallback(lambda node: tell(f"+{node.id}"))
        transport.setOnNodeDisconnectedCallback(lambda node: tell(f"-{node.id}"))
        return told, until

    async def pair(self, host: str = "127.0.0.1") -> tuple[Any, ...]:
        """
        Two nodes, connected.
        """
        a, b = await self.node("a"), await self.node("b")
        a_told, b_told = self.told(a), self.told(b)
        port: Any = a.ports[0].getHost()
        a.addNode(Node("b", address="127.0.0.1:1"))
        b.addNode(Node("a", address=f"{host}:{port.port}"))
        await a_told[1](1)
        await b_told[1](1)
        self.assertEqual((a_told[0], b_told[0]), (["+b"], ["+a"]))
        return a, b, *a_told, *b_told

    async def test_messages(self) -> None:
        """
        Many small and some large messages, both ways, arrive in order.
        """
        a, b, a_told, a_until, b_told, b_until = await self.pair()
        sizes = [0, 10, 5_000_000, 3, 100_000, 0, 2_000_000]
        for n, size in enumerate(sizes):
            self.assertTrue(a.send(Node("b"), {"n": n, "data": bytes(size)}))
            self.assertTrue(b.send(Node("a"), {"n": n, "data": bytes(size)}))
        await a_until(1 + len(sizes))
        await b_until(1 + len(sizes))
        expected = [{"n": n, "data": bytes(size)} for n, size in enumerate(sizes)]
        self.assertEqual((a_told[1:], b_told[1:]), (expected, expected))

    async def test_name(self) -> None:
        """
        The name of a host is resolved.
        """
        await self.pair("localhost")

    async def test_no_delay(self) -> None:
        """
        Small messages do not wait for each other.
        """
        a, b, *_ = await self.pair()
        for transport in (a, b):
            [link] = transport._connections._links.open
            self.assertTrue(link.transport.getTcpNoDelay())

    async def test_again(self) -> None:
        """
        A broken connection is made anew.
        """
        a, _, a_told, a_until, b_told, b_until = await self.pair()
        [link] = a._connections._links.open
        link.transport.abortConnection()
        await a_until(3)
        await b_until(3)
        self.assertEqual((a_told, b_told), (["+b", "-b", "+b"], ["+a", "-a", "+a"]))

    async def test_given_up_at_every_step(self) -> None:
        """
        An attempt to connect that is cancelled after any number of turns of the loop leaves
        no connection behind, and the deadlines are still checked.
        """
        a, b = await self.node("a"), await self.node("b")
        port: Any = a.ports[0].getHost()
        for turns in range(12):
            b.addNode(Node("a", address=f"127.0.0.1:{port.port}"))
            await self.turns(turns)
            dialer = b._connections._dialers.get("a")
            assert dialer is not None
            dialer.pause()
            for link in list(b._connections._links.open):
                link.check_deadlines()
            b.dropNode(Node("a"))
            while b._connections._links.open or a._connections._links.open:
                await self.turns(1)
            self.assertTrue(b._connections._upkeep._looks.running)
            self.assertTrue(a._connections._upkeep._looks.running)
        a_told, b_told = self.told(a), self.told(b)
        a.addNode(Node("b", address="127.0.0.1:1"))
        b.addNode(Node("a", address=f"127.0.0.1:{port.port}"))
        await a_told[1](1)
        await b_told[1](1)
        self.assertEqual((a_told[0], b_told[0]), (["+b"], ["+a"]))

    async def turns(self, count: int) -> None:
        """
        Wait for a number of turns of the loop.
        """
        from twisted.internet import reactor

        from alacrity.net.loops import uvloop_of

        loop = uvloop_of(reactor)
        soon: Any = partial(reactor.callLater, 0) if loop is None else loop.call_soon
        for _ in range(count):
            turned: Deferred[None] = Deferred()
            soon(turned.callback, None)
            await turned

    async def test_last_words(self) -> None:
        """
        Messages that were sent before a stop arrive.
        """
        _, b, a_told, a_until, *_ = await self.pair()
        b.send(Node("a"), {"last": "words"})
        await b.stop()
        await a_until(3)
        self.assertEqual(a_told, ["+b", {"last": "words"}, "-b"])

    async def test_stranger(self) -> None:
        """
        Garbage is not answered, and the connection is closed.
        """
        from twisted.internet import reactor

        from alacrity.net.connecting import client_endpoint

        a = await self.node("a")
        port: Any = a.ports[0].getHost()
        factory = Factory.forProtocol(Peer)
        factory.noisy = False
        endpoint = client_endpoint(reactor, "127.0.0.1", port.port, 5.0)
        stranger: Any = await endpoint.connect(factory)
        stranger.transport.write(b"GET / HTTP/1.1\r\n\r\n")
        await stranger.lost()
        self.assertEqual(stranger.received, b"")


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], SocketTests))
