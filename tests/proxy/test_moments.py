"""
Tests for what ends, or speaks, at an awkward moment, and for who is waited for; on a fake
network.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from alacrity.config import RetrySettings
from alacrity.http1.forwarding import goes_round
from alacrity.net.turns import LARGE_READ, LARGE_READS_PER_TURN
from alacrity.pool import Change, State
from alacrity.proxy.upstream.connection import ServerConnection
from tests.proxy.exchange.test_tunnel import SWITCH, UPGRADE
from tests.support.wire import Proxy, Wire, server

GET = b"GET /a HTTP/1.1\r\nHost: example.org\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def statuses(wire: Wire) -> list[int]:
    """
    The statuses of the responses that were sent.
    """
    return [int(each[:3]) for each in wire.take().split(b"HTTP/1.1 ")[1:]]


class AcceptedTests(SynchronousTestCase):
    """
    Servers that end the connection, or speak, before they are given a request.
    """

    def connection(self, happens: Callable[[Wire], None], *, ports: tuple[int, ...]) -> Proxy:
        """
        A proxy with one request, to whose first connection something happens between its
        being made and its being used.
        """
        proxy = Proxy(*(server(port) for port in ports))
        proxy.automatic = False
        self.client = proxy.client()
        self.client.receive(GET)
        upstream, connected = proxy.connecting.pop(0)
        wire = proxy.made(upstream)
        happens(wire)
        connected.callback(wire.protocol)
        return proxy

    MOMENTS: tuple[Callable[[Wire], None], ...] = (
        lambda wire: wire.end(),
        lambda wire: wire.lose(ConnectionDone()),
        lambda wire: wire.lose(ConnectionLost()),
        lambda wire: wire.receive(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"),
        lambda wire: wire.receive(b"SSH-2.0-OpenSSH\r\n"),
    )

    def test_alone(self) -> None:
        """
        With no other server, the answer is a 502 at once.
        """
        for happens in self.MOMENTS:
            proxy = self.connection(happens, ports=(1,))
            self.assertEqual(statuses(self.client), [502])
            self.assertEqual(proxy.counted(), (0, 1, 0, 1))
            self.assertEqual([wire.sent for wire in proxy.servers], [b""])

    def test_another(self) -> None:
        """
        Else the request goes to the next, as nothing was sent.
        """
        for happens in self.MOMENTS:
            proxy = self.connection(happens, ports=(1, 2))
            wire = proxy.accept()
            self.assertTrue(wire.take().startswith(b"GET /a "))
            wire.receive(OK)
            self.assertEqual(statuses(self.client), [200])
            self.assertEqual(proxy.counted(), (1, 0, 1, 1))


class EarlyAnswerTests(SynchronousTestCase):
    """
    Answers that come before the request is complete, and faults in their first packet.
    """

    def test_lingering(self) -> None:
        """
        A client that goes on sending is read from, 5 s after each piece, 30 s in all.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(POST.replace(b"5", b"500"))
        proxy.servers[0].receive(OK.replace(b"200 OK", b"413 No"))
        self.assertEqual(statuses(client), [413])
        began = proxy.clock.seconds()
        while not client.lost:
            client.receive(b"x")
            proxy.wait(4)
        self.assertTrue(client.aborted)
        self.assertTrue(25 <= proxy.clock.seconds() - began <= 35)

    def test_lingering_as_the_proxy_stops(self) -> None:
        """
        Nobody waits for long for a client that was answered.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(b"nonsense\r\n\r\n")
        drained = proxy.frontend.drain()
        for _ in range(4):
            if not client.lost:
                client.receive(b"x")
            proxy.wait(0.25)
        self.successResultOf(drained)

    def test_lingering_ends(self) -> None:
        """
        One that ends is closed at once.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(b"nonsense\r\n\r\n")
        client.receive(b"x" * 100000)
        self.assertFalse(client.lost)
        client.end()
        self.assertTrue(client.lost)
        self.assertFalse(client.aborted)

    def test_refusal_that_ends_with_a_reset(self) -> None:
        """
        A refusal without a length ends with the reset that the unread body causes; another
        response, or one with a length, is incomplete.
        """
        refusal = b"HTTP/1.1 413 No\r\n\r\nlong"
        for request, response, complete in (
            (POST.replace(b"5", b"500"), refusal, True),
            (POST.replace(b"5", b"500"), b"HTTP/1.1 413 No\r\nContent-Length: 9\r\n\r\nx", False),
            (POST.replace(b"5", b"500"), STREAM.replace(b"200", b"413") + b"1\r\nx\r\n", False),
            (POST.replace(b"5", b"500"), b"HTTP/1.1 200 OK\r\n\r\nlong", False),
            (GET, refusal, False),
        ):
            proxy = Proxy()
            client = proxy.client()
            client.receive(request)
            proxy.servers[0].receive(response)
            proxy.servers[0].lose(ConnectionLost())
            self.assertEqual(client.aborted, not complete, response)
            self.assertEqual(client.take().endswith(b"4\r\nlong\r\n0\r\n\r\n"), complete)

    def test_fault_beside_the_head(self) -> None:
        """
        A response whose first packet is at fault is a 502, as nothing was relayed.
        """
        for body in (b"x\r\n", b"5\r\nhello!\r\n", b"2\r\nhi\r\n-1\r\n", b"1;" + b"x" * 9000):
            proxy = Proxy()
            client = proxy.client()
            client.receive(GET)
            proxy.servers[0].receive(STREAM + body)
            self.assertEqual(statuses(client), [502], body[:20])
            self.assertFalse(client.aborted)
            self.assertTrue(proxy.servers[0].aborted)
            self.assertEqual(proxy.counted(), (0, 1, 0, 1))
            ((exchange, _),) = proxy.recorded
            self.assertIn("chunk", exchange.reason)
            client.receive(GET)
            proxy.servers[1].receive(OK)
            self.assertEqual(statuses(client), [200])

    def test_fault_after_the_head(self) -> None:
        """
        In a later packet, the client's connection breaks.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET)
        proxy.servers[0].receive(STREAM + b"2\r\nhi\r\n")
        proxy.servers[0].receive(b"nonsense")
        self.assertTrue(client.aborted)


class PartyTests(SynchronousTestCase):
    """
    The party that is waited for, and is at fault if nothing comes.
    """

    def ends(self, proxy: Proxy, client: Wire, seconds: int) -> None:
        """
        Assert that nothing is decided for so long, and then it is.
        """
        proxy.wait(seconds - 2)
        self.assertEqual(client.sent, b"")
        proxy.wait(2)
        self.assertNotEqual(client.sent, b"")

    def test_client_before_its_first_byte(self) -> None:
        """
        A client that sends no byte of its body is late by its own time limit.
        """
        for head in (POST, CHUNKED, POST.replace(b"POST", b"PUT")):
            proxy = Proxy(client_idle=10.0, server_response=60.0)
            client = proxy.client()
            client.receive(head)
            self.ends(proxy, client, 10)
            self.assertEqual(statuses(client), [408])
            self.assertEqual(proxy.counted(), (1, 0, 0, 0))

    def test_client_in_its_body(self) -> None:
        """
        Nor one that stops, whoever was slow before.
        """
        proxy = Proxy(client_idle=10.0, server_response=60.0)
        client = proxy.client()
        client.receive(POST + b"he")
        proxy.servers[0].producer.pauseProducing()
        proxy.wait(20)
        proxy.servers[0].producer.resumeProducing()
        self.ends(proxy, client, 10)
        self.assertEqual(statuses(client), [408])
        self.assertEqual(proxy.counted(), (1, 0, 0, 0))

    def test_server_that_does_not_read(self) -> None:
        """
        A server that takes no more of a body is late by its own.
        """
        proxy = Proxy(client_idle=10.0, server_response=20.0)
        client = proxy.client()
        client.receive(POST + b"he")
        proxy.servers[0].producer.pauseProducing()
        self.ends(proxy, client, 20)
        self.assertEqual(statuses(client), [504])
        self.assertEqual(proxy.counted(), (0, 1, 0, 1))

    def test_server_asked_to_say_continue(self) -> None:
        """
        So is one that does not say whether the client may go on.
        """
        for expect in (b"Expect: 100-continue", b"expect:100-Continue"):
            proxy = Proxy(client_idle=10.0, server_response=20.0)
            client = proxy.client()
            client.receive(POST[:-2] + expect + b"\r\n\r\n")
            self.ends(proxy, client, 20)
            self.assertEqual(statuses(client), [504])
            self.assertEqual(proxy.counted(), (0, 1, 0, 1))

    def test_client_told_to_continue(self) -> None:
        """
        Told to go on, it is the client that is waited for; a server that is silent in the
        end is late again.
        """
        for then, status in ((b"", 408), (b"hello", 504)):
            proxy = Proxy(client_idle=10.0, server_response=20.0)
            client = proxy.client()
            client.receive(POST[:-2] + b"Expect: 100-continue\r\n\r\n")
            proxy.wait(12)
            proxy.servers[0].receive(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.assertEqual(statuses(client), [100])
            if then:
                client.receive(then)
            self.ends(proxy, client, 10 if status == 408 else 20)
            self.assertEqual(statuses(client), [status])


class HalfClosedTests(SynchronousTestCase):
    """
    Clients that have sent all that they will: each time limit holds as for others.
    """

    def half_closed(self, **settings: Any) -> tuple[Proxy, Wire]:
        """
        A client that ends after its request, which a server has.
        """
        proxy = Proxy(**settings)
        client = proxy.client()
        client.receive(GET)
        client.end()
        client.take()
        return proxy, client

    def test_server_stalls(self) -> None:
        """
        A server that stops within a response, whatever its framing, is late.
        """
        for begun in (OK[:-1], STREAM + b"2\r\nhi\r\n"):
            proxy, client = self.half_closed(server_response=5.0)
            proxy.servers[0].receive(begun)
            proxy.wait(3)
            self.assertFalse(client.aborted)
            proxy.wait(3)
            self.assertTrue(client.aborted)
            self.assertEqual(proxy.counted(), (0, 1, 0, 1))

    def test_server_silent(self) -> None:
        """
        So is one that does not begin.
        """
        proxy, client = self.half_closed(server_response=5.0)
        proxy.wait(3)
        self.assertEqual(statuses(client), [100])
        proxy.wait(3)
        self.assertEqual(statuses(client), [504])

    def test_client_does_not_read(self) -> None:
        """
        A client that does not read is dropped.
        """
        proxy, client = self.half_closed(client_idle=5.0, response_rate=0)
        client.unacknowledged = 9
        proxy.servers[0].receive(OK[:-1])
        client.producer.pauseProducing()
        proxy.wait(12)
        self.assertTrue(client.aborted)
        self.assertEqual(proxy.counted(), (0, 1, 0, 0))

    def test_before_there_is_a_server(self) -> None:
        """
        A connection that is not made goes by its own limit.
        """
        proxy = Proxy(connect=3.0, server_response=60.0)
        proxy.automatic = False
        client = proxy.client()
        client.receive(GET)
        client.end()
        cancelled: list[object] = []
        proxy.connecting[0][1].addErrback(cancelled.append)
        proxy.wait(4)
        self.assertEqual(statuses(client)[-1:], [502])


class SlowReaderTests(SynchronousTestCase):
    """
    Clients that read slowly.
    """

    def reading(self, proxy: Proxy, unsent: int) -> Wire:
        """
        A client that has stopped to read within a response.
        """
        client = proxy.client()
        client.receive(GET)
        proxy.servers[0].receive(OK[:-1])
        client.unacknowledged = unsent
        client.producer.pauseProducing()
        return client

    def test_steady(self) -> None:
        """
        One that takes enough is not dropped, however long it takes.
        """
        proxy = Proxy()
        client = self.reading(proxy, 4000000)
        for _ in range(60):
            client.unacknowledged -= 1000 * 60  # type: ignore[operator]
            proxy.wait(60)
        self.assertFalse(client.aborted)
        client.producer.resumeProducing()
        proxy.servers[0].receive(OK[-1:])
        self.assertEqual(proxy.counted(), (1, 0, 1, 0))

    def test_in_lumps(self) -> None:
        """
        Its system may take nothing for minutes, and then much.
        """
        proxy = Proxy()
        client = self.reading(proxy, 4000000)
        for _ in range(30):
            proxy.wait(95)
            client.unacknowledged -= 95232  # type: ignore[operator]
        self.assertFalse(client.aborted)

    def test_too_slow(self) -> None:
        """
        One that takes too little, or nothing, is dropped; nobody else is to blame.
        """
        for taken in (0, 100):
            proxy = Proxy()
            client = self.reading(proxy, 4000000)
            for _ in range(30):
                client.unacknowledged -= taken * 10  # type: ignore[operator]
                proxy.wait(10)
            self.assertTrue(client.aborted)
            self.assertEqual(proxy.counted(), (0, 1, 0, 0))
            self.assertIn("too little", proxy.recorded[0][0].reason)

    def test_its_own_limit(self) -> None:
        """
        It goes by its own limit, whatever the server's is.
        """
        for server_response, client_idle in ((5.0, 60.0), (300.0, 10.0)):
            proxy = Proxy(server_response=server_response, client_idle=client_idle, response_rate=0)
            client = proxy.client()
            client.receive(GET)
            client.fills = True
            proxy.servers[0].receive(OK[:-1])
            proxy.wait(client_idle - 3)
            self.assertFalse(client.aborted)
            proxy.wait(4)
            self.assertTrue(client.aborted)

    def test_any_rate(self) -> None:
        """
        Without a least rate, it has to take something within C{client_idle}.
        """
        proxy = Proxy(response_rate=0)
        client = self.reading(proxy, 4000000)
        for _ in range(10):
            client.unacknowledged -= 1  # type: ignore[operator]
            proxy.wait(60)
        self.assertFalse(client.aborted)
        proxy.wait(61)
        self.assertTrue(client.aborted)

    def test_at_the_end(self) -> None:
        """
        The rest of a response that is written is not cut off either.
        """
        proxy = Proxy(requests_per_connection=1)
        client = proxy.client()
        client.receive(GET)
        client.lingering = True
        client.unacknowledged = 60000
        proxy.servers[0].receive(OK)
        self.assertTrue(client.closing)
        for _ in range(10):
            proxy.wait(10)
            client.unacknowledged -= 6000 - 1
        self.assertFalse(client.aborted)
        proxy.wait(300)
        self.assertTrue(client.aborted)


class LeavingTests(SynchronousTestCase):
    """
    Servers that leave the pool, and clients that go away.
    """

    def test_tunnel(self) -> None:
        """
        A tunnel of a server that was removed has C{timeouts.drain} to end.
        """
        proxy = Proxy(drain=30.0)
        client = proxy.client()
        client.receive(UPGRADE)
        proxy.servers[0].receive(SWITCH)
        proxy.balancer.changed(Change(server(), None))
        proxy.wait(27)
        self.assertFalse(client.closing)
        client.receive(b"x")
        proxy.wait(3)
        self.assertTrue(client.closing)
        self.assertEqual(list(proxy.balancer.draining()), [])

    def test_exchange(self) -> None:
        """
        So has a request; what has begun breaks off, what has not is refused.
        """
        for begun in (False, True):
            proxy = Proxy(drain=30.0, server_response=600.0)
            client = proxy.client()
            client.receive(GET)
            if begun:
                proxy.servers[0].receive(STREAM)
                client.take()
            proxy.balancer.changed(Change(server(), None))
            proxy.wait(27)
            self.assertEqual((client.sent, client.lost), (b"", False))
            proxy.wait(3)
            self.assertEqual(client.aborted, begun)
            self.assertEqual(statuses(client), [] if begun else [503])
            self.assertEqual(list(proxy.balancer.draining()), [])

    def test_connecting(self) -> None:
        """
        Also one whose connection was being made as the server left.
        """
        proxy = Proxy(drain=30.0, server_response=600.0)
        proxy.automatic = False
        client = proxy.client()
        client.receive(GET)
        proxy.balancer.changed(Change(server(), None))
        wire = proxy.accept()
        self.assertTrue(wire.take().startswith(b"GET "))
        proxy.wait(30)
        self.assertEqual(statuses(client), [503])

    def test_down(self) -> None:
        """
        A server that is down, and in the pool, goes on with what it has.
        """
        proxy = Proxy(drain=30.0, server_response=600.0)
        client = proxy.client()
        client.receive(GET)
        proxy.balancer.changed(Change(server(), server(state=State.DOWN)))
        proxy.wait(100)
        proxy.servers[0].receive(OK)
        self.assertEqual(statuses(client), [200])

    def test_client_gone_within_events(self) -> None:
        """
        A client that ends within a response without a length is asked for a sign of life
        that means nothing; gone, its exchange ends, and the server is not to blame.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET)
        wire = proxy.servers[0]
        wire.receive(STREAM + b"5\r\ndata\n\r\n")
        client.take()
        client.end()
        self.assertEqual(client.take(), b"0")
        proxy.wait(0.5)
        self.assertEqual(client.take(), b"0")
        client.lose(ConnectionLost())
        self.assertTrue(wire.aborted)
        self.assertEqual(proxy.counted(), (0, 0, 0, 0))

    def test_client_half_closed_within_events(self) -> None:
        """
        One that is there gets the rest: a size may have leading zeros.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET)
        wire = proxy.servers[0]
        wire.receive(STREAM)
        client.take()
        client.end()
        proxy.wait(1)
        wire.receive(b"2\r\nhi\r\n0\r\n\r\n")
        self.assertEqual(client.take(), b"002\r\nhi\r\n0\r\n\r\n")
        self.assertEqual(proxy.counted(), (1, 0, 1, 0))

    def test_no_probe_in_a_counted_body(self) -> None:
        """
        In a body with a length there is no place for a sign of life.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET)
        proxy.servers[0].receive(OK[:-1])
        client.take()
        client.end()
        proxy.wait(2)
        self.assertEqual(client.sent, b"")
        proxy.servers[0].receive(OK[-1:])
        self.assertEqual(client.take(), b"i")


NTLM = b"Authorization: NTLM TlRMTVNTUAAB\r\n"


class ReuseTests(SynchronousTestCase):
    """
    The reuse of server connections, by the same client and by others.
    """

    def ask(self, proxy: Proxy, client: Wire, request: bytes, answer: bytes = OK) -> Wire:
        """
        Have a request answered; the connection that it went by.
        """
        client.receive(request)
        (wire,) = (each for each in proxy.servers if each.take())
        wire.receive(answer)
        client.take()
        return wire

    def test_content_of_methods_without(self) -> None:
        """
        A server may not have read the content of a request that has none by its method.
        """
        for method in (b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"PURGE"):
            for body in (
                b"Content-Length: 2\r\n\r\nhi",
                b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            ):
                proxy = Proxy()
                client = proxy.client()
                answer = OK[:-2] if method == b"HEAD" else OK
                wire = self.ask(
                    proxy, client, method + b" / HTTP/1.1\r\nHost: a\r\n" + body, answer
                )
                self.assertTrue(wire.closing, method)
                self.assertFalse(client.closing, method)
        for method in (b"POST", b"PUT", b"PATCH", b"PROPFIND", b"QUERY"):
            proxy = Proxy()
            wire = self.ask(
                proxy,
                proxy.client(),
                method + b" / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
            )
            self.assertFalse(wire.closing, method)

    def test_login_by_request(self) -> None:
        """
        A connection on which a client logs in is that client's alone, and goes with it.
        """
        for line in (NTLM, b"authorization:negotiate YII\r\n", b"Authorization: Negotiate\r\n"):
            proxy = Proxy()
            client, other = proxy.client(), proxy.client()
            wire = self.ask(proxy, client, GET[:-2] + line + b"\r\n")
            self.assertIsNot(self.ask(proxy, other, GET), wire)
            self.assertIs(self.ask(proxy, client, GET), wire)
            self.assertFalse(wire.closing)
            client.lose(ConnectionDone())
            self.assertTrue(wire.closing)
        proxy = Proxy()
        wire = self.ask(proxy, proxy.client(), GET[:-2] + b"Authorization: Basic NTLM\r\n\r\n")
        self.assertIs(self.ask(proxy, proxy.client(), GET), wire)

    def test_login_by_response(self) -> None:
        """
        So is one whose server asks for such a login.
        """
        for line in (
            b"WWW-Authenticate: NTLM\r\n",
            b"WWW-Authenticate: Basic realm=x\r\nwww-authenticate: Negotiate\r\n",
            b'WWW-Authenticate: Basic realm="x", Negotiate\r\n',
        ):
            proxy = Proxy()
            client = proxy.client()
            answer = b"HTTP/1.1 401 No\r\n" + line + b"Content-Length: 0\r\n\r\n"
            client.receive(GET)
            proxy.servers[0].take()
            proxy.servers[0].receive(answer)
            sent = client.take().lower()
            for each in line.lower().splitlines():
                self.assertIn(each, sent)
            self.assertIsNot(self.ask(proxy, proxy.client(), GET), proxy.servers[0])
            self.assertIs(self.ask(proxy, client, GET[:-2] + NTLM + b"\r\n"), proxy.servers[0])

    def test_login_goes_on_as_it_came(self) -> None:
        """
        The field goes on to the server, and its connection stays with one server of many.
        """
        proxy = Proxy(server(1), server(2))
        client = proxy.client()
        client.receive(GET[:-2] + NTLM + b"\r\n")
        self.assertIn(NTLM, proxy.servers[0].sent)
        wire = proxy.servers[0]
        wire.take()
        wire.receive(OK)
        for _ in range(3):
            self.assertIs(self.ask(proxy, client, GET), wire)

    def test_login_lost(self) -> None:
        """
        A connection that its server closes, or whose server goes down or leaves, is not
        used again.
        """
        for happens in (
            lambda proxy, wire: wire.lose(ConnectionDone()),
            lambda proxy, wire: proxy.balancer.changed(Change(server(), None)),
            lambda proxy, wire: wire.receive(b"x"),
        ):
            proxy = Proxy(server(1), server(2))
            client = proxy.client()
            wire = self.ask(proxy, client, GET[:-2] + NTLM + b"\r\n")
            happens(proxy, wire)
            self.assertIsNot(self.ask(proxy, client, GET), wire)
            self.assertTrue(wire.lost)

    def test_order_of_logins(self) -> None:
        """
        The schemes that a server offers go on in their order (RFC 9110 5.3).
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET)
        offered = b"WWW-Authenticate: Negotiate\r\nwww-authenticate: NTLM\r\nX: y\r\n"
        offered += b"WWW-Authenticate: Basic realm=x\r\n"
        proxy.servers[0].receive(b"HTTP/1.1 401 No\r\n" + offered + b"Content-Length: 0\r\n\r\n")
        self.assertIn(offered, client.take())

    def test_login_with_an_upgrade(self) -> None:
        """
        A login may come before an upgrade, on one connection.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(UPGRADE)
        proxy.servers[0].take()
        proxy.servers[0].receive(
            b"HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n"
        )
        client.receive(UPGRADE[:-2] + NTLM + b"\r\n")
        self.assertIn(NTLM, proxy.servers[0].take())

    def test_dead(self) -> None:
        """
        A connection that is about to be lost is not used again, nor one that was dropped.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET)
        wire = proxy.servers[0]
        wire.take()
        wire.disconnecting = True
        wire.receive(OK)
        self.assertIsNot(self.ask(proxy, client, GET), wire)
        proxy = Proxy()
        wire = self.ask(proxy, proxy.client(), GET)
        wire.protocol.abort()
        self.assertIsNot(self.ask(proxy, proxy.client(), GET), wire)

    def test_private_and_idle(self) -> None:
        """
        Private connections are kept no longer than others, but for a login, and make room
        as others do.
        """
        for happens in (lambda proxy: proxy.wait(31), lambda proxy: proxy.balancer.close_idle()):
            proxy = Proxy(reuse="never")
            wire = self.ask(proxy, proxy.client(), GET)
            self.assertFalse(wire.closing)
            happens(proxy)
            self.assertTrue(wire.closing)
        proxy = Proxy()
        wire = self.ask(proxy, proxy.client(), GET[:-2] + NTLM + b"\r\n")
        proxy.wait(31)
        self.assertFalse(wire.closing)
        proxy.balancer.close_idle()
        self.assertTrue(wire.closing)

    def test_safe(self) -> None:
        """
        With C{safe}, the first request of a connection goes by a new one.
        """
        proxy = Proxy(reuse="safe")
        first = self.ask(proxy, proxy.client(), GET)
        client = proxy.client()
        second = self.ask(proxy, client, GET)
        self.assertIsNot(first, second)
        self.assertIn(self.ask(proxy, client, GET), (first, second))

    def test_never(self) -> None:
        """
        With C{never}, each client has connections of its own, to each server.
        """
        proxy = Proxy(server(1), server(2), reuse="never")
        client, other = proxy.client(), proxy.client()
        wires = [self.ask(proxy, client, GET) for _ in range(4)]
        self.assertEqual(wires[:2], wires[2:])
        others = [self.ask(proxy, other, GET) for _ in range(2)]
        self.assertEqual(len({id(wire) for wire in wires + others}), 4)
        client.lose(ConnectionDone())
        self.assertEqual([wire.closing for wire in wires[:2] + others], [True, True, False, False])


class ShortageTests(SynchronousTestCase):
    """
    A shortage of this node is no server's failure.
    """

    def asked(self, *codes: int) -> tuple[Proxy, Wire]:
        """
        A request, when connections to the servers fail by these errors in turn.
        """
        failures = list(codes)

        def connect(upstream: object) -> Deferred[ServerConnection]:
            failed: Deferred[ServerConnection] = Deferred()
            error = ConnectError(failures.pop(0), "so it is")
            failed.errback(Failure(error))
            return failed

        proxy = Proxy(*(server(port) for port in range(1, len(codes) + 1)), connector=connect)
        client = proxy.client()
        client.receive(GET)
        return proxy, client

    def test_nothing_left(self) -> None:
        """
        Without descriptors or memory no other server could be asked: 503 at once.
        """
        for code in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            proxy, client = self.asked(code, errno.ECONNREFUSED)
            self.assertIn(b"\r\nRetry-After: ", client.sent)
            self.assertEqual(statuses(client), [503])
            self.assertEqual(proxy.counted(), (0, 1, 0, 0))
            self.assertIn("this node is short", proxy.recorded[0][0].reason)

    def test_ports(self) -> None:
        """
        Ports towards one server may be used up, and left towards another.
        """
        proxy, client = self.asked(errno.EADDRNOTAVAIL, errno.EADDRNOTAVAIL)
        self.assertEqual(statuses(client), [503])
        self.assertEqual(proxy.counted(), (0, 1, 0, 0))
        proxy, client = self.asked(errno.EADDRNOTAVAIL, errno.ECONNREFUSED)
        self.assertEqual(statuses(client), [503])
        self.assertEqual(proxy.counted(), (0, 1, 0, 1))
        proxy, client = self.asked(errno.ECONNREFUSED, errno.ECONNREFUSED)
        self.assertEqual(statuses(client), [502])


class LoopTests(SynchronousTestCase):
    """
    Requests that go round.
    """

    def test_via(self) -> None:
        """
        A request that came by here too often is a 508; proxies in a row are none.
        """
        for via, status in (
            ("1.1 alacrity, 1.1 alacrity, 1.1 alacrity", 508),
            ("1.1 alacrity\r\nVia: 1.0 x, HTTP/1.1 alacrity (a)\r\nvia:1.1\talacrity", 508),
            ("1.1 alacrity, 1.1 alacrity", 200),
            ("1.1 alacrity2, 1.1 x-alacrity, 1.0 fred, 1.1 p.example", 200),
        ):
            proxy = Proxy()
            client = proxy.client()
            client.receive(b"GET / HTTP/1.1\r\nHost: a\r\nVia: %b\r\n\r\n" % via.encode())
            for wire in proxy.servers:
                wire.receive(OK)
            self.assertEqual(statuses(client), [status], via)
            self.assertEqual(len(proxy.servers), status == 200)

    def test_odd(self) -> None:
        """
        Any value can be asked of.
        """
        for via in (b"", b",", b" , \t,", b"alacrity", b"1.1", b"(1.1 alacrity"):
            self.assertFalse(goes_round(via, b"alacrity"))


class TurnTests(SynchronousTestCase):
    """
    How much one connection may have done in one turn of the loop.
    """

    TINY = b"1\r\na\r\n"

    def test_request_body(self) -> None:
        """
        A body in tiny chunks goes on in parts, a turn each, and is not read from meanwhile.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(CHUNKED + self.TINY * 10000)
        wire = proxy.servers[0]
        sent = wire.take().partition(b"\r\n\r\n")[2]
        self.assertLess(len(sent), 10000)
        self.assertFalse(client.reading)
        pieces = 1
        while not client.reading:
            proxy.turn_once()
            pieces += bool(wire.take())
        self.assertGreater(pieces, 3)
        client.receive(b"0\r\n\r\n")
        wire.receive(OK)
        self.assertEqual(statuses(client), [200])

    def test_request_body_while_the_server_is_full(self) -> None:
        """
        The parts wait for the server, too.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(CHUNKED + self.TINY * 10000 + b"0\r\n\r\n" + GET)
        wire = proxy.servers[0]
        wire.take()
        wire.producer.pauseProducing()
        proxy.turn()
        self.assertEqual(wire.take(), b"")
        wire.producer.resumeProducing()
        proxy.turn()
        self.assertTrue(wire.take().endswith(b"\r\n0\r\n\r\n"))
        wire.receive(OK)
        self.assertEqual(statuses(client), [200])
        self.assertTrue(wire.take().startswith(b"GET "))

    def test_response_body(self) -> None:
        """
        So does a response, which ends as it should.
        """
        for last in (b"0\r\n\r\n", b""):
            proxy = Proxy()
            client = proxy.client()
            client.receive(GET)
            wire = proxy.servers[0]
            wire.receive(STREAM + self.TINY * 10000 + last)
            self.assertFalse(wire.reading)
            self.assertLess(len(client.sent), 10000)
            proxy.turn()
            self.assertTrue(wire.reading)
            if not last:
                wire.receive(b"0\r\n\r\n")
            self.assertTrue(client.take().endswith(b"\r\n0\r\n\r\n"))
            self.assertEqual(proxy.counted(), (1, 0, 1, 0))
            self.assertFalse(wire.closing)

    def test_response_body_while_the_client_is_full(self) -> None:
        """
        The parts wait for the client, too.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET)
        wire = proxy.servers[0]
        wire.receive(STREAM + self.TINY * 10000 + b"0\r\n\r\n")
        client.producer.pauseProducing()
        client.take()
        proxy.turn()
        self.assertEqual(client.take(), b"")
        client.producer.resumeProducing()
        proxy.turn()
        self.assertTrue(client.take().endswith(b"\r\n0\r\n\r\n"))
        self.assertEqual(proxy.counted(), (1, 0, 1, 0))

    def test_response_then_lost(self) -> None:
        """
        A connection that is lost meanwhile has brought what it brought.
        """
        for last, counted in ((b"0\r\n\r\n", (1, 0, 1, 0)), (b"", (0, 1, 0, 1))):
            proxy = Proxy()
            client = proxy.client()
            client.receive(GET)
            wire = proxy.servers[0]
            wire.receive(STREAM + self.TINY * 10000 + last)
            wire.lose(ConnectionLost())
            self.assertEqual(proxy.counted(), counted)
            self.assertEqual(client.aborted, not last)
            proxy.turn()
            self.assertEqual(list(proxy.balancer.upstream("10.0.0.7:1").idle), [])  # type: ignore[union-attr]

    def test_large_reads(self) -> None:
        """
        After some large reads a connection waits for its turn, whatever they are: a body, a
        response, what is thrown away, what goes through a tunnel.
        """
        large = b"x" * LARGE_READ
        proxy = Proxy()
        body = proxy.client()
        body.receive(POST.replace(b"5", b"%d" % (LARGE_READ * 99)))
        reader = proxy.client()
        reader.receive(GET)
        response = proxy.servers[1]
        response.receive(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (LARGE_READ * 99))
        refused = proxy.client()
        refused.receive(b"nonsense\r\n\r\n")
        tunnel = proxy.client()
        tunnel.receive(UPGRADE)
        proxy.servers[2].receive(SWITCH)
        for wire in (body, response, refused, tunnel, proxy.servers[2]):
            for _ in range(3):
                for _ in range(LARGE_READS_PER_TURN):
                    self.assertTrue(wire.reading)
                    wire.receive(large)
                self.assertFalse(wire.reading)
                proxy.turn()
            self.assertTrue(wire.reading)

    def test_large_reads_of_who_is_held_up(self) -> None:
        """
        Its turn does not have it read on where the other side takes nothing.
        """
        large = b"x" * LARGE_READ
        proxy = Proxy()
        client = proxy.client()
        client.receive(UPGRADE)
        wire = proxy.servers[0]
        wire.receive(SWITCH)
        for _ in range(LARGE_READS_PER_TURN):
            client.receive(large)
        wire.producer.pauseProducing()
        proxy.turn()
        self.assertFalse(client.reading)
        wire.producer.resumeProducing()
        self.assertTrue(client.reading)
        proxy = Proxy()
        client = proxy.client()
        client.receive(POST.replace(b"5", b"%d" % (LARGE_READ * 99)))
        for _ in range(LARGE_READS_PER_TURN):
            client.receive(large)
        proxy.servers[0].producer.pauseProducing()
        proxy.turn()
        self.assertFalse(client.reading)
        proxy.servers[0].producer.resumeProducing()
        self.assertTrue(client.reading)

    def test_server_lost_while_it_is_full(self) -> None:
        """
        A client that waited for a server is read from again when that is gone, whether its
        next request has come already or not.
        """
        for more in (b"", GET):
            proxy = Proxy(retries=RetrySettings(on=()))
            client = proxy.client()
            client.receive(GET + more)
            proxy.servers[0].producer.pauseProducing()
            self.assertFalse(client.reading)
            proxy.servers[0].lose(ConnectionLost())
            self.assertEqual(statuses(client), [502])
            if more:
                proxy.servers[1].receive(OK)
                self.assertEqual(statuses(client), [200])
            client.receive(GET)
            proxy.servers[-1].receive(OK)
            self.assertEqual(statuses(client), [200])

    def test_body_for_another_server(self) -> None:
        """
        A client that waited for a server to be connected to is read from again when its
        request goes to another one, over a connection that was kept.
        """
        proxy = Proxy(server(1), server(2))
        client = proxy.client()
        for port in (1, 2):
            client.receive(GET)
            proxy.servers[port - 1].receive(OK)
        proxy.servers[0].lose(ConnectionDone())
        proxy.refusing.add(1)
        proxy.servers[1].take()
        client.receive(POST)
        self.assertTrue(proxy.servers[1].take().startswith(b"POST /"))
        client.receive(b"hello")
        self.assertEqual(proxy.servers[1].take(), b"hello")
        proxy.servers[1].receive(OK)
        self.assertEqual(statuses(client), [200, 200, 200])

    def test_server_full_at_once(self) -> None:
        """
        A client is read from when its server has taken what came of the request before there
        was a connection, and not as soon as there is one.
        """
        proxy = Proxy()
        proxy.automatic = False
        client = proxy.client()
        client.receive(POST.replace(b"5", b"500000") + b"x" * 100000)
        upstream, connected = proxy.connecting.pop(0)
        wire = proxy.made(upstream)
        wire.fills = True
        connected.callback(wire.protocol)
        self.assertFalse(client.reading)
        wire.producer.resumeProducing()
        client.receive(b"x" * 100000)
        self.assertEqual(wire.take().count(b"x"), 200000)

    def test_turn_of_a_dropped_connection(self) -> None:
        """
        A connection that was dropped is not read from in its turn, though its end is told
        later.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET)
        (wire,) = proxy.servers
        self.patch(wire, "abortConnection", lambda: None)
        wire.receive(STREAM + self.TINY * 10000)
        self.assertFalse(wire.reading)
        client.lose()
        proxy.turn()
        self.assertFalse(wire.reading)

    def test_client_full_at_once(self) -> None:
        """
        A server is not read from when its client takes no more already, as it got a probe
        while the connection was made.
        """
        proxy = Proxy()
        proxy.automatic = False
        client = proxy.client()
        client.receive(GET)
        client.fills = True
        client.end()
        wire = proxy.accept()
        self.assertFalse(wire.reading)
        client.producer.resumeProducing()
        wire.receive(OK)
        self.assertEqual(statuses(client), [100, 200])

    def test_requests_behind_a_broken_response(self) -> None:
        """
        A request that waits for its turn is dropped with the connection, though the end of
        that is told later.
        """
        proxy = Proxy()
        client = proxy.client()
        self.patch(client, "abortConnection", lambda: None)
        client.receive(GET)
        proxy.servers[0].receive(OK[:-1])
        proxy.turns.add(lambda: None)
        client.receive(POST.replace(b"5", b"5000") + b"x" * 5000)
        proxy.servers[0].lose(ConnectionLost())
        proxy.turn()
        self.assertEqual(len(proxy.servers), 1)
        self.assertFalse(client.reading)
        client.lose()
        self.assertEqual(proxy.counted(), (0, 1, 0, 1))

    def test_server_lost_while_the_client_is_full(self) -> None:
        """
        A connection that is lost while it is held up ends the response in its way.
        """
        for last, counted in ((b"", (1, 0, 1, 0)), (b"Content-Length: 9\r\n", (0, 1, 0, 1))):
            proxy = Proxy()
            client = proxy.client()
            client.receive(GET)
            wire = proxy.servers[0]
            wire.receive(b"HTTP/1.1 200 OK\r\n" + last + b"\r\nhi")
            client.producer.pauseProducing()
            wire.lose(ConnectionDone())
            self.assertEqual(proxy.counted(), counted)
            self.assertEqual(client.aborted, bool(last))

    def test_client_lost(self) -> None:
        """
        A client that is lost meanwhile leaves nothing to do.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(CHUNKED + self.TINY * 10000)
        client.lose(ConnectionLost())
        proxy.turn()
        self.assertTrue(proxy.servers[0].aborted)

    def test_stall(self) -> None:
        """
        Input that is late because of a stall gets one more sweep's time to come.
        """
        proxy = Proxy(server_response=20.0)
        client = proxy.client()
        client.receive(GET)
        proxy.wait(10)
        proxy.clock.advance(100)
        proxy.wait(5)
        self.assertEqual(client.sent, b"")
        proxy.servers[0].receive(OK)
        self.assertEqual(statuses(client), [200])
