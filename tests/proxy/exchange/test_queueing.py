"""
Requests that wait in the queue, through the whole data path.
"""

from __future__ import annotations

import msgspec
from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from alacrity.config import QueueSettings
from alacrity.pool import Administration, AdminState, ServerOptions, State
from alacrity.proxy.events import FailureKind
from tests.support.wire import Proxy, Wire, server

GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
ONE = QueueSettings(max_requests=1)


def busy(proxy: Proxy, number: int = 1) -> list[Wire]:
    """
    Clients that fill the servers.
    """
    clients = [proxy.client() for _ in range(number)]
    for each in clients:
        each.receive(GET)
    return clients


class QueueingTests(SynchronousTestCase):
    """
    One server that takes one request at a time, unless a test says otherwise.
    """

    def test_waits_for_an_end(self) -> None:
        """
        A request beyond the cap waits, and is sent when the one before it has ended; how long
        that took is told.
        """
        proxy = Proxy(queue=ONE)
        (first,) = busy(proxy)
        second = proxy.client()
        second.receive(GET)
        self.assertEqual(proxy.queue.length, 1)
        self.assertIn("queued", repr(second.protocol.exchange))
        proxy.clock.advance(1.0)
        upstream = proxy.servers[0]
        upstream.take()
        upstream.receive(OK)
        self.assertEqual(upstream.sent, b"")
        proxy.turn()
        self.assertTrue(upstream.take().startswith(b"GET /a "))
        upstream.receive(OK)
        self.assertIn(b" 200 ", first.take())
        self.assertIn(b" 200 ", second.take())
        self.assertEqual([ended.queued for ended, _ in proxy.recorded], [0.0, 1.0])
        self.assertEqual(len(proxy.servers), 1)

    def test_timeout(self) -> None:
        """
        One that has waited too long is answered 503, with Retry-After, and has left the queue.
        """
        proxy = Proxy(queue=msgspec.structs.replace(ONE, timeout=2.0))
        busy(proxy)
        late = proxy.client()
        late.receive(GET)
        proxy.wait(1.0)
        self.assertEqual(late.sent, b"")
        proxy.wait(1.0)
        self.assertIn(b"HTTP/1.1 503 ", late.sent)
        self.assertIn(b"Retry-After: 1\r\n", late.sent)
        self.assertNotIn(b"Connection: close", late.sent)
        self.assertEqual(proxy.queue.length, 0)
        (ended, _), *_ = proxy.recorded
        assert ended.cause is not None
        self.assertEqual(ended.cause.kind, FailureKind.QUEUE_TIMED_OUT)
        self.assertGreaterEqual(ended.queued, 2.0)

    def test_not_too_soon(self) -> None:
        """
        The time is that since the request came, though the deadlines look four times a second.
        """
        for late in (0.05, 0.1, 0.2, 0.24):
            proxy = Proxy(queue=msgspec.structs.replace(ONE, timeout=1.0))
            busy(proxy)
            proxy.clock.advance(0.25 + late)
            client = proxy.client()
            client.receive(GET)
            waited = 0.0
            while not client.sent:
                self.assertLess(waited, 1.5)
                proxy.clock.advance(0.01)
                waited += 0.01
            self.assertGreaterEqual(round(waited, 2), 1.0)

    def test_full(self) -> None:
        """
        If the queue is full too, the answer is 503 at once.
        """
        proxy = Proxy(queue=msgspec.structs.replace(ONE, size=1))
        busy(proxy, 2)
        client = proxy.client()
        client.receive(GET)
        self.assertIn(b"HTTP/1.1 503 ", client.sent)
        self.assertIn(b"Retry-After: 1\r\n", client.sent)
        cause = proxy.recorded[0][0].cause
        assert cause is not None
        self.assertEqual(cause.kind, FailureKind.QUEUE_FULL)
        self.assertEqual(proxy.queue.length, 1)

    def test_last_server_gone(self) -> None:
        """
        When the last server goes, those that wait are answered 503.
        """
        proxy = Proxy(queue=ONE)
        clients = busy(proxy, 3)
        proxy.change(server(), server(state=State.DOWN))
        proxy.turn()
        self.assertEqual(proxy.queue.length, 0)
        for each in clients[1:]:
            self.assertIn(b"HTTP/1.1 503 ", each.sent)
        proxy.servers[0].receive(OK)
        self.assertIn(b" 200 ", clients[0].sent)

    def test_no_server(self) -> None:
        """
        Without a server, nothing waits.
        """
        proxy = Proxy(server(state=State.DOWN), queue=ONE)
        (client,) = busy(proxy)
        self.assertIn(b"HTTP/1.1 503 ", client.sent)

    def test_woken(self) -> None:
        """
        A new server, one that comes up, a drain that ends, a weight and a cap that are raised
        let those that wait begin.
        """
        drained = Administration(state=AdminState.DRAIN)
        weightless = Administration(weight=0)
        for before, after in [
            (None, server(2)),
            (server(2, state=State.DOWN), server(2)),
            (server(2, administration=drained), server(2)),
            (server(2, administration=weightless), server(2)),
            (
                server(2, options=ServerOptions(max_requests=1)),
                server(2, options=ServerOptions(max_requests=2)),
            ),
        ]:
            with self.subTest(before=before):
                proxy = Proxy(*filter(None, [server(1), before]), queue=ONE)
                busy(proxy, 3)
                was_sent = len(proxy.servers)
                proxy.change(before, after)
                proxy.turn()
                self.assertEqual(len(proxy.servers), was_sent + 1)
                self.assertEqual(proxy.servers[-1].getPeer().port, 2)

    def test_cap_lowered(self) -> None:
        """
        A cap below the number of requests that are under way ends none of them; new ones wait
        until fewer are left.
        """
        proxy = Proxy(server(options=ServerOptions(max_requests=3)))
        busy(proxy, 3)
        proxy.change(
            server(options=ServerOptions(max_requests=3)),
            server(options=ServerOptions(max_requests=1)),
        )
        late = proxy.client()
        late.receive(GET)
        for each in proxy.servers[:2]:
            each.receive(OK)
            proxy.turn()
        self.assertEqual(proxy.queue.length, 1)
        proxy.servers[2].take()
        proxy.servers[2].receive(OK)
        proxy.turn()
        self.assertEqual(proxy.queue.length, 0)

    def test_client_gone(self) -> None:
        """
        A client that goes away leaves the queue at once.
        """
        proxy = Proxy(queue=ONE)
        busy(proxy)
        client = proxy.client()
        client.receive(GET)
        client.lose()
        self.assertEqual(proxy.queue.length, 0)
        self.assertEqual(proxy.stats.client.failed, 0)

    def test_half_closed(self) -> None:
        """
        A client that has half-closed, and is still there, waits on.
        """
        proxy = Proxy(queue=ONE)
        busy(proxy)
        client = proxy.client()
        client.receive(GET)
        client.protocol.readConnectionLost()
        proxy.wait(1.0)
        self.assertEqual(proxy.queue.length, 1)
        proxy.servers[0].receive(OK)
        proxy.turn()
        proxy.servers[0].receive(OK)
        self.assertIn(b" 200 ", client.sent)

    def test_body(self) -> None:
        """
        The body of one that waits is not read on, and reaches the server whole.
        """
        proxy = Proxy(queue=ONE)
        busy(proxy)
        client = proxy.client()
        client.receive(b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234")
        self.assertFalse(client.reading)
        upstream = proxy.servers[0]
        upstream.receive(OK)
        upstream.take()
        proxy.turn()
        self.assertTrue(client.reading)
        client.receive(b"56789")
        self.assertTrue(upstream.take().endswith(b"\r\n\r\n0123456789"))
        upstream.receive(OK)
        self.assertIn(b" 200 ", client.sent)

    def test_body_after_timeout(self) -> None:
        """
        One that has waited too long with its body unread ends the connection, after 503.
        """
        proxy = Proxy(queue=ONE)
        busy(proxy)
        client = proxy.client()
        client.receive(b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234")
        proxy.wait(5.5)
        self.assertIn(b"HTTP/1.1 503 ", client.sent)
        self.assertIn(b"Connection: close", client.sent)

    def test_pipelined(self) -> None:
        """
        Pipelined requests are answered in order.
        """
        proxy = Proxy(queue=ONE)
        busy(proxy)
        client = proxy.client()
        client.receive(GET + GET.replace(b"/a", b"/b"))
        upstream = proxy.servers[0]
        upstream.take()
        for path in (b"/a", b"/b"):
            upstream.receive(OK)
            proxy.turn()
            self.assertTrue(upstream.take().startswith(b"GET %b " % path))
        upstream.receive(OK)
        self.assertEqual(client.sent.count(b" 200 "), 2)

    def test_newcomer(self) -> None:
        """
        A newcomer never begins before those that wait, though the server has room already.
        """
        proxy = Proxy(queue=ONE)
        busy(proxy)
        waiting, late = proxy.client(), proxy.client()
        waiting.receive(GET.replace(b"/a", b"/waiting"))
        proxy.servers[0].take()
        proxy.servers[0].receive(OK)
        late.receive(GET.replace(b"/a", b"/late"))
        proxy.turn()
        self.assertTrue(proxy.servers[0].take().startswith(b"GET /waiting "))
        self.assertEqual(len(proxy.servers), 1)

    def test_stop(self) -> None:
        """
        A node that stops lets those that wait be served in the time that there is, and then
        breaks them off.
        """
        proxy = Proxy(queue=ONE)
        clients = busy(proxy, 3)
        drained = proxy.frontend.drain()
        drained.addErrback(lambda _: None)
        proxy.servers[0].receive(OK)
        proxy.turn()
        proxy.servers[0].receive(OK)
        self.assertIn(b" 200 ", clients[1].sent)
        proxy.turn()
        drained.cancel()
        self.assertEqual(proxy.queue.length, 0)

    def test_retry_waits(self) -> None:
        """
        A request whose server cannot be connected to waits for another one that is full, and no
        longer in all than the time that there is; each attempt counts while it lasts.
        """
        proxy = Proxy(server(1), server(2), queue=ONE)
        busy(proxy, 2)
        refused = next(iter(proxy.balancer.upstreams()))
        proxy.refusing = {refused.port}
        waiting = proxy.client()
        waiting.receive(GET)
        wire = next(each for each in proxy.servers if each.getPeer().port == refused.port)
        wire.lose(ConnectionDone())
        proxy.wait(3.0)
        self.assertEqual([each.active for each in proxy.balancer.upstreams()].count(1), 1)
        self.assertIn("queued", repr(waiting.protocol.exchange))
        proxy.wait(2.5)
        self.assertIn(b"HTTP/1.1 503 ", waiting.sent)
        self.assertEqual(proxy.queue.length, 0)

    def test_tunnel_counts(self) -> None:
        """
        A tunnel counts as a request until it ends.
        """
        proxy = Proxy(queue=ONE)
        upgrading = proxy.client()
        upgrading.receive(
            b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        proxy.servers[0].receive(
            b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        waiting = proxy.client()
        waiting.receive(GET)
        self.assertEqual(proxy.queue.length, 1)
        upgrading.lose()
        proxy.turn()
        self.assertEqual(len(proxy.servers), 2)

    def test_login(self) -> None:
        """
        A client that has logged in on a connection waits for that server, if it is full, though
        another has room.
        """
        options = ServerOptions(max_requests=1)
        proxy = Proxy(server(1, options=options), server(2))
        client = proxy.client()
        client.receive(b"GET /a HTTP/1.1\r\nHost: a\r\nAuthorization: NTLM TlRMTVNTUAAB\r\n\r\n")
        wire = proxy.servers[0]
        first = next(
            each for each in proxy.balancer.upstreams() if each.port == wire.getPeer().port
        )
        if first.cap != 1:
            proxy.change(server(2), server(2, options=options))
        wire.receive(
            b"HTTP/1.1 401 Who\r\nWWW-Authenticate: NTLM eA==\r\nContent-Length: 0\r\n\r\n"
        )
        wire.take()
        while not first.full:
            busy(proxy)
        client.receive(GET)
        self.assertIn("queued", repr(client.protocol.exchange))
        self.assertEqual(wire.take(), b"")
        holder = next(
            each
            for each in proxy.servers
            if each is not wire and each.getPeer().port == first.port and each.sent
        )
        holder.receive(OK)
        proxy.turn()
        self.assertTrue(wire.take().startswith(b"GET /a "))
