"""
L{alacrity.management.web.connections}: how many connections to the API there may be, and how
long a request may take to come.
"""

from __future__ import annotations

from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.logger import capturedLogs

from alacrity.management.web.connections import IDLE_SECONDS, REQUEST_SECONDS
from alacrity.management.web.site import LINGER_SECONDS
from alacrity.node.descriptors import slack
from alacrity.pool import Command, Outcome, Register, TcpCheck
from tests.support.management_caller import (
    CALLER,
    TOKEN,
    Connection,
    Management,
    ManagementCase,
    request,
    response,
)
from tests.support.pools import apply_to

HEAD = b"POST /servers HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
DOCUMENT = b'{"ip": "10.0.0.7", "port": 8080}'


class CountTests(ManagementCase):
    """
    The number of connections.
    """

    def setUp(self) -> None:
        self.waiting: list[Deferred[Outcome]] = []
        self.management = Management(self.wait, connections=8)

    async def wait(self, command: Command) -> Outcome:
        """Agreed on later."""
        self.waiting.append(Deferred())
        await self.waiting[-1]
        return apply_to(self.management.view, command)

    def dropped(self, connection: Connection) -> bool:
        """True if a connection is being closed."""
        return connection.transport.disconnecting

    def test_idle_ones_make_room(self) -> None:
        """
        The connection is closed that has been idle for longest, whether or not it ever
        had one; who comes last is served.
        """
        with capturedLogs() as events:
            connections = [self.management.connect() for _ in range(8)]
            connections[0].send(request("GET", "/servers"))
            self.assertEqual(response(connections[0].received()).status, 200)
            for turn in (1, 2, 3, 4, 5, 6, 7, 0):
                more = self.management.connect()
                self.assertTrue(self.dropped(connections[turn]))
                connections[turn].lose()
                more.send(request("GET", "/servers"))
                self.assertEqual(response(more.received()).status, 200)
        said = [event for event in events if "management.connections" in event["log_format"]]
        self.assertEqual(len(said), 1)

    def test_half_a_request_is_none(self) -> None:
        """
        Neither a head nor a body keeps its place that is not complete.
        """
        connections = [self.management.connect() for _ in range(8)]
        connections[0].send(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        connections[1].send(HEAD + b"Content-Length: 9\r\n\r\n1234")
        self.management.connect()
        self.management.connect()
        self.assertEqual([self.dropped(each) for each in connections], [True] * 2 + [False] * 6)

    def test_busy_ones_stay(self) -> None:
        """
        Clients that wait for an answer get it; one more is told that there are too many.
        """
        connections = [self.management.connect() for _ in range(8)]
        for each in connections:
            each.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(DOCUMENT) + DOCUMENT)
        more = self.management.connect()
        answer = response(more.received())
        self.assertIn("all connections to this API are busy", self.assertProblem(answer, 503))
        self.assertEqual(answer.headers["connection"], "close")
        self.assertEqual(answer.headers["retry-after"], "1")
        self.assertTrue(self.dropped(more))
        more.lose()
        for waiting, connection in zip(self.waiting, connections, strict=True):
            waiting.callback(None)  # type: ignore[arg-type]
            self.assertIn(response(connection.received()).status, {200, 201})
        more = self.management.connect()
        self.assertTrue(self.dropped(connections[0]))

    def test_closing_ones_count(self) -> None:
        """
        Those that are not closed yet have their descriptors; beyond a few of them,
        nobody is let in.
        """
        for _ in range(8 + slack(8)):
            self.management.connect()
        self.assertIsNone(self.management.site.buildProtocol(CALLER))

    def test_before_the_token(self) -> None:
        """
        Unix sockets, and callers without the token, are counted like others.
        """
        management = Management(token=TOKEN, connections=2)
        peers: list[IAddress] = [UNIXAddress(None), IPv4Address("TCP", "10.0.0.9", 1), CALLER]
        first, second, third = (management.connect(peer) for peer in peers)
        self.assertTrue(first.transport.disconnecting)
        self.assertFalse(second.transport.disconnecting)
        self.assertFalse(third.transport.disconnecting)


class DeadlineTests(ManagementCase):
    """
    The time that a request may take.
    """

    def trickle(self, connection: Connection, data: bytes, seconds: float) -> float:
        """
        Send data byte by byte, a byte each second.

        @return: after how many seconds the connection was closed.
        """
        for second, byte in enumerate(data[: int(seconds)]):
            if connection.transport.disconnecting:
                return second
            connection.send(bytes([byte]))
            self.management.clock.advance(1.0)
        return seconds

    def test_trickling(self) -> None:
        """
        Head and body together have their time, however steadily they come.
        """
        for begin, rest in (
            (b"", b"GET /servers HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 60),
            (HEAD, b"X-Y: " + b"x" * 60),
            (HEAD + b"Content-Length: 60\r\n\r\n", b" " * 60),
            (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 10),
        ):
            for peer in (CALLER, UNIXAddress(None)):
                connection = self.management.connect(peer)
                if begin:
                    connection.send(begin)
                closed = self.trickle(connection, rest, 59)
                self.assertEqual(closed, REQUEST_SECONDS, (begin, rest))
                answer = response(connection.received())
                self.assertProblem(answer, 408)
                self.assertEqual(answer.headers["connection"], "close")
                connection.lose()

    def test_idle(self) -> None:
        """
        A connection without a request has longer, before the first and after each.
        """
        connection = self.management.connect()
        for _ in range(3):
            self.management.clock.advance(IDLE_SECONDS - 1.0)
            connection.send(request("GET", "/servers"))
            self.assertEqual(response(connection.received()).status, 200)
        self.management.clock.advance(IDLE_SECONDS + 1.0)
        self.assertTrue(connection.transport.disconnecting)
        self.assertEqual(connection.received(), b"")

    def test_while_we_work(self) -> None:
        """
        A call that waits for the cluster is not cut, and what follows it has its own time.
        """
        waiting: Deferred[None] = Deferred()

        async def wait(command: Command) -> Outcome:
            await waiting
            return apply_to(management.view, command)

        management = self.management = Management(wait)
        connection = management.connect()
        connection.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(DOCUMENT) + DOCUMENT)
        management.clock.advance(600.0)
        connection.send(b"GET /servers HTTP/1.1\r\n")
        management.clock.advance(600.0)
        self.assertFalse(connection.transport.disconnecting)
        waiting.callback(None)
        self.assertEqual(response(connection.received()).status, 201)
        connection.send(b"Host: localhost\r\n")
        management.clock.advance(REQUEST_SECONDS)
        self.assertProblem(response(connection.received()), 408)

    def test_refused_body(self) -> None:
        """
        A refused request is answered once, and thrown away for a shorter time.
        """
        connection = self.management.connect()
        connection.send(HEAD + b"Content-Length: 1000000\r\n\r\n")
        self.assertProblem(response(connection.received()), 413)
        self.management.clock.advance(LINGER_SECONDS)
        self.assertTrue(connection.transport.disconnecting)
        self.management.clock.advance(REQUEST_SECONDS)
        self.assertEqual(connection.received(), b"")

    def test_no_timers_stay(self) -> None:
        """
        A connection that is lost within a request leaves nothing behind.
        """
        for data in (b"", b"GET ", HEAD + b"Content-Length: 9\r\n\r\n1", request("GET", "/stats")):
            connection = self.management.connect()
            if data:
                connection.send(data)
            connection.lose()
        self.assertEqual(self.management.clock.getDelayedCalls(), [])


class PhaseTests(ManagementCase):
    """
    The phases of a connection, as its representation shows them.
    """

    def test_phases(self) -> None:
        waiting: Deferred[Outcome] = Deferred()

        async def propose(command: Command) -> Outcome:
            return await waiting

        self.management = Management(propose)
        connection = self.management.connect()
        channel = connection._protocol
        body = DOCUMENT + b"\r\n"
        for data, phase in (
            (b"", "IDLE"),
            (HEAD, "RECEIVING"),
            (b"Content-Length: %d\r\n\r\n" % len(body), "RECEIVING"),
            (body, "ANSWERING"),
        ):
            if data:
                connection.send(data)
            self.assertEqual(repr(channel), f"<BoundedChannel {phase}>")
        waiting.callback(
            apply_to(self.management.view, Register("10.0.0.7", 80, TcpCheck(), 1, 0.0))
        )
        self.assertEqual(response(connection.received()).status, 201)
        self.assertEqual(repr(channel), "<BoundedChannel IDLE>")
        connection.send(HEAD + b"Content-Length: 100000\r\n\r\n")
        self.assertEqual(response(connection.received()).status, 413)
        self.assertEqual(repr(channel), "<BoundedChannel CLOSING>")
        connection.send(b"x" * 1000)
        self.assertEqual(repr(channel), "<BoundedChannel CLOSING>")
        connection.lose()
        self.assertEqual(len(self.management.site.connections), 0)
        self.assertEqual(self.management.clock.getDelayedCalls(), [])
