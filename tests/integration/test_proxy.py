"""
The proxy of a node in this process, between real connections: requests, bodies, tunnels,
back pressure.
"""

# mypy: disable-error-code="import-untyped, untyped-decorator"

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

import pytest_twisted
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.protocol import Factory

from tests.integration.stage import InProcessNode, Stage
from tests.support.transport_peers import HalfPeer, Peer

CHECK: Final = {"type": "tcp", "interval": 3600}

BLOCK: Final = bytes(range(256)) * 256
LARGE: Final = 512
"""Blocks of a body that is more than all buffers on the way hold: 32 MiB."""

SIZE: Final = LARGE * len(BLOCK)
DIGEST: Final = sha256(BLOCK * LARGE).digest()


class Peers(Factory):
    """
    A server whose connections a test reads and writes.

    @ivar peers: the connections that were made, in their order.
    """

    noisy = False

    def __init__(self, kind: type[Peer] = Peer) -> None:
        self.peers: list[Peer] = []
        self._kind = kind

    def buildProtocol(self, addr: object) -> Peer:
        peer = self._kind()
        self.peers.append(peer)
        return peer

    def asked(self, count: int = 1) -> list[Peer]:
        """
        The connections on which so many requests came, at the least.
        """
        return [peer for peer in self.peers if peer.received.count(b"\r\n\r\n") >= count]


class Scene:
    """
    A node, one server, and a client of the proxy.
    """

    def __init__(self, stage: Stage, node: InProcessNode, server: Peers, client: Peer) -> None:
        self.node = node
        self._stage = stage
        self._server = server
        self.client: Any = client

    @classmethod
    async def set_up(
        cls, stage: Stage, *, server: type[Peer] = Peer, client: type[Peer] = Peer
    ) -> Scene:
        """
        Start them.

        @param server: the kind of its connections.
        @param client: the kind of its connection.
        """
        peers = Peers(server)
        port = await stage.listen(peers)
        node = await stage.node()
        await node.register(port, check=CHECK)
        return cls(stage, node, peers, await stage.connect(node.proxy, client))

    async def asked(self, count: int = 1) -> Any:
        """
        Wait for the server's connection on which so many requests came.
        """
        await self._stage.until(lambda: bool(self._server.asked(count)), "a request comes")
        return self._server.asked(count)[0]

    async def received(self, peer: Any, end: bytes) -> bytes:
        """
        Wait until some bytes have come, and take all up to their end.
        """
        await self._stage.soon(
            peer.until(lambda: end in peer.received), f"{end!r} comes after {peer.received!r}"
        )
        taken, found, peer.received = peer.received.partition(end)
        return bytes(taken + found)

    async def answered(self) -> bytes:
        """
        Wait for a response whose body is C{ok}.
        """
        return await self.received(self.client, b"\r\n\r\nok")


OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest_twisted.ensureDeferred
async def test_get(stage: Stage) -> None:
    """
    A request gets to the server with the client's address, and the response back.
    """
    scene = await Scene.set_up(stage)
    scene.client.transport.write(b"GET /a?b=%20 HTTP/1.1\r\nHost: example\r\n\r\n")
    server = await scene.asked()
    head = await scene.received(server, b"\r\n\r\n")
    assert head.startswith(b"GET /a?b=%20 HTTP/1.1\r\nHost: example\r\n")
    assert b"\r\nX-Forwarded-For: 127.0.0.1\r\n" in head
    server.transport.write(OK)
    response = await scene.answered()
    assert response.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nVia: 1.1 alacrity\r\n" in response


@pytest_twisted.ensureDeferred
async def test_connections_are_kept(stage: Stage) -> None:
    """
    Three requests take one connection on either side.
    """
    scene = await Scene.set_up(stage)
    for count in (1, 2, 3):
        scene.client.transport.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        server = await scene.asked(count)
        server.transport.write(OK)
        await scene.answered()
    assert scene.client.reason is None


@pytest_twisted.ensureDeferred
async def test_post(stage: Stage) -> None:
    """
    A body of a known length gets there as it comes, before it is whole.
    """
    scene = await Scene.set_up(stage)
    scene.client.transport.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
    server = await scene.asked()
    head = await scene.received(server, b"first")
    assert b"\r\nContent-Length: 10\r\n" in head
    scene.client.transport.write(b"later")
    assert await scene.received(server, b"later") == b"later"
    server.transport.write(OK)
    await scene.answered()


@pytest_twisted.ensureDeferred
async def test_chunks(stage: Stage) -> None:
    """
    Bodies in chunks go both ways, piece by piece, and end where they end.
    """
    scene = await Scene.set_up(stage)
    chunked = b"Transfer-Encoding: chunked\r\n\r\n"
    scene.client.transport.write(b"POST / HTTP/1.1\r\nHost: a\r\n" + chunked + b"3\r\none\r\n")
    server = await scene.asked()
    await scene.received(server, b"\r\n\r\n")
    await scene.received(server, b"3\r\none\r\n")
    scene.client.transport.write(b"3\r\ntwo\r\n0\r\n\r\n")
    assert await scene.received(server, b"0\r\n\r\n") == b"3\r\ntwo\r\n0\r\n\r\n"
    server.transport.write(b"HTTP/1.1 200 OK\r\n" + chunked + b"2\r\nhi\r\n")
    await scene.received(scene.client, b"2\r\nhi\r\n")
    server.transport.write(b"0\r\n\r\n")
    assert await scene.received(scene.client, b"0\r\n\r\n") == b"0\r\n\r\n"


@pytest_twisted.ensureDeferred
async def test_tunnel(stage: Stage) -> None:
    """
    After a switch of protocols, bytes go both ways as they are; each side's end gets to the
    other.
    """
    scene = await Scene.set_up(stage, server=HalfPeer, client=HalfPeer)
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    scene.client.transport.write(b"GET / HTTP/1.1\r\nHost: a\r\n" + upgrade)
    server = await scene.asked()
    await scene.received(server, b"\r\n\r\n")
    server.transport.write(b"HTTP/1.1 101 Switching Protocols\r\n" + upgrade + b"\0hello")
    head = await scene.received(scene.client, b"\0hello")
    assert head.startswith(b"HTTP/1.1 101 ")
    scene.client.transport.write(b"\r\n\0 as it is")
    assert await scene.received(server, b"is") == b"\r\n\0 as it is"
    scene.client.transport.loseWriteConnection()
    await stage.soon(
        server.until(lambda: "read" in server.happened), "the server hears of the client's end"
    )
    server.transport.write(b"last words")
    assert await scene.received(scene.client, b"last words") == b"last words"
    server.transport.loseConnection()
    ended = scene.client.until(lambda: "read" in scene.client.happened)
    await stage.soon(ended, "the client hears of the server's end")


class Sink(Peer):
    """
    A peer that keeps a digest of what follows a head.

    @ivar size: bytes of what followed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.size = 0
        self._digest = sha256()

    def dataReceived(self, data: bytes) -> None:
        if b"\r\n\r\n" not in self.received:
            head, end, data = (self.received + data).partition(b"\r\n\r\n")
            self.received = head + end
        self.size += len(data)
        self._digest.update(data)
        self.look()

    def has_all(self) -> bool:
        """
        True once all of the large body has come, as it was.
        """
        return self.size == SIZE and self._digest.digest() == DIGEST


class _Blocks:
    """
    A push producer of the same block, so many times, which counts them.

    @ivar written: blocks.
    """

    def __init__(self, transport: Any) -> None:
        self.written = 0
        self._transport = transport
        self._going = True

    def resumeProducing(self) -> None:
        self._going = True
        while self._going and self.written < LARGE:
            self.written += 1
            self._transport.write(BLOCK)
        if self.written == LARGE and self._transport is not None:
            transport, self._transport = self._transport, None
            transport.unregisterProducer()

    def pauseProducing(self) -> None:
        self._going = False

    def stopProducing(self) -> None:
        self._going = False


def write_blocks(transport: Any) -> _Blocks:
    """
    Write a large body as fast as it is taken.
    """
    producer = _Blocks(transport)
    transport.registerProducer(producer, True)
    producer.resumeProducing()
    return producer


async def settled(stage: Stage, producer: _Blocks) -> int:
    """
    Wait until a producer is held up.

    @return: the blocks that it has written.
    """
    seen = [-1] * 20

    def is_held_up() -> bool:
        seen.append(producer.written)
        return producer.written < LARGE and len(set(seen[-20:])) == 1

    await stage.until(is_held_up, "the producer is held up")
    return producer.written


@pytest_twisted.ensureDeferred
async def test_slow_client(stage: Stage) -> None:
    """
    A server that sends more than its client reads is held up, until the client reads on; all
    gets there.
    """
    scene = await Scene.set_up(stage, client=Sink)
    scene.client.transport.pauseProducing()
    scene.client.transport.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    server = await scene.asked()
    server.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
    producer = write_blocks(server.transport)
    assert await settled(stage, producer) < LARGE
    scene.client.transport.resumeProducing()
    await stage.soon(scene.client.until(scene.client.has_all), "all comes")


@pytest_twisted.ensureDeferred
async def test_slow_server(stage: Stage) -> None:
    """
    A client that sends more than its server reads is held up likewise.
    """
    scene = await Scene.set_up(stage, server=Sink)
    scene.client.transport.write(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % SIZE)
    server = await scene.asked()
    server.transport.pauseProducing()
    producer = write_blocks(scene.client.transport)
    assert await settled(stage, producer) < LARGE
    server.transport.resumeProducing()
    await stage.soon(server.until(server.has_all), "all comes")
    server.transport.write(OK)
    await scene.answered()


@pytest_twisted.ensureDeferred
async def test_server_breaks_off(stage: Stage) -> None:
    """
    A response that breaks off does so at the client, who can tell.
    """
    scene = await Scene.set_up(stage)
    scene.client.transport.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    server = await scene.asked()
    server.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    await scene.received(scene.client, b"half")
    server.transport.abortConnection()
    await stage.soon(scene.client.lost(), "the client's connection ends")
    assert scene.client.received == b""


@pytest_twisted.ensureDeferred
async def test_stop_waits_for_requests(stage: Stage) -> None:
    """
    A node that stops finishes the request that is in flight, and takes no connection.
    """
    scene = await Scene.set_up(stage)
    scene.client.transport.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    server = await scene.asked()
    stopped = stage.begin(scene.node.stop())

    async def refuses() -> bool:
        try:
            await stage.connect(scene.node.proxy)
        except ConnectionRefusedError:
            return True
        return False

    await stage.until(refuses, "it takes no connection")
    server.transport.write(OK)
    assert b"\r\nConnection: close\r\n" in await scene.answered()
    await stage.soon(scene.client.lost(), "the client's connection ends")
    await stage.soon(stopped, "it has stopped")
