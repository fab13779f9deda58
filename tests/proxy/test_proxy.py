"""
Tests for L{alacrity.proxy}: the data path, between a client and servers that the
tests play.
"""

from __future__ import annotations

import gc

from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase

from alacrity.pool import Change, State
from tests.support.alive import alive
from tests.support.wire import Proxy, Wire, server

GET = b"GET /a HTTP/1.1\r\nHost: example.org\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
ADDED = (
    b"Via: 1.1 alacrity\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: http\r\n"
    b"X-Forwarded-Host: "
)


def status(wire: Wire) -> int:
    """
    The status of the response that was sent, of which there is exactly one.
    """
    sent = wire.take()
    assert sent.count(b"HTTP/1.1 ") == 1, sent
    return int(sent.split(b" ")[1])


class ForwardingTests(SynchronousTestCase):
    """
    Messages that go through.
    """

    def test_request_and_response(self) -> None:
        """
        A request goes to a server, its response comes back; both say so.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET)
        (wire,) = proxy.servers
        self.assertEqual(
            wire.take(),
            b"GET /a HTTP/1.1\r\nHost: example.org\r\n" + ADDED + b"example.org\r\n\r\n",
        )
        wire.receive(
            b"HTTP/1.1 200 OK\r\nServer: x\r\nDate: now\r\nContent-Length: 2\r\n"
            b"Connection: keep-alive, X-Hop\r\nKeep-Alive: 5\r\nX-Hop: 1\r\n\r\nhi"
        )
        self.assertEqual(
            client.take(),
            b"HTTP/1.1 200 OK\r\nServer: x\r\nDate: now\r\nContent-Length: 2\r\n"
            b"Via: 1.1 alacrity\r\n\r\nhi",
        )
        self.assertEqual(proxy.counted(), (1, 0, 1, 0))
        self.assertFalse(client.closing)

    def test_dated(self) -> None:
        """
        A response without a date gets one (RFC 9110 6.6.1).
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET)
        proxy.servers[0].receive(OK)
        self.assertIn(b"\r\nDate: ", client.take())

    def test_hop_by_hop_fields(self) -> None:
        """
        What is for this connection only goes no further, nor what Connection names,
        before our own fields are added; Host and framing stay.
        """
        proxy = Proxy()
        proxy.client().receive(
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: X-Secret, Host\r\n"
            b"Connection: Content-Length, X-Forwarded-For, Via\r\nX-Secret: 1\r\nTE: trailers\r\n"
            b"Keep-Alive: 5\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nVia: 1.0 x\r\n"
            b"X-Forwarded-For: 6.6.6.6\r\nContent-Length: 2\r\n\r\nhi"
        )
        self.assertEqual(
            proxy.servers[0].take(),
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n" + ADDED + b"a\r\n\r\nhi",
        )

    def test_untrusted_client(self) -> None:
        """
        A client's own forwarding fields are replaced, other proxies' Via is kept.
        """
        proxy = Proxy()
        proxy.client().receive(
            b"GET / HTTP/1.1\r\nHost: a\r\nVia: 1.0 x\r\nForwarded: for=1.1.1.1\r\n"
            b"X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Port: 1\r\nX_Forwarded_For: 1.1.1.1\r\n\r\n"
        )
        self.assertEqual(
            proxy.servers[0].take(),
            b"GET / HTTP/1.1\r\nHost: a\r\nVia: 1.0 x\r\n" + ADDED + b"a\r\n\r\n",
        )

    def test_trusted_client(self) -> None:
        """
        A trusted proxy's forwarding fields are kept, and appended to.
        """
        proxy = Proxy(trusted=("203.0.113.0/24",))
        proxy.client().receive(
            b"GET / HTTP/1.1\r\nHost: a\r\nForwarded: for=1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\n"
            b"X-Forwarded-For: 2.2.2.2\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\n\r\n"
        )
        self.assertEqual(
            proxy.servers[0].take(),
            b"GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 alacrity\r\n"
            b"X-Forwarded-For: 1.1.1.1, 2.2.2.2, 203.0.113.9\r\nX-Forwarded-Proto: https\r\n"
            b"X-Forwarded-Host: b\r\nForwarded: for=1.1.1.1, for=203.0.113.9;proto=http\r\n\r\n",
        )

    def test_trusted_unix_socket(self) -> None:
        """
        The fields of a trusted proxy on a Unix socket are kept. The socket has no address to
        append. Those of a client that is not trusted are dropped.
        """
        sent = b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n"
        named = b"X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\n"
        for trusted, fields, expected in (
            (("unix",), named, b"X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\n"),
            (("unix",), b"", b"X-Forwarded-For: unknown\r\nX-Forwarded-Proto: http\r\n"),
            (("0.0.0.0/0",), named, b"X-Forwarded-For: unknown\r\nX-Forwarded-Proto: http\r\n"),
        ):
            proxy = Proxy(trusted=trusted)
            proxy.client("").receive(sent % fields)
            self.assertEqual(
                proxy.servers[0].take(),
                sent % (b"Via: 1.1 alacrity\r\n" + expected + b"X-Forwarded-Host: a\r\n"),
            )
        proxy = Proxy(trusted=("unix",))
        proxy.client("").receive(sent % b"X-Forwarded-For: 1.1.1.1\r\nForwarded: for=1.1.1.1\r\n")
        self.assertIn(
            b"Forwarded: for=1.1.1.1, for=unknown;proto=http\r\n", proxy.servers[0].take()
        )

    def test_empty_fields_of_a_trusted_client(self) -> None:
        """
        An empty list has no members, and gets no comma.
        """
        proxy = Proxy(trusted=("203.0.113.0/24",))
        proxy.client().receive(
            b"GET / HTTP/1.1\r\nHost: a\r\nForwarded:\r\nX-Forwarded-For: \r\n"
            b"X-Forwarded-Proto:\r\nX-Forwarded-Host:\r\nX-Forwarded-Port:\r\n\r\n"
        )
        self.assertEqual(
            proxy.servers[0].take(),
            b"GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 alacrity\r\nX-Forwarded-For: 203.0.113.9\r\n"
            b"X-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n\r\n",
        )

    def test_length_of_nothing(self) -> None:
        """
        A Content-Length of 0 is passed on; none is added but for methods that have a body
        (RFC 9110 8.6).
        """
        for method, field, sent in (
            (b"DELETE", b"Content-Length: 0\r\n", b"Content-Length: 0\r\n"),
            (b"PROPFIND", b"Content-Length: 00\r\n", b"Content-Length: 0\r\n"),
            (b"QUERY", b"Content-Length: 0\r\n", b"Content-Length: 0\r\n"),
            (b"DELETE", b"", b""),
            (b"POST", b"", b"Content-Length: 0\r\n"),
        ):
            with self.subTest(method + field):
                proxy = Proxy()
                proxy.client().receive(method + b" / HTTP/1.1\r\nHost: a\r\n" + field + b"\r\n")
                self.assertEqual(
                    proxy.servers[0].take(),
                    method + b" / HTTP/1.1\r\nHost: a\r\n" + sent + ADDED + b"a\r\n\r\n",
                )

    def test_trailers_are_asked_for(self) -> None:
        """
        A client that takes trailers is passed on as such (RFC 9110 10.1.4), and no other
        transfer coding is.
        """
        for fields, passed in (
            (b"Connection: TE\r\nTE: trailers\r\n", True),
            (b"Connection: close, te\r\nTE: gzip;q=0.5, Trailers\r\n", True),
            (b"Connection: TE\r\nTE: gzip\r\nTE: trailers , deflate\r\n", True),
            (b"Connection: TE\r\nTE: trailers;q=0.5\r\n", True),
            (b"Connection: TE\r\nTE: trailers; q=0.0\r\n", False),
            (b"Connection: TE\r\nTE: gzip\r\n", False),
            (b"Connection: TE\r\nTE: xtrailers, trailers2\r\n", False),
            (b"Connection: TE\r\nTE:\r\n", False),
            (b"Connection: close\r\nTE: trailers\r\n", False),
            (b"TE: trailers\r\n", False),
        ):
            with self.subTest(fields):
                proxy = Proxy()
                proxy.client().receive(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n")
                sent = proxy.servers[0].take()
                added = b"\r\nConnection: TE\r\nTE: trailers\r\n"
                self.assertEqual(added in sent, passed)
                self.assertEqual(b"gzip" in sent, False)
        proxy = Proxy()
        proxy.client().receive(
            b"GET / HTTP/1.0\r\nHost: a\r\nConnection: TE\r\nTE: trailers\r\n\r\n"
        )
        self.assertNotIn(b"TE:", proxy.servers[0].take())

    def test_trailers_are_asked_for_beside_an_upgrade(self) -> None:
        """
        One Connection names both.
        """
        proxy = Proxy()
        proxy.client().receive(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, te\r\nUpgrade: websocket\r\n"
            b"TE: trailers\r\n\r\n"
        )
        self.assertIn(
            b"\r\nConnection: TE, Upgrade\r\nTE: trailers\r\nUpgrade: websocket\r\n",
            proxy.servers[0].take(),
        )

    def test_expectation_is_passed_on_once(self) -> None:
        """
        Expect goes to the server once, and only with a body that waits.
        """
        proxy = Proxy()
        proxy.client().receive(
            b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n"
            b"Content-Length: 2\r\n\r\n"
        )
        self.assertEqual(proxy.servers[0].take().count(b"Expect: 100-continue\r\n"), 1)
        proxy = Proxy()
        proxy.client().receive(
            b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n"
        )
        self.assertNotIn(b"xpect", proxy.servers[0].take())

    def test_via_of_http_1_0(self) -> None:
        """
        Via says in which version each message came (RFC 9110 7.6.3).
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        self.assertIn(b"\r\nVia: 1.0 alacrity\r\n", proxy.servers[0].take())
        proxy.servers[0].receive(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.assertIn(b"\r\nVia: 1.0 alacrity\r\n", client.take())

    def test_via_of_interim_responses_of_http_1_0(self) -> None:
        """
        So it does in interim responses and in one that switches protocols.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        proxy.servers[0].receive(b"HTTP/1.0 103 Early Hints\r\nLink: x\r\n\r\n")
        self.assertIn(b"\r\nVia: 1.0 alacrity\r\n", client.take())
        proxy.servers[0].receive(
            b"HTTP/1.0 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        self.assertIn(b"\r\nVia: 1.0 alacrity\r\n", client.take())

    def test_an_upgrade_that_is_required(self) -> None:
        """
        A 426 names the protocols that the server requires (RFC 9110 15.5.22).
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        proxy.servers[0].receive(
            b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket, foo/2\r\n"
            b"Connection: Upgrade\r\nContent-Length: 0\r\n\r\n"
        )
        self.assertIn(b"\r\nConnection: Upgrade\r\nUpgrade: websocket, foo/2\r\n", client.take())

    def test_status_without_a_class(self) -> None:
        """
        A status from 600 is passed on, and counts as failed.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        proxy.servers[0].receive(b"HTTP/1.1 799 Odd\r\nContent-Length: 0\r\n\r\n")
        self.assertTrue(client.take().startswith(b"HTTP/1.1 799 Odd\r\n"))
        self.assertEqual(proxy.counted(), (0, 1, 0, 1))

    def test_chunked_both_ways(self) -> None:
        """
        Bodies in chunks stream both ways, with their trailers.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(
            b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        )
        wire = proxy.servers[0]
        self.assertTrue(wire.take().endswith(b"\r\n\r\n3\r\nabc\r\n"))
        client.receive(b"2\r\nde\r\n0\r\nX: y\r\n\r\n")
        self.assertEqual(wire.take(), b"2\r\nde\r\n0\r\nX: y\r\n\r\n")
        wire.receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        self.assertTrue(client.take().endswith(b"\r\n\r\n1\r\nx\r\n"))
        wire.receive(b"0\r\nX: y\r\n\r\n")
        self.assertEqual(client.take(), b"0\r\nX: y\r\n\r\n")
        self.assertEqual(proxy.counted(), (1, 0, 1, 0))

    def test_head_alone(self) -> None:
        """
        The head of a response goes to the client before its body comes.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET)
        proxy.servers[0].receive(OK[:-2])
        self.assertTrue(client.take().endswith(b"\r\n\r\n"))
        proxy.servers[0].receive(OK[-2:])
        self.assertEqual(client.take(), b"hi")

    def test_response_until_close(self) -> None:
        """
        A body that ends with the server's connection is sent in chunks to a 1.1
        client, and ends with the client's connection for a 1.0 one.
        """
        for version, body in ((b"1.1", b"2\r\nhi\r\n0\r\n\r\n"), (b"1.0", b"hi")):
            proxy = Proxy()
            client = proxy.client()
            client.receive(
                b"GET / HTTP/" + version + b"\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
            )
            proxy.servers[0].receive(b"HTTP/1.1 200 OK\r\n\r\nhi")
            proxy.servers[0].lose(ConnectionDone())
            head, _, rest = client.take().partition(b"\r\n\r\n")
            self.assertEqual(rest, body)
            self.assertEqual(client.closing, version == b"1.0")
            self.assertEqual(b"Connection: close" in head, version == b"1.0")
            self.assertEqual(proxy.counted(), (1, 0, 1, 0))

    def test_http_1_0(self) -> None:
        """
        A 1.0 client may do without Host, and keeps its connection if it says so.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        self.assertIn(b"\r\nHost: 192.0.2.1:8080\r\n", proxy.servers[0].take())
        proxy.servers[0].receive(OK)
        self.assertIn(b"\r\nConnection: keep-alive\r\n", client.take())
        client.receive(b"GET / HTTP/1.0\r\n\r\n")
        proxy.servers[0].receive(OK)
        self.assertIn(b"\r\nConnection: close\r\n", client.take())
        self.assertTrue(client.lost)

    def test_without_body(self) -> None:
        """
        HEAD, 204 and 304 have no body, and the connections go on.
        """
        proxy = Proxy()
        client = proxy.client()
        for request, response, expected in (
            (GET.replace(b"GET", b"HEAD"), OK[:-2], b"Content-Length: 2\r\n"),
            (
                GET,
                b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n",
                b"Content-Length: 2\r\n",
            ),
            (
                GET,
                b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n",
                b"204 No Content\r\nDate",
            ),
        ):
            client.receive(request)
            proxy.servers[0].receive(response)
            sent = client.take()
            self.assertIn(expected, sent)
            self.assertTrue(sent.endswith(b"\r\n\r\n"))
        self.assertEqual(len(proxy.servers), 1)

    def test_interim_responses(self) -> None:
        """
        1xx responses go to a 1.1 client; a 1.0 client knows none.
        """
        interim = b"HTTP/1.1 100 Continue\r\nConnection: x\r\n\r\n"
        proxy = Proxy()
        client = proxy.client()
        client.receive(POST[:-2] + b"Expect: 100-continue\r\n\r\n")
        self.assertIn(b"\r\nExpect: 100-continue\r\n", proxy.servers[0].take())
        proxy.servers[0].receive(interim)
        self.assertEqual(client.take(), b"HTTP/1.1 100 Continue\r\nVia: 1.1 alacrity\r\n\r\n")
        client.receive(b"hello")
        proxy.servers[0].receive(interim + OK)
        self.assertEqual(client.take().count(b"HTTP/1.1 "), 2)
        client = proxy.client()
        client.receive(b"GET / HTTP/1.0\r\n\r\n")
        proxy.servers[0].receive(interim + OK)
        self.assertEqual(status(client), 200)

    def test_pipelining(self) -> None:
        """
        Requests that come at once are answered in order, one at a time.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET.replace(b"/a", b"/1") + GET.replace(b"/a", b"/2") + GET[:10])
        self.assertFalse(client.reading)
        for number in (b"1", b"2"):
            self.assertTrue(proxy.servers[0].take().startswith(b"GET /" + number + b" "))
            self.assertEqual(client.take(), b"")
            proxy.servers[0].receive(OK)
            self.assertEqual(status(client), 200)
        self.assertTrue(client.reading)
        client.receive(GET[10:])
        self.assertTrue(proxy.servers[0].take().startswith(b"GET /a "))
        self.assertEqual(len(proxy.servers), 1)

    def test_pipelined_then_bad(self) -> None:
        """
        A bad request after a good one is answered after it.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET + b"nonsense\r\n\r\n")
        proxy.servers[0].receive(OK)
        first, second = client.take().split(b"HTTP/1.1 ")[1:]
        self.assertEqual((first[:3], second[:3]), (b"200", b"400"))
        self.assertTrue(client.closing)

    def test_many_pipelined_without_server(self) -> None:
        """
        Answers of our own to many requests at once do not pile up on the stack.
        """
        proxy = Proxy(server(state=State.DOWN))
        client = proxy.client()
        client.receive(GET * 2000)
        proxy.turn()
        self.assertEqual(client.take().count(b"HTTP/1.1 503 "), 2000)

    def test_bad_request(self) -> None:
        """
        What is not HTTP is answered with 400, the connection closed, and no server
        hears of it.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(b"GET / HTTP/1.1\r\nHost: <script>\r\n\r\n")
        sent = client.take()
        self.assertTrue(sent.startswith(b"HTTP/1.1 400 Bad Request\r\n"))
        self.assertIn(b"\r\nConnection: close\r\n", sent)
        self.assertNotIn(b"script", sent)
        self.assertTrue(client.closing)
        self.assertEqual(proxy.servers, [])
        client.receive(GET)
        self.assertEqual((client.take(), proxy.servers), (b"", []))

    def test_fault_in_a_body(self) -> None:
        """
        A fault after the head was forwarded: the server's request is broken off.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
        )
        client.receive(b"nonsense\r\n")
        self.assertEqual(status(client), 400)
        self.assertTrue(proxy.servers[0].aborted)
        self.assertNotIn(b"0\r\n\r\n", proxy.servers[0].take())
        self.assertEqual(proxy.counted(), (1, 0, 0, 0))


class ServerChoiceTests(SynchronousTestCase):
    """
    The choice of the server for a request, and the reaction to its failure.
    """

    def ports(self, proxy: Proxy, number: int) -> list[int]:
        """
        The ports of the servers that a number of requests go to.
        """
        ports = []
        for _ in range(number):
            client = proxy.client()
            client.receive(GET)
            wire = next(wire for wire in proxy.servers if wire.sent)
            wire.take()
            wire.receive(OK)
            ports.append(wire.getPeer().port)
        return ports

    def test_round_robin(self) -> None:
        """
        Servers that are up get requests in turn, those that are not get none.
        """
        proxy = Proxy(server(1), server(2, state=State.DOWN), server(3), server(4))
        self.assertEqual(self.ports(proxy, 6), [1, 3, 4, 1, 3, 4])
        self.assertEqual(len(proxy.servers), 3)

    def test_weights(self) -> None:
        """
        With weights, each gets its share, spread evenly.
        """
        proxy = Proxy(server(1, weight=3), server(2, weight=1))
        ports = self.ports(proxy, 8)
        self.assertEqual(ports.count(1), 6)
        self.assertNotIn([2, 2], [ports[i : i + 2] for i in range(7)])

    def test_changes(self) -> None:
        """
        The rotation follows the pool.
        """
        proxy = Proxy(server(1), server(2))
        self.assertEqual(self.ports(proxy, 2), [1, 2])
        proxy.balancer.changed(Change(server(1), server(1, state=State.DOWN)))
        self.assertEqual(self.ports(proxy, 2), [2, 2])
        proxy.balancer.changed(Change(server(2), None))
        client = proxy.client()
        client.receive(GET)
        self.assertIn(b"\r\nRetry-After: ", client.sent)
        self.assertEqual(status(client), 503)
        self.assertFalse(client.closing)

    def test_another_server(self) -> None:
        """
        A server that cannot be reached costs nothing but the attempt.
        """
        proxy = Proxy(server(1), server(2))
        proxy.refusing.add(1)
        self.assertEqual(self.ports(proxy, 2), [2, 2])
        # It is aside after the first.
        self.assertEqual(proxy.counted(), (2, 0, 2, 1))

    def test_no_server_can_be_reached(self) -> None:
        """
        When all are tried, the answer is 502.
        """
        proxy = Proxy(server(1), server(2, weight=5))
        proxy.refusing |= {1, 2}
        client = proxy.client()
        client.receive(GET)
        self.assertEqual(status(client), 502)
        self.assertEqual(proxy.counted(), (0, 1, 0, 2))

    def test_slow_connect(self) -> None:
        """
        A connection that is not made in time counts as refused. Meanwhile, the
        body of the request waits with the client.
        """
        proxy = Proxy(server(1), server(2))
        proxy.automatic = False
        client = proxy.client()
        client.receive(POST + b"he")
        self.assertFalse(client.reading)
        proxy.wait(3.0)
        (first, _), (second, _) = proxy.connecting
        self.assertEqual((first.port, second.port), (1, 2))
        proxy.connecting.pop(0)
        wire = proxy.accept()
        self.assertTrue(wire.take().endswith(b"\r\n\r\nhe"))
        self.assertTrue(client.reading)
        client.receive(b"llo")
        self.assertEqual(wire.take(), b"llo")
        wire.receive(OK)
        self.assertEqual(status(client), 200)
        self.assertEqual(proxy.counted(), (1, 0, 1, 1))

    def test_stale_connection(self) -> None:
        """
        A kept connection that closes before an answer: an idempotent request is sent
        again on a fresh one.
        """
        for reply in (GET, b"PUT" + GET[3:-2] + b"Content-Length: 2\r\n\r\nhi"):
            proxy = Proxy()
            client = proxy.client()
            client.receive(GET)
            proxy.servers[0].receive(OK)
            client.take()
            client.receive(reply)
            sent = proxy.servers[0].take()
            proxy.servers[0].lose(ConnectionDone())
            self.assertEqual(len(proxy.servers), 2)
            self.assertTrue(sent.endswith(proxy.servers[1].take()))
            proxy.servers[1].receive(OK)
            self.assertEqual(status(client), 200)
            self.assertEqual(proxy.counted(), (2, 0, 2, 1))

    def test_not_sent_again(self) -> None:
        """
        Nothing is sent twice that may have been acted upon.
        """
        for request, reply in (
            (POST + b"hello", b""),
            (GET, b"HTTP/1.1 "),
            (GET, b"HTTP/1.1 103 Early Hints\r\n\r\n"),
            (b"PUT" + POST[4:-6] + b"99999\r\n\r\n" + b"x" * 99999, b""),
        ):
            proxy = Proxy()
            client = proxy.client()
            client.receive(GET)
            proxy.servers[0].receive(OK)
            client.take()
            client.receive(request)
            if reply:
                proxy.servers[0].receive(reply)
            proxy.servers[0].lose(ConnectionDone())
            self.assertEqual(len(proxy.servers), 1, request[:80])
            self.assertIn(b"HTTP/1.1 502 ", client.take())
            self.assertEqual(proxy.counted(), (1, 1, 1, 1))

    def test_fresh_connection_lost(self) -> None:
        """
        A server that takes a request and closes is to blame.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(POST + b"hello")
        proxy.servers[0].lose()
        self.assertEqual(status(client), 502)
        self.assertEqual(proxy.counted(), (0, 1, 0, 1))

    def test_nonsense_response(self) -> None:
        """
        An answer that is not HTTP is a 502.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET)
        proxy.servers[0].receive(b"SSH-2.0-OpenSSH\r\n")
        self.assertEqual(status(client), 502)
        self.assertTrue(proxy.servers[0].aborted)
        self.assertFalse(client.closing)
        self.assertEqual(proxy.counted(), (0, 1, 0, 1))

    def test_broken_off(self) -> None:
        """
        A response that is cut short must not look complete.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET)
        proxy.servers[0].receive(OK[:-1])
        proxy.servers[0].lose(ConnectionDone())
        self.assertTrue(client.aborted)
        self.assertEqual(proxy.counted(), (0, 1, 0, 1))

    def test_server_error(self) -> None:
        """
        A server's own 5xx goes through, and counts as failed.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET)
        proxy.servers[0].receive(OK.replace(b"200 OK", b"500 No"))
        self.assertEqual(status(client), 500)
        self.assertEqual(proxy.counted(), (0, 1, 0, 1))


class ServerConnectionTests(SynchronousTestCase):
    """
    Connections to servers are kept, within bounds.
    """

    def used(self, proxy: Proxy) -> Wire:
        """
        A server connection that has served a request.
        """
        client = proxy.client()
        client.receive(GET)
        wire = proxy.servers[-1]
        wire.receive(OK)
        wire.take()
        return wire

    def test_reuse(self) -> None:
        """
        A connection serves one client after the other.
        """
        proxy = Proxy()
        wire = self.used(proxy)
        proxy.client().receive(GET)
        self.assertEqual(len(proxy.servers), 1)
        self.assertIn(b"GET", wire.take())

    def test_not_reused(self) -> None:
        """
        Not when the server closes it, nor when bytes follow the response.
        """
        for answer in (
            OK[:-4] + b"Connection: close\r\n\r\nhi",
            OK + b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.0" + OK[8:],
        ):
            proxy = Proxy()
            client = proxy.client()
            client.receive(GET)
            proxy.servers[0].receive(answer.replace(b"\r\n\r\nhi", b"\r\n\r\nhi"))
            self.assertEqual(status(client), 200)
            self.assertTrue(proxy.servers[0].closing)

    def test_unasked_bytes(self) -> None:
        """
        Bytes on an idle connection end it, and reach nobody.
        """
        proxy = Proxy()
        wire = self.used(proxy)
        wire.receive(OK)
        self.assertTrue(wire.aborted)
        proxy.client().receive(GET)
        self.assertEqual(len(proxy.servers), 2)

    def test_server_ends_idle_connection(self) -> None:
        """
        A connection that the server has closed, or half of it, is not used again.
        """
        proxy = Proxy()
        wire = self.used(proxy)
        wire.end()
        self.assertTrue(wire.lost)
        proxy.client().receive(GET)
        self.assertEqual(len(proxy.servers), 2)

    def test_server_ends_answer(self) -> None:
        """
        A server's end is the end of a response without a length, and breaks others off;
        what the server has not taken of the request by then does not matter.
        """
        for answer, whole in ((b"HTTP/1.1 200 OK\r\n\r\nhi", True), (OK[:-1], False)):
            proxy = Proxy()
            client = proxy.client()
            client.receive(GET)
            wire = proxy.servers[0]
            wire.lingering = True
            wire.receive(answer)
            wire.end()
            self.assertEqual(client.take().endswith(b"0\r\n\r\n"), whole)
            self.assertEqual(client.aborted, not whole)
            self.assertTrue(wire.closing)
            wire.lose()
            self.assertEqual(proxy.counted(), (1, 0, 1, 0) if whole else (0, 1, 0, 1))

    def test_server_ends_stale_connection(self) -> None:
        """
        A kept connection that the server ends in place of an answer is as good as lost.
        """
        proxy = Proxy()
        wire = self.used(proxy)
        client = proxy.client()
        client.receive(GET)
        wire.end()
        proxy.servers[1].receive(OK)
        self.assertEqual(status(client), 200)

    def test_server_does_not_take_the_rest(self) -> None:
        """
        A connection that cannot be closed, as the server does not take what is still to
        be sent, is dropped in the end.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(POST)
        wire = proxy.servers[0]
        wire.lingering = True
        wire.receive(OK)
        self.assertTrue(wire.closing)
        self.assertFalse(wire.lost)
        proxy.wait(30)
        self.assertTrue(wire.aborted)

    def test_idle_limit(self) -> None:
        """
        No more are kept than configured.
        """
        proxy = Proxy(idle_per_server=1)
        clients = [proxy.client(), proxy.client()]
        for client in clients:
            client.receive(GET)
        for wire in proxy.servers:
            wire.receive(OK)
        self.assertEqual([wire.closing for wire in proxy.servers], [False, True])

    def test_idle_timeout(self) -> None:
        """
        Nor for longer.
        """
        proxy = Proxy()
        wire = self.used(proxy)
        proxy.wait(20)
        self.assertFalse(wire.closing)
        proxy.wait(10)
        self.assertTrue(wire.closing)

    def test_server_leaves(self) -> None:
        """
        When a server leaves the pool, its idle connections are closed at once, those
        in use when their requests are finished.
        """
        proxy = Proxy()
        wire = self.used(proxy)
        clients = [proxy.client(), proxy.client()]
        for client in clients:
            client.receive(GET)
        proxy.servers[1].receive(OK)
        proxy.balancer.changed(Change(server(), None))
        self.assertTrue(proxy.servers[1].closing)
        self.assertFalse(wire.closing)
        self.assertEqual([u.port for u in proxy.balancer.draining()], [1])
        clients[0].take()
        wire.receive(OK)
        self.assertEqual(status(clients[0]), 200)
        self.assertTrue(wire.closing)
        self.assertEqual(list(proxy.balancer.draining()), [])


class PaceTests(SynchronousTestCase):
    """
    Slow peers, peers that leave, and deadlines.
    """

    def test_slow_reader(self) -> None:
        """
        A client that does not read stops the server, until it does.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET)
        wire = proxy.servers[0]
        wire.receive(OK[:-1])
        client.producer.pauseProducing()
        self.assertFalse(wire.reading)
        client.producer.resumeProducing()
        self.assertTrue(wire.reading)

    def test_reader_too_slow(self) -> None:
        """
        One that does not go on reading is dropped; the server is not to blame.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET)
        proxy.servers[0].receive(OK[:-1])
        client.producer.pauseProducing()
        proxy.wait(60)
        self.assertTrue(client.aborted)
        self.assertTrue(proxy.servers[0].aborted)
        self.assertEqual(proxy.counted(), (0, 1, 0, 0))

    def test_slow_reader_at_the_end(self) -> None:
        """
        A server connection is not left unread when the response that a slow client
        held up is complete; the client's next request waits until it has read.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET)
        wire = proxy.servers[0]
        client.producer.pauseProducing()
        wire.reading = True
        wire.receive(OK)
        self.assertTrue(wire.reading)
        wire.take()
        client.receive(GET)
        self.assertEqual(wire.take(), b"")
        client.producer.resumeProducing()
        self.assertIn(b"GET", wire.take())

    def test_slow_server(self) -> None:
        """
        A server that does not take the body stops the client, until it does.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(POST)
        proxy.servers[0].producer.pauseProducing()
        self.assertFalse(client.reading)
        proxy.servers[0].producer.resumeProducing()
        self.assertTrue(client.reading)
        proxy.servers[0].producer.pauseProducing()
        proxy.wait(60)
        self.assertEqual(status(client), 504)
        self.assertEqual(proxy.counted(), (0, 1, 0, 1))

    def test_no_answer(self) -> None:
        """
        No answer in time is a 504.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET)
        proxy.wait(59)
        self.assertEqual(client.take(), b"")
        proxy.wait(1)
        self.assertEqual(status(client), 504)
        self.assertTrue(proxy.servers[0].aborted)
        self.assertFalse(client.closing)
        self.assertEqual(proxy.counted(), (0, 1, 0, 1))

    def test_answer_stalls(self) -> None:
        """
        An answer that stops in the middle is broken off, however long it has taken.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET)
        proxy.servers[0].receive(OK[:-2])
        proxy.wait(50)
        proxy.servers[0].receive(OK[-2:-1])
        proxy.wait(50)
        self.assertFalse(client.lost)
        proxy.wait(10)
        self.assertTrue(client.aborted)
        self.assertEqual(proxy.counted(), (0, 1, 0, 1))

    def test_slow_answer(self) -> None:
        """
        The head of an answer must be complete in time, however steadily it comes.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET)
        for byte in b"HTTP/1.1 200 OK\r\nX: y":
            proxy.wait(2)
            proxy.servers[0].receive(bytes([byte]))
        proxy.wait(12)
        self.assertEqual(status(client), 504)

    def test_slow_head(self) -> None:
        """
        A request head that does not come to its end in time is a 408.
        """
        proxy = Proxy()
        client = proxy.client()
        for byte in GET[:6]:
            client.receive(bytes([byte]))
            proxy.wait(1)
        self.assertEqual(client.take(), b"")
        proxy.wait(1)
        self.assertEqual(status(client), 408)
        self.assertTrue(client.closing)

    def test_slow_body(self) -> None:
        """
        Nor a body that does not go on; the server is not to blame.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(POST + b"h")
        proxy.wait(60)
        self.assertEqual(status(client), 408)
        self.assertEqual(proxy.counted(), (1, 0, 0, 0))

    def test_idle_client(self) -> None:
        """
        A client without a request is closed in silence.
        """
        proxy = Proxy()
        fresh, used = proxy.client(), proxy.client()
        used.receive(GET)
        proxy.servers[0].receive(OK)
        used.take()
        proxy.wait(60)
        for client in (fresh, used):
            self.assertTrue(client.lost)
            self.assertEqual(client.take(), b"")

    def test_client_leaves(self) -> None:
        """
        A client that goes away aborts its request, and counts as nothing.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET)
        client.lose()
        self.assertTrue(proxy.servers[0].aborted)
        self.assertEqual(proxy.counted(), (0, 0, 0, 0))
        self.assertEqual(list(proxy.balancer.draining()), [])

    def test_client_leaves_while_connecting(self) -> None:
        """
        The same before there is a connection.
        """
        proxy = Proxy()
        proxy.automatic = False
        client = proxy.client()
        client.receive(GET)
        client.lose()
        self.assertTrue(proxy.connecting[0][1].called)
        self.assertEqual(proxy.counted(), (0, 0, 0, 0))
        self.assertEqual(proxy.connecting[0][0].active, 0)

    def test_half_closed_client(self) -> None:
        """
        A client that has said all gets its answers, and probes that tell whether it
        is still there.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET + GET)
        client.end()
        proxy.wait(1)
        self.assertEqual(client.take(), b"HTTP/1.1 100 Continue\r\n\r\n" * 2)
        for last in (False, True):
            proxy.servers[0].receive(OK)
            self.assertEqual(status(client), 200)
            self.assertEqual(client.lost, last)

    def test_client_leaves_within_its_request(self) -> None:
        """
        A request that ends early is no request.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(POST + b"h")
        client.end()
        self.assertTrue(client.lost)
        self.assertTrue(proxy.servers[0].aborted)

    def test_early_answer(self) -> None:
        """
        An answer that comes before the request is complete goes to the client; then
        both connections are closed, the client's lingering.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(POST)
        proxy.servers[0].receive(OK.replace(b"200 OK", b"413 No"))
        self.assertEqual(status(client), 413)
        self.assertTrue(proxy.servers[0].closing)
        self.assertTrue(client.closing)
        self.assertFalse(client.lost)
        client.receive(b"hello")
        proxy.wait(5)
        self.assertTrue(client.lost)

    def test_freed_at_once(self) -> None:
        """
        A connection that has ended waits for no collection of cycles.
        """
        proxy = Proxy()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        client = proxy.client()
        client.receive(GET)
        proxy.servers[0].receive(OK)
        kind = type(client.protocol)
        self.assertEqual(alive(kind), 1)
        proxy.recorded.clear()
        client.end()
        self.assertTrue(client.lost)
        client.protocol = None
        self.assertEqual(alive(kind), 0)


class PhaseTests(SynchronousTestCase):
    """
    The C{repr} of connections and exchanges.
    """

    def test_client(self) -> None:
        """
        A client connection shows its phase.
        """
        proxy = Proxy()
        client = proxy.client()
        connection = client.protocol
        seen = [repr(connection)]
        for happens in (
            lambda: client.receive(GET[:9]),
            lambda: client.receive(GET[9:]),
            lambda: proxy.servers[0].receive(OK),
            lambda: client.receive(b"nonsense\r\n\r\n"),
            client.end,
        ):
            happens()
            seen.append(repr(connection))
        phases = ["idle", "head", "exchange", "idle", "lingering", "gone"]
        self.assertEqual(seen, [f"<ClientConnection 203.0.113.9 {phase}>" for phase in phases])

    def test_server(self) -> None:
        """
        So does a server connection, and an exchange.
        """
        proxy = Proxy()
        proxy.automatic = False
        client = proxy.client()
        client.receive(GET)
        exchange = client.protocol.exchange
        seen = [repr(exchange)]
        wire = proxy.accept()
        connection = wire.protocol
        seen += [repr(exchange), repr(connection)]
        wire.receive(OK)
        seen += [repr(exchange), repr(connection)]
        wire.lingering = True
        connection.close()
        seen.append(repr(connection))
        wire.lose()
        seen.append(repr(connection))
        self.assertEqual(
            seen,
            [
                "<Exchange GET /a connecting>",
                "<Exchange GET /a sent>",
                "<ServerConnection 10.0.0.7:1 busy>",
                "<Exchange GET /a ended>",
                "<ServerConnection 10.0.0.7:1 open>",
                "<ServerConnection 10.0.0.7:1 closing>",
                "<ServerConnection 10.0.0.7:1 lost>",
            ],
        )


class LimitTests(SynchronousTestCase):
    """
    The limits on requests.
    """

    def test_body(self) -> None:
        """
        A body over the limit is a 413, declared or not.
        """
        for request in (
            POST + b"hello",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        ):
            proxy = Proxy(body_bytes=4)
            client = proxy.client()
            client.receive(request)
            self.assertEqual(status(client), 413)
            self.assertTrue(client.closing)
        proxy = Proxy(body_bytes=5)
        client = proxy.client()
        client.receive(POST + b"hello")
        self.assertEqual(len(proxy.servers), 1)

    def test_connections(self) -> None:
        """
        A client too many is told so.
        """
        proxy = Proxy(client_connections=1)
        first, second = proxy.client(), proxy.client()
        self.assertEqual(status(second), 503)
        self.assertTrue(second.closing)
        self.assertEqual(proxy.counted(), (0, 1, 0, 0))
        first.receive(GET)
        self.assertEqual(len(proxy.servers), 1)

    def test_connections_per_address(self) -> None:
        """
        So is one too many from its address, which others do not notice, nor trusted
        proxies. With one closed, there is room again.
        """
        proxy = Proxy(connections_per_address=2, trusted=("10.0.0.0/8",))
        first, _ = proxy.client("192.0.2.1"), proxy.client("192.0.2.1")
        third, other = proxy.client("192.0.2.1"), proxy.client("192.0.2.2")
        self.assertEqual(status(third), 503)
        self.assertTrue(third.closing)
        self.assertFalse(other.closing)
        self.assertFalse(any(proxy.client("10.0.0.1").closing for _ in range(5)))
        first.lose()
        self.assertFalse(proxy.client("192.0.2.1").closing)
        self.assertTrue(proxy.client("192.0.2.1").closing)

    def test_connections_per_network(self) -> None:
        """
        All addresses of an IPv6 network of 64 bits are one; an IPv4 address is the same
        in either dress.
        """
        proxy = Proxy(connections_per_address=1)
        for one, another, same in (
            ("2001:db8::1", "2001:db8::2:1", True),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
            ("192.0.2.1", "::ffff:192.0.2.1", True),
            ("192.0.2.1", "192.0.2.2", False),
        ):
            held, more = proxy.client(one), proxy.client(another)
            self.assertEqual(more.closing, same, (one, another))
            held.lose()
            more.lose()

    def test_body_rate(self) -> None:
        """
        A body that comes too slowly on average is a 408, and no fault of the server's.
        """
        for each, expected in ((499, True), (501, False)):
            proxy = Proxy(body_rate=500)
            client = proxy.client()
            client.receive(POST.replace(b" 5\r", b" 999999\r"))
            for _ in range(100):
                proxy.wait(0.5)
                if client.closing:
                    break
                client.receive(b"x" * each)
            self.assertEqual(client.closing, expected)
            if expected:
                self.assertEqual(status(client), 408)
                self.assertTrue(proxy.servers[0].aborted)
                self.assertEqual(proxy.counted(), (1, 0, 0, 0))

    def test_no_body_rate(self) -> None:
        """
        Not while there is no such limit, nor once the response has begun.
        """
        for rate, answer in ((0, b""), (500, OK[:-1])):
            proxy = Proxy(body_rate=rate)
            client = proxy.client()
            client.receive(POST.replace(b" 5\r", b" 999\r"))
            proxy.servers[0].receive(answer)
            for _ in range(50):
                proxy.wait(1)
                client.receive(b"x")
            self.assertFalse(client.closing)

    def test_body_rate_of_a_slow_server(self) -> None:
        """
        The time that the server takes is not the client's.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(POST.replace(b" 5\r", b" 999999\r"))
        for _ in range(10):
            client.receive(b"x" * 5000)
            proxy.servers[0].producer.pauseProducing()
            proxy.wait(50)
            proxy.servers[0].producer.resumeProducing()
        client.receive(b"x")
        self.assertFalse(client.closing)

    def test_requests_per_connection(self) -> None:
        """
        The last request of a connection is told so.
        """
        proxy = Proxy(requests_per_connection=2)
        client = proxy.client()
        client.receive(GET)
        proxy.servers[0].receive(OK)
        self.assertNotIn(b"Connection: close", client.take())
        client.receive(GET)
        proxy.servers[0].receive(OK)
        self.assertIn(b"Connection: close", client.take())
        self.assertTrue(client.lost)


class DrainTests(SynchronousTestCase):
    """
    Shutting down.
    """

    def test_drain(self) -> None:
        """
        Idle connections close at once, others after their response, which says so.
        """
        proxy = Proxy()
        idle, busy, reading = proxy.client(), proxy.client(), proxy.client()
        busy.receive(GET)
        reading.receive(GET[:5])
        drained = proxy.frontend.drain()
        self.assertTrue(idle.lost)
        self.assertNoResult(drained)
        proxy.servers[0].receive(OK)
        self.assertIn(b"\r\nConnection: close\r\n", busy.take())
        self.assertTrue(busy.lost)
        reading.receive(GET[5:])
        proxy.servers[-1].receive(OK)
        self.successResultOf(drained)

    def test_cut(self) -> None:
        """
        Cancelled, draining cuts what is left.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET)
        drained = proxy.frontend.drain()
        drained.cancel()
        self.failureResultOf(drained)
        self.assertTrue(client.aborted)
        self.assertTrue(proxy.servers[0].aborted)
        self.assertEqual(proxy.counted(), (0, 1, 0, 0))

    def test_nothing_to_drain(self) -> None:
        """
        Without connections, there is nothing to wait for.
        """
        self.successResultOf(Proxy().frontend.drain())
