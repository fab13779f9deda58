"""
Tests for L{alacrity.proxy.exchange.tunnel}: upgraded connections, on a fake network.
"""

from __future__ import annotations

import gc

from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from tests.support.alive import alive
from tests.support.wire import Proxy, Wire

UPGRADE = (
    b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: x\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade, X-Hop\r\n"
    b"Date: now\r\nX-Hop: 1\r\nSec-WebSocket-Accept: y\r\n\r\n"
)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class TunnelTests(SynchronousTestCase):
    """
    The outcomes of a request for an upgrade.
    """

    def opened(self, proxy: Proxy) -> tuple[Wire, Wire]:
        """
        A tunnel: the client's end and the server's.
        """
        client = proxy.client()
        client.receive(UPGRADE)
        wire = proxy.servers[-1]
        wire.receive(SWITCH)
        for each in (client, wire):
            each.take()
        return client, wire

    def test_switch(self) -> None:
        """
        The request goes on with its Upgrade, the answer comes back with it; then
        bytes pass as they are, whatever they look like.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(UPGRADE)
        wire = proxy.servers[0]
        self.assertEqual(
            wire.take(),
            b"GET /chat HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: x\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nVia: 1.1 alacrity\r\nX-Forwarded-For: 203.0.113.9\r\n"
            b"X-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n\r\n",
        )
        wire.receive(SWITCH)
        self.assertEqual(
            client.take(),
            b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: y\r\nDate: now\r\n"
            b"Connection: Upgrade\r\nUpgrade: websocket\r\nVia: 1.1 alacrity\r\n\r\n",
        )
        for data in (b"\x00\xff", GET, b"nonsense\r\n\r\n"):
            client.receive(data)
            self.assertEqual(wire.take(), data)
            wire.receive(data)
            self.assertEqual(client.take(), data)
        self.assertEqual(proxy.counted(), (1, 0, 1, 0))
        self.assertEqual(proxy.stats.tunnels, 1)
        self.assertEqual(len(proxy.servers), 1)

    def test_bytes_around_the_switch(self) -> None:
        """
        What the client sends before the 101 waits for it; what the server sends with
        it follows it.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(UPGRADE + b"early")
        wire = proxy.servers[0]
        self.assertNotIn(b"early", wire.take())
        self.assertFalse(client.reading)
        wire.receive(SWITCH[:50])
        self.assertEqual((client.take(), wire.take()), (b"", b""))
        wire.receive(SWITCH[50:] + b"hello")
        self.assertTrue(client.take().endswith(b"\r\n\r\nhello"))
        self.assertEqual(wire.take(), b"early")
        self.assertTrue(client.reading)

    def test_not_switched(self) -> None:
        """
        Another answer is a plain response, what the client sent is its next request;
        the server connection is not used again.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(UPGRADE + GET)
        proxy.servers[0].receive(OK)
        self.assertIn(b"HTTP/1.1 200 OK\r\n", client.take())
        self.assertTrue(proxy.servers[0].closing)
        self.assertNotIn(b"Upgrade", proxy.servers[1].take())
        self.assertEqual(proxy.stats.tunnels, 0)

    def test_switched_unasked(self) -> None:
        """
        A 101 that was not asked for, or to something else, is a 502.
        """
        for request, answer in (
            (GET, SWITCH),
            (UPGRADE.replace(b"websocket", b"h2c"), SWITCH.replace(b"websocket", b"h2c")),
            (UPGRADE, SWITCH.replace(b"websocket", b"connect-udp")),
            (UPGRADE, SWITCH.replace(b"websocket", b"websocket, h2c")),
            (UPGRADE, SWITCH.replace(b"Upgrade: websocket\r\n", b"")),
            (UPGRADE, SWITCH.replace(b"Connection: Upgrade", b"Connection: x")),
            (b"POST" + UPGRADE[3:-2] + b"Content-Length: 2\r\n\r\nhi", SWITCH),
        ):
            proxy = Proxy()
            client = proxy.client()
            client.receive(request)
            proxy.servers[0].receive(answer + b"HTTP/1.1 200 OK\r\n\r\n")
            self.assertTrue(client.take().startswith(b"HTTP/1.1 502 "), answer)
            self.assertTrue(proxy.servers[0].aborted)
            self.assertEqual(proxy.counted(), (0, 1, 0, 1))

    def test_half_close(self) -> None:
        """
        Each way ends by itself, and with both, the connections do.
        """
        for client_first in (True, False):
            proxy = Proxy()
            client, wire = self.opened(proxy)
            first, second = (client, wire) if client_first else (wire, client)
            first.end()
            self.assertTrue(second.closing)
            self.assertFalse(second.lost)
            self.assertFalse(first.closing)
            second.receive(b"more")
            self.assertEqual(first.take(), b"more")
            second.end()
            self.assertTrue(first.lost)
            self.assertTrue(second.lost)
            self.assertFalse(first.aborted or second.aborted)
            self.assertEqual(proxy.stats.tunnels, 0)

    def test_ended_before_the_switch(self) -> None:
        """
        A client that has said all before the 101 can still be told something.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(UPGRADE + b"all")
        client.end()
        wire = proxy.servers[0]
        wire.take()
        wire.receive(SWITCH)
        self.assertEqual(wire.take(), b"all")
        self.assertTrue(wire.closing)
        wire.receive(b"bye")
        self.assertTrue(client.take().endswith(b"bye"))
        wire.end()
        self.assertTrue(client.lost)

    def test_broken_off(self) -> None:
        """
        When one side is lost, the other is dropped.
        """
        for client_lost in (True, False):
            proxy = Proxy()
            client, wire = self.opened(proxy)
            lost, other = (client, wire) if client_lost else (wire, client)
            lost.lose()
            self.assertTrue(other.aborted)
            self.assertEqual(proxy.counted(), (1, 0, 1, 0))
            self.assertEqual(proxy.stats.tunnels, 0)
            self.assertEqual([status for _, status in proxy.recorded], [101])

    def test_lost_after_the_end(self) -> None:
        """
        Bytes that came before an end are delivered, even if a reset comes after it.
        """
        for client_lost in (True, False):
            proxy = Proxy()
            client, wire = self.opened(proxy)
            lost, other = (client, wire) if client_lost else (wire, client)
            lost.receive(b"all")
            lost.end()
            lost.lose()
            self.assertEqual(other.take(), b"all")
            self.assertTrue(other.lost)
            self.assertFalse(other.aborted)

    def test_backpressure(self) -> None:
        """
        Whoever takes no more, stops the other.
        """
        proxy = Proxy()
        client, wire = self.opened(proxy)
        for slow, fast in ((client, wire), (wire, client)):
            slow.producer.pauseProducing()
            self.assertFalse(fast.reading)
            self.assertTrue(slow.reading)
            slow.producer.resumeProducing()
            self.assertTrue(fast.reading)

    def test_full_before_the_switch(self) -> None:
        """
        So do those that took no more when it began.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(UPGRADE)
        wire = proxy.servers[0]
        wire.producer.pauseProducing()
        self.assertFalse(client.reading)
        wire.receive(SWITCH)
        self.assertFalse(client.reading)
        wire.producer.resumeProducing()
        self.assertTrue(client.reading)

    def test_idle(self) -> None:
        """
        A tunnel that carries nothing for long enough is closed; any byte counts.
        """
        proxy = Proxy(tunnel_idle=100.0)
        client, wire = self.opened(proxy)
        for each in (client, wire):
            proxy.wait(90)
            each.receive(b"x")
        proxy.wait(90)
        self.assertFalse(client.lost)
        proxy.wait(10)
        self.assertTrue(client.lost)
        self.assertTrue(wire.lost)
        self.assertFalse(client.aborted)

    def test_server_connection_is_not_reused(self) -> None:
        """
        Neither while it is a tunnel nor afterwards.
        """
        proxy = Proxy()
        client, wire = self.opened(proxy)
        proxy.client().receive(GET)
        self.assertEqual(wire.take(), b"")
        self.assertEqual(len(proxy.servers), 2)
        wire.end()
        client.end()
        proxy.client().receive(GET)
        self.assertEqual(len(proxy.servers), 3)

    def test_stale_connection(self) -> None:
        """
        An upgrade can be asked for again, like any GET.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET)
        proxy.servers[0].receive(OK)
        client.take()
        client.receive(UPGRADE)
        proxy.servers[0].lose(ConnectionDone())
        self.assertIn(b"\r\nUpgrade: websocket\r\n", proxy.servers[1].take())

    def test_drain(self) -> None:
        """
        A proxy that stops waits for its tunnels, as for requests, and cuts them off
        in the end.
        """
        proxy = Proxy()
        ends = self.opened(proxy) + self.opened(proxy)
        drained = proxy.frontend.drain()
        self.assertNoResult(drained)
        self.assertFalse(any(end.closing for end in ends))
        drained.cancel()
        self.failureResultOf(drained)
        self.assertTrue(all(end.aborted for end in ends))
        self.assertEqual(proxy.stats.tunnels, 0)

    def test_freed_at_once(self) -> None:
        """
        A tunnel that has ended waits for no collection of cycles.
        """
        proxy = Proxy()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        client, wire = self.opened(proxy)
        kinds = (type(client.protocol), type(wire.protocol))
        self.assertEqual(alive(*kinds), 2)
        client.end()
        wire.end()
        proxy.recorded.clear()
        client.protocol = wire.protocol = None
        self.assertEqual(alive(*kinds), 0)

    def test_server_leaves(self) -> None:
        """
        A tunnel counts as a request under way with its server, until it ends.
        """
        proxy = Proxy()
        client, _ = self.opened(proxy)
        upstream = proxy.balancer.choose()
        assert upstream is not None
        self.assertEqual(upstream.active, 1)
        client.lose()
        self.assertEqual(upstream.active, 0)
