"""
Bad input, row by row: over raw sockets, through a real node, to a server that records
what it gets. The rows that need no socket run on a fake network.

A row's test bears its name. See L{tests.support.bad_inputs} for what arrives, and
C{docs/http.md} for what was chosen where a row leaves a choice.
"""

from __future__ import annotations

import atexit
import re
import signal
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from acceptance.lab.nodes import Node
from alacrity.http1.forwarding import LAST_CHUNK
from tests.support import wire
from tests.support.bad_inputs import (
    GET,
    POST,
    REQUESTS,
    RESPONSES,
    TE,
    Case,
    Reply,
    forwarded,
    lines,
)
from tests.support.recorder import OK, Answer, Connection, RawClient, RecordingServer

NEXT = lines("GET /next HTTP/1.1|Host: a")
NEXT_FORWARDED = forwarded("GET /next HTTP/1.1|Host: a")

CONFIGURATION = """
[health]
interval = 86400.0
[log]
level = "info"
"""


@cache
def bench(*twistd: str, more: str = "") -> tuple[Node, RecordingServer]:
    """
    The node and the server that the tests share. They end with the process, as neither
    runner has a place for what a module needs.

    @param twistd: its options.
    @param more: of its configuration.
    """
    directory = tempfile.TemporaryDirectory()
    atexit.register(directory.cleanup)
    server = RecordingServer()
    atexit.register(server.stop)
    node = Node(Path(directory.name), configuration=CONFIGURATION + more, twistd=twistd)
    atexit.register(node.stop, signal.SIGKILL)
    node.started().register(server.port)
    return node, server


class RowTestCase(SynchronousTestCase):
    """
    A client, a node and a server.

    @cvar twistd: options that the node is run with.
    @cvar more: more of its configuration.
    """

    twistd: tuple[str, ...] = ()
    more = ""

    def setUp(self) -> None:
        node, self.server = bench(*self.twistd, more=self.more)
        self.port = node.proxy
        self.server.settle()
        self.server.received = b""
        self.server.answers.clear()

    def client(self) -> RawClient:
        """Connect."""
        client = RawClient(self.port)
        self.addCleanup(client.close)
        return client

    def request(self, data: bytes, **answers: Answer) -> RawClient:
        """
        Connect and send.

        @param answers: of the server, by target without its slash.
        """
        for target, answer in answers.items():
            self.server.answers[b"/" + target.encode()] = answer
        client = self.client()
        client.send(data)
        return client

    def statuses(self, data: bytes) -> tuple[int, ...]:
        """Of some responses."""
        return tuple(int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", data))

    def connection(self, marker: bytes) -> Connection:
        """
        The server's connection on which something came.
        """
        found: Connection = self.server.until(
            lambda: next(
                (c for c in reversed(self.server.connections) if marker in c.received), None
            )
        )
        return found

    def goes_on(self, client: RawClient | None = None) -> None:
        """
        Assert that the next request, of another client or this one, is answered with
        what is its own, and that the server gets just that.
        """
        self.server.settle()
        before = len(self.server.received)
        client = client or self.client()
        client.send(NEXT)
        response = client.response()
        self.server.settle()
        self.assertTrue(response.startswith(b"HTTP/1.1 200 OK\r\n"), response)
        self.assertTrue(response.endswith(b"\r\n\r\nok"), response)
        self.assertEqual(self.server.received[before:], NEXT_FORWARDED)


class ClientRowTests(RowTestCase):
    """
    Rows in which the client is at fault, or seems to be.
    """

    def case(self, case: Case) -> None:
        """
        Assert what must come of a case.
        """
        self.server.received = b""
        client = self.request(case.sent)
        if case.kept:
            received = b"".join(client.response() for _ in case.statuses)
        else:
            received = client.rest()
            self.assertIn(b"\r\nConnection: close\r\n", received)
        self.server.settle()
        shown = case.sent[:200]
        self.assertEqual(self.statuses(received), case.statuses, (shown, received))
        self.assertNotIn(b"script", received)
        if case.in_flight:
            self.assertNotIn(LAST_CHUNK, self.server.received)
        else:
            self.assertEqual(self.server.received, case.forwarded, shown)
        if case.kept:
            self.goes_on(client)
        self.assertEqual(client.closed, "" if case.kept else "closed", shown)
        self.goes_on()

    def case_in_pieces(self, case: Case) -> None:
        """
        Assert the same of a case whose bytes come one by one: the same answers, and
        nothing complete for a server but what is good.
        """
        proxy = wire.Proxy()
        client = proxy.client("127.0.0.1")
        received = b""
        for byte in case.sent:
            if client.closing:
                break
            client.receive(bytes([byte]))
            for server in proxy.servers:
                end = LAST_CHUNK if b"chunked" in server.sent else b"\r\n\r\n"
                if not server.lost and server.sent.endswith(end):
                    server.receive(OK)
            received += client.take()
        if case.statuses[-1] >= 400:
            statuses = self.statuses(received)
            if case.statuses[-1] == 501 and statuses[-1:] == (400,):
                # An unknown method is refused at its first wrong byte, before it is seen to
                # be one.
                statuses = (*statuses[:-1], 501)
            self.assertEqual(statuses, case.statuses, (case.sent, received))
            self.assertTrue(client.closing)
            for server in proxy.servers:
                self.assertTrue(server.aborted or server.sent == case.forwarded)
                self.assertFalse(server.aborted and server.sent.endswith(LAST_CHUNK))


class ServerRowTests(RowTestCase):
    """
    Rows in which the server is at fault, or seems to be.
    """

    def reply(self, reply: Reply) -> None:
        """
        Assert what must come of a reply.
        """
        sent = lines(f"{reply.method} /row HTTP/1.1|Host: a")
        self.server.received = b""
        client = self.request(sent, row=reply.answer)
        shown = reply.answer.data[:200]
        if reply.aborted:
            received = client.rest()
            self.assertEqual(client.closed, "reset", shown)
        else:
            received = client.response(bodiless=reply.method == "HEAD")
            while received.startswith(b"HTTP/1.1 1"):
                self.assertNotIn(reply.absent, received, shown)
                received = client.response()
            self.assertEqual(self.statuses(received), (reply.status,), shown)
            if reply.body is not None:
                self.assertEqual(received.partition(b"\r\n\r\n")[2], reply.body, shown)
        self.assertNotIn(reply.absent, received, shown)
        self.assertIn(reply.present, received, shown)
        used = self.connection(b" /row ")
        at = len(used.received)
        if not reply.reused and reply.answer.then == "keep":
            self.server.until(lambda: used.ended)
        if not reply.aborted:
            self.goes_on(client)
            self.assertEqual(b"/next" in used.received[at:], reply.reused, shown)
        self.goes_on()


class PaceRowTests(RowTestCase):
    """
    Rows that take more than one step.
    """

    def test_CH9(self) -> None:
        """
        A stream that ends before the last chunk does is no message.
        """
        for body in (b"5\r\nhello\r\n0\r\n", b"5\r\nhello\r\n", b"5\r\nhel", b""):
            client = self.request(lines(TE, body))
            client.end()
            self.assertEqual(client.rest(), b"")
            self.goes_on()
            self.assertNotIn(b"\r\n0\r\n", self.server.received)
            self.server.until(lambda: not [c for c in self.active() if b"chunked" in c.received])

    def active(self) -> list[Connection]:
        """The server's connections that are open."""
        return [connection for connection in self.server.connections if not connection.ended]

    def test_CH10(self) -> None:
        """
        A fault after forwarding has begun breaks the server's connection off (8).
        """
        for fault in (b"x\r\n", b"5\r\nhello!\r\n0\r\n\r\n", b"0\r\nX\r\n\r\n"):
            client = self.request(lines(TE.replace(" / ", " /ch10 "), b"5\r\nhello\r\n"))
            used = self.connection(b"/ch10")
            self.server.until(partial(used.received_to, b"5\r\nhello\r\n"))
            client.send(fault)
            self.assertEqual(self.statuses(client.rest()), (400,))
            self.server.until(partial(getattr, used, "reset"))
            self.assertFalse(used.received.endswith(LAST_CHUNK))
            self.goes_on()
            used.received = b""

    def test_UP2_held(self) -> None:
        """
        Bytes before the 101 are held until it, and the connection is not used again.
        """
        silent = Answer(b"")
        client = self.request(
            lines("GET /up HTTP/1.1|Host: a|Connection: Upgrade|Upgrade: websocket") + NEXT,
            up=silent,
        )
        used = self.connection(b"/up")
        self.server.settle()
        self.assertEqual(
            self.server.received,
            lines(
                "GET /up HTTP/1.1|Host: a|Connection: Upgrade|Upgrade: websocket|Via: 1.1 alacrity|"
                "X-Forwarded-For: 127.0.0.1|X-Forwarded-Proto: http|X-Forwarded-Host: a"
            ),
        )
        # A tunnel's bytes are no requests.
        self.server.answers[b"/next"] = silent
        self.server.send(
            used,
            lines("HTTP/1.1 101 Switching Protocols|Connection: Upgrade|Upgrade: websocket")
            + b"first",
        )
        self.assertTrue(client.until(b"first").startswith(b"HTTP/1.1 101 Switching Protocols\r\n"))
        self.server.until(lambda: used.received.endswith(NEXT))
        self.server.answers.clear()
        self.goes_on()
        client.end()
        self.server.until(lambda: used.ended)
        self.assertEqual(client.rest(), b"")
        self.goes_on()

    def test_UP3_declined(self) -> None:
        """
        200 to an Upgrade is a plain response: there is no tunnel.
        """
        client = self.request(
            lines("GET /up HTTP/1.1|Host: a|Connection: Upgrade|Upgrade: websocket")
        )
        self.assertTrue(client.response().endswith(b"\r\n\r\nok"))
        used = self.connection(b"/up")
        self.server.until(lambda: used.ended)
        self.goes_on(client)

    def test_EX1(self) -> None:
        """
        A final answer in place of 100: it goes to the client, then the connection is
        closed; the body that still comes is not taken for a request.
        """
        client = self.request(
            lines(POST.replace(" / ", " /ex1 ") + "Expect: 100-continue|Content-Length: 34"),
            ex1=Answer(OK.replace(b"200 OK", b"403 No"), early=True),
        )
        response = client.response()
        client.send(lines("GET /evil HTTP/1.1|Host: a")[:34])
        self.assertEqual(client.rest(), b"")
        self.assertEqual(self.statuses(response), (403,))
        self.assertIn(b"\r\nConnection: close\r\n", response)
        self.goes_on()
        self.assertNotIn(b"evil", self.server.received)

    def test_IN1_relayed(self) -> None:
        """
        Interim responses go to a 1.1 client, and not to a 1.0 one.
        """
        interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        answer = Answer(b"HTTP/1.1 100 Continue\r\n\r\n" + interim * 2 + OK)
        for version, expected in (("1.1", (100, 103, 103, 200)), ("1.0", (200,))):
            client = self.request(
                lines(f"GET /in1 HTTP/{version}|Host: a|Connection: close"), in1=answer
            )
            self.assertEqual(self.statuses(client.rest()), expected)
        self.goes_on()

    def test_RS2_idle(self) -> None:
        """
        Bytes on an idle connection end it.
        """
        client = self.request(lines("GET /rs2 HTTP/1.1|Host: a"))
        client.response()
        used = self.connection(b"/rs2")
        self.server.send(used, OK.replace(b"ok", b"no"))
        self.server.until(lambda: used.reset)
        self.goes_on(client)

    def test_RS6_paced(self) -> None:
        """
        A server that says nothing, or a byte a second, does not hold a client for
        longer than configured, and is counted as failed.
        """
        for drip in (b"", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000):
            proxy = wire.Proxy(server_response=20.0)
            client = proxy.client()
            client.receive(NEXT)
            for byte in (drip or b"\0")[:22]:
                proxy.clock.pump([0.25] * 4)
                if drip and not proxy.servers[0].lost:
                    proxy.servers[0].receive(bytes([byte]))
            self.assertTrue(client.take().startswith(b"HTTP/1.1 504 ") or not drip)
            proxy.wait(20)
            self.assertTrue(proxy.servers[0].aborted)
            self.assertEqual(proxy.counted(), (0, 1, 0, 1))

    def test_PL1(self) -> None:
        """
        A hundred requests at once, the first one slow, are answered in order.
        """
        numbers = range(100)
        self.server.answers[b"/0"] = Answer(b"")
        for number in numbers[1:]:
            self.server.answers[b"/%d" % number] = Answer(OK.replace(b"200 OK", b"200 %d" % number))
        client = self.request(b"".join(lines(f"GET /{n} HTTP/1.1|Host: a") for n in numbers))
        used = self.connection(b"/0 ")
        self.assertTrue(client.quiet(0.1))
        self.assertNotIn(b"/1 ", used.received)
        self.server.send(used, OK.replace(b"200 OK", b"200 0"))
        for number in numbers:
            self.assertTrue(client.response().startswith(b"HTTP/1.1 200 %d\r\n" % number))
        self.assertEqual(
            self.server.received,
            b"".join(forwarded(f"GET /{n} HTTP/1.1|Host: a") for n in numbers),
        )
        self.goes_on(client)

    def test_SL1(self) -> None:
        """
        A slow head, a body that stops, a slow body: 408 and close. A slow reader: the
        server waits, then the client is dropped.
        """
        proxy = wire.Proxy()
        head, stopped, slow, reader = (proxy.client() for _ in range(4))
        stopped.receive(lines(POST + "Content-Length: 99", b"x"))
        slow.receive(lines(POST + "Content-Length: 99999", b"x"))
        reader.receive(NEXT)
        proxy.servers[-1].receive(OK[:-1])
        reader.producer.pauseProducing()
        self.assertFalse(proxy.servers[-1].reading)
        for second in range(60):
            if not head.closing:
                head.receive(NEXT[second : second + 1])
            if not slow.closing:
                slow.receive(b"x" * 400)
                slowest = second
            proxy.clock.pump([0.25] * 4)
        proxy.wait(1)
        for client in (head, stopped, slow):
            self.assertEqual(self.statuses(client.take()), (408,))
            self.assertTrue(client.closing)
        self.assertEqual(slowest, 20)
        self.assertTrue(reader.aborted)
        self.assertTrue(all(server.aborted for server in proxy.servers))
        self.assertEqual(proxy.counted(), (3, 1, 0, 0))

    def test_SL2(self) -> None:
        """
        An early answer goes to the client; the connection lingers, so that it is not
        lost to a reset (9.6).
        """
        client = self.request(
            lines(POST.replace(" / ", " /sl2 ") + "Content-Length: 10000000", b"x" * 1000),
            sl2=Answer(OK.replace(b"200 OK", b"413 No"), early=True),
        )
        used = self.connection(b"/sl2")
        client.until(b"HTTP/1.1 413 No\r\n")
        for _ in range(100):
            client.send(b"x" * 10000)
        self.assertTrue(client.rest().endswith(b"ok"))
        self.assertEqual(client.closed, "closed")
        self.server.until(lambda: used.ended)
        self.goes_on()

    def drop_idle(self) -> None:
        """End the connections that the proxy has kept."""
        self.server.settle()
        for connection in self.active():
            self.server.end(connection)
        self.server.settle()

    def test_RS24(self) -> None:
        """
        A server that closes, half-closes, resets or answers as it accepts costs nobody any
        waiting, and what it says unasked is nobody's answer.
        """
        self.addCleanup(setattr, self.server, "welcome", None)
        evil = b"HTTP/1.1 503 evil\r\nContent-Length: 4\r\n\r\nevil"
        for then in ("close", "half", "reset"):
            for data in (b"", evil, b"220 ready\r\n"):
                for head, body in ((GET, b""), (POST + "Content-Length: 2", b"hi")):
                    self.drop_idle()
                    self.server.received = b""
                    self.server.welcome = Answer(data, then)
                    begun = time.monotonic()
                    client = self.request(lines(head.replace(" / ", " /rs24 "), body))
                    response = client.response()
                    self.assertLess(time.monotonic() - begun, 5)
                    # If the request was faster than the answer, it is a race that is lost.
                    allowed = [(502,), (503,)] if data == evil else [(502,)]
                    self.assertIn(self.statuses(response), allowed, (then, data))
                    self.server.welcome = None
                    self.goes_on()

    def test_RS25(self) -> None:
        """
        The answer of a server that closes with the request's body unread reaches the client,
        though a reset follows it (9.6).
        """
        statuses = ("413 No", "401 No", "500 No", "303 See", "200 OK")
        for length in (100000, 1 << 20, 8 << 20):
            for status in statuses:
                for fields, end in (
                    ("Content-Length: 4", b"long"),
                    ("Transfer-Encoding: chunked", b"4\r\nlong\r\n0\r\n\r\n"),
                ):
                    self.refused(length, lines(f"HTTP/1.1 {status}|{fields}", end), end, "close")
            # The end of the connection is that of the answer.
            until_close = lines("HTTP/1.1 413 No", b"long")
            self.refused(length, until_close, b"4\r\nlong\r\n0\r\n\r\n", "reset")

    def refused(self, length: int, answer: bytes, end: bytes, then: str) -> None:
        """
        Have a server answer a large request that it does not read.
        """
        target = b"/rs25"
        self.server.answers[target] = Answer(answer, then, early=True)
        client = self.client()
        client.send(b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (target, length))
        client.send(b"x" * length)
        received = client.response()
        self.assertEqual(received.split(b"\r\n")[0], answer.split(b"\r\n")[0])
        self.assertTrue(received.endswith(b"\r\n\r\n" + end), received)
        self.server.until(lambda: not [c for c in self.active() if target in c.received[:20]])
        self.goes_on()

    def test_HC1(self) -> None:
        """
        A client that half-closes after its request gets its answer.
        """
        client = self.request(lines("GET /hc1 HTTP/1.1|Host: a"), hc1=Answer(b""))
        client.end()
        used = self.connection(b"/hc1")
        # The proxy asks whether it is still there.
        self.assertEqual(client.until(b"\r\n\r\n"), b"HTTP/1.1 100 Continue\r\n\r\n")
        self.server.send(used, OK)
        self.assertTrue(client.rest().endswith(b"\r\n\r\nok"))
        self.assertEqual(client.closed, "closed")
        self.goes_on()

    def test_HC1_at_once(self) -> None:
        """
        Also if it does so at once, and after several.
        """
        client = self.request(NEXT * 3)
        client.end()
        self.assertEqual([s for s in self.statuses(client.rest()) if s != 100], [200] * 3)
        self.goes_on()


class TrustedClientRowTests(RowTestCase):
    """
    Rows in which the client is a proxy that is trusted.
    """

    more = '[proxy]\ntrusted_proxies = ["127.0.0.1"]\n'

    def test_FW9_trusted(self) -> None:
        """
        Its empty fields are lists without members, and get no comma; names that only resemble
        those that are trusted are dropped here as well.
        """
        added = "|Via: 1.1 alacrity|X-Forwarded-For: {}127.0.0.1|X-Forwarded-Proto: http|"
        for fields, said in (
            ("X-Forwarded-For:", ""),
            ("X-Forwarded-For: \t", ""),
            ("X-Forwarded-For: ,", ""),
            ("X-Forwarded-For:  , ,|X-Forwarded-For:", ""),
            ("X-Forwarded-For:|X-Forwarded-For: 1.1.1.1", "1.1.1.1, "),
            ("X-Forwarded-For: 1.1.1.1|X-Forwarded-For:", "1.1.1.1, "),
            ("X-Forwarded-For: , 1.1.1.1,, 2.2.2.2 ,", "1.1.1.1,, 2.2.2.2, "),
            ("X-Forwarded-Proto:|X-Forwarded-Host:|Forwarded:|X-Forwarded-Port:", ""),
            ("X.Forwarded.For: 6.6.6.6|X_Forwarded_Proto: https|Proxy: evil", ""),
        ):
            self.server.received = b""
            client = self.request(lines(f"{GET}|{fields}"))
            self.assertEqual(self.statuses(client.response()), (200,))
            self.assertEqual(
                self.server.received,
                lines(GET + added.format(said) + "X-Forwarded-Host: a"),
                fields,
            )
            self.server.settle()


class DisclosureTests(RowTestCase):
    """
    Fields that the proxy adds of its own, and does not take from others.
    """

    def test_own_answers(self) -> None:
        """
        Answers of its own name no version, no server, no cause.
        """
        for sent in (
            b"nonsense\r\n\r\n",
            lines("GET /rs HTTP/1.1|Host: a"),
            lines(POST + "Content-Length: x"),
            lines("BREW / HTTP/1.1|Host: a"),
        ):
            client = self.request(sent, rs=Answer(b"nonsense\r\n\r\n"))
            head, _, body = client.response().partition(b"\r\n\r\n")
            status = head.split(b"\r\n")[0].removeprefix(b"HTTP/1.1 ")
            self.assertEqual(body, status + b"\n")
            names = {line.partition(b":")[0] for line in head.split(b"\r\n")[1:]}
            allowed = {b"Date", b"Content-Type", b"Content-Length", b"Cache-Control", b"Via"}
            self.assertLessEqual(names, {*allowed, b"Connection"})
            for secret in (str(self.server.port).encode(), b"127.0.0.1", b"ython", b"wisted"):
                self.assertNotIn(secret, head + body)

    def test_forged_by_the_server(self) -> None:
        """
        A server's own fields go through, those of its connection do not.
        """
        answer = lines(
            "HTTP/1.1 200 OK|Server: theirs|Via: 1.1 other|Keep-Alive: timeout=99|"
            "Proxy-Authenticate: Basic|Connection: keep-alive|Content-Length: 2",
            b"ok",
        )
        response = self.request(lines("GET /x HTTP/1.1|Host: a"), x=Answer(answer)).response()
        self.assertIn(b"\r\nServer: theirs\r\n", response)
        self.assertIn(b"\r\nVia: 1.1 other\r\n", response)
        self.assertIn(b"\r\nVia: 1.1 alacrity\r\n", response)
        for name in (b"Keep-Alive", b"Proxy-Authenticate", b"Connection"):
            self.assertNotIn(b"\r\n" + name + b":", response)

    def test_forged_by_the_client(self) -> None:
        """
        The fields that the proxy adds are there once, with its own values, however a
        client tries to add, spell or remove them.
        """
        for forged in (
            "X-Forwarded-For: 6.6.6.6",
            "x-forwarded-for: 6.6.6.6|X-FORWARDED-FOR: 6.6.6.6",
            "X_Forwarded_For: 6.6.6.6|X-Forwarded_For: 6.6.6.6",
            "Connection: X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, Via",
            "X-Forwarded-Host: evil|X-Forwarded-Proto: https|X-Forwarded-Server: evil",
            "X-Forwarded-Ssl: on|X-Forwarded-Port: 443|Forwarded: for=6.6.6.6;host=evil",
        ):
            self.server.received = b""
            self.request(lines(f"GET / HTTP/1.1|Host: a|{forged}")).response()
            self.assertEqual(self.server.received, forwarded(GET))


def _add(case: type, name: str, rows: list[Any], *checks: Callable[..., None]) -> None:
    """
    Give a test case the test of a row.
    """

    def test(self: Any) -> None:
        for row in rows:
            for check in checks:
                check(self, row)

    test.__name__ = f"test_{name}"
    test.__qualname__ = f"{case.__name__}.test_{name}"
    setattr(case, test.__name__, test)


def _whole_and_in_pieces(self: ClientRowTests, case: Case) -> None:
    self.case(case)
    if len(case.sent) < 3000:
        self.case_in_pieces(case)


for _name, _cases in REQUESTS.items():
    _add(ClientRowTests, _name, _cases, _whole_and_in_pieces)
for _name, _replies in RESPONSES.items():
    _add(ServerRowTests, _name, _replies, ServerRowTests.reply)


class TwistedClientRowTests(ClientRowTests):
    """
    The same on Twisted's own transports.
    """

    twistd = ("--reactor=epoll",)


class TwistedServerRowTests(ServerRowTests):
    """
    The same on Twisted's own transports.
    """

    twistd = ("--reactor=epoll",)


class TwistedPaceRowTests(PaceRowTests):
    """
    The same on Twisted's own transports.
    """

    twistd = ("--reactor=epoll",)
