"""
Tests for L{alacrity.proxy.events}: the ends of requests, and who is told of them.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from alacrity.metrics.counters import Stats
from alacrity.proxy.events import Cause, FailureKind, Listeners, Party, RequestEnded
from tests.support.wire import Proxy, server

GET = b"GET /a HTTP/1.1\r\nHost: example.org\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class CauseTests(SynchronousTestCase):
    """
    Causes say whose fault it was.
    """

    def test_parties(self) -> None:
        """
        Each kind has a party; a client that is gone is never the server's fault.
        """
        parties = {kind: Cause(kind).party for kind in FailureKind}
        self.assertEqual(set(parties.values()), set(Party))
        self.assertEqual(parties[FailureKind.CLIENT_GONE], Party.CLIENT)
        self.assertEqual(parties[FailureKind.NODE_SHORTAGE], Party.NODE)
        self.assertEqual(parties[FailureKind.RESET_IN_RESPONSE], Party.SERVER)


class RequestEndedTests(SynchronousTestCase):
    """
    Each request ends once, as one value.
    """

    def test_answered(self) -> None:
        """
        The event has all that an access log needs.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET)
        proxy.clock.advance(2.5)
        proxy.servers[0].receive(OK)
        ((ended, _),) = proxy.recorded
        assert ended.request is not None
        self.assertEqual(ended.request.target, b"/a")
        self.assertEqual(
            ended,
            RequestEnded(
                client=b"203.0.113.9",
                request=ended.request,
                status=200,
                sent=2,
                complete=True,
                duration=2.5,
                server="10.0.0.7:1",
            ),
        )

    def test_failed(self) -> None:
        """
        The event has the fault, whether there was an exchange or not.
        """
        for request, kind, status in (
            (GET, FailureKind.CONNECT_REFUSED, 502),
            (b"nonsense\r\n\r\n", FailureKind.BAD_REQUEST, 400),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: y", FailureKind.BAD_REQUEST, 408),
        ):
            proxy = Proxy()
            proxy.refusing.add(1)
            client = proxy.client()
            client.receive(request)
            proxy.wait(30)
            ((ended, _),) = proxy.recorded
            assert ended.cause is not None
            self.assertEqual((ended.cause.kind, ended.status), (kind, status))
            self.assertEqual(ended.reason, ended.cause.text)

    def test_failed_and_then_answered(self) -> None:
        """
        The reason of an attempt that failed is told, though the request did not.
        """
        proxy = Proxy(server(1), server(2))
        proxy.refusing.add(1)
        client = proxy.client()
        client.receive(GET)
        proxy.servers[0].receive(OK)
        ((ended, _),) = proxy.recorded
        self.assertEqual((ended.status, ended.cause, ended.server), (200, None, "10.0.0.7:2"))
        self.assertIn("cannot connect", ended.reason)

    def test_client_gone(self) -> None:
        """
        A client that goes away ends its request once, and is nobody's fault.
        """
        for begun in (b"", OK[:-1]):
            proxy = Proxy()
            client = proxy.client()
            client.receive(GET)
            proxy.servers[0].receive(begun)
            client.lose()
            ((ended, status),) = proxy.recorded
            self.assertEqual((status, ended.complete), (200 if begun else 0, False))
            self.assertEqual((ended.sent, ended.reason), (1 if begun else 0, ""))

    def test_sent_belongs_to_its_request(self) -> None:
        """
        The bytes of an earlier response are not counted again.
        """
        proxy = Proxy()
        client = proxy.client()
        client.receive(GET)
        proxy.servers[0].receive(OK)
        client.receive(GET)
        proxy.wait(60)
        client.receive(GET)
        client.lose()
        self.assertEqual([ended.sent for ended, _ in proxy.recorded], [2, 0, 0])


class ListenersTests(SynchronousTestCase):
    """
    The calls of the listeners.
    """

    def setUp(self) -> None:
        self.failures: list[RequestEnded] = []

    def listeners(self) -> Listeners:
        """
        Counters, and a log of failures.
        """
        stats = Stats()
        return Listeners(
            count_request=stats.client.count,
            count_attempt=stats.server.count,
            tunnel_opened=stats.tunnel_opened,
            tunnel_closed=stats.tunnel_closed,
            failures=self.failures.append,
        )

    def test_failures(self) -> None:
        """
        Failures are what this node did; not that it stops, nor that a client has gone.
        """
        listeners = self.listeners()
        listeners.request_ended(RequestEnded(b"", None, 200))
        for kind in FailureKind:
            listeners.request_ended(RequestEnded(b"", None, 0, cause=Cause(kind)))
        kinds = {ended.cause.kind for ended in self.failures if ended.cause is not None}
        self.assertEqual(
            set(FailureKind) - kinds, {FailureKind.CLIENT_GONE, FailureKind.NODE_STOPS}
        )

    def test_no_clock(self) -> None:
        """
        Where nobody listens to requests, no clock is read.
        """
        proxy = Proxy(listens=False)
        self.patch(proxy.listeners, "monotonic", lambda: 1 / 0)
        proxy.refusing.add(1)
        client = proxy.client()
        client.receive(GET)
        proxy.refusing.clear()
        client.receive(GET)
        proxy.servers[0].receive(OK)
        self.assertEqual(client.take().count(b"HTTP/1.1 "), 2)
