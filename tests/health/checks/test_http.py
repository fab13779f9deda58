"""
L{alacrity.health.checks.http}, with its client: is C{GET} answered with the right status?
"""

from __future__ import annotations

import errno
import gzip
from typing import Any

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from treq.testing import StringStubbingResource, StubTreq
from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.health.checks import (
    CannotCheck,
    Verdict,
    http_check,
    http_client,
)
from alacrity.health.checks.http import BODY_BYTES
from alacrity.health.checks.http_client import ANSWER_BYTES
from alacrity.pool import HttpCheck
from tests.health.checks.fake_servers import (
    FAILURES,
    Network,
    answers_wrongly,
    fails,
    passes,
    server_at,
)


class HttpVerdictTests(SynchronousTestCase):
    """
    The check by HTTP, with a real HTTP server in memory.
    """

    def ask(
        self, check: HttpCheck, status: int = 200, **fields: str
    ) -> tuple[Verdict, dict[str, Any]]:
        """
        The verdict on a server that gives this answer, and what it was asked.
        """
        asked: dict[str, Any] = {}

        def answer(
            method: bytes, url: str, params: object, headers: dict[bytes, list[bytes]], data: bytes
        ) -> tuple[int, dict[str, str], bytes]:
            asked.update(method=method, url=url, headers=headers, times=asked.get("times", 0) + 1)
            return status, fields, b"body"

        clock = Clock()
        client: Any = StubTreq(StringStubbingResource(answer))
        run = http_check(client, clock)
        verdict = self.successResultOf(run(server_at("10.0.0.7", 8080, check), check, 2.0))
        self.assertEqual(clock.getDelayedCalls(), [])
        return verdict, asked

    def test_passes_on_2xx(self) -> None:
        for status in (200, 299):
            self.assertEqual(self.ask(HttpCheck(), status)[0], passes(f"status {status}"))
        for status in (300, 404, 503):
            self.assertEqual(
                self.ask(HttpCheck(), status)[0],
                answers_wrongly(f"status {status}, expected 200-299"),
            )

    def test_410_says_that_it_wants_no_new_requests(self) -> None:
        verdict = self.ask(HttpCheck(), 410)[0]
        self.assertEqual((verdict.passed, verdict.answered, verdict.stopping), (False, True, True))
        self.assertTrue(self.ask(HttpCheck(status=(200, 499)), 410)[0].passed)

    def test_passes_on_the_status_wanted(self) -> None:
        check = HttpCheck(status=(404, 404))
        self.assertTrue(self.ask(check, 404)[0].passed)
        self.assertEqual(self.ask(check, 200)[0], answers_wrongly("status 200, expected 404"))

    def test_says_who_it_is(self) -> None:
        _, asked = self.ask(HttpCheck(path="/health"))
        self.assertEqual(asked["method"], b"GET")
        self.assertEqual(asked["headers"][b"User-Agent"], [b"alacrity-health"])
        self.assertEqual(asked["headers"][b"Host"], [b"10.0.0.7:8080"])
        self.assertEqual(asked["headers"][b"Connection"], [b"close"])
        self.assertTrue(asked["url"].endswith("/health"))

    def test_host_is_as_wanted_or_the_address_checked(self) -> None:
        for check, host in (
            (HttpCheck(host="example.com"), b"example.com"),
            (HttpCheck(port=80), b"10.0.0.7"),
            (HttpCheck(port=81), b"10.0.0.7:81"),
        ):
            self.assertEqual(self.ask(check)[1]["headers"][b"Host"], [host])

    def test_follows_no_redirect(self) -> None:
        verdict, asked = self.ask(HttpCheck(), 302, location="http://10.0.0.7/elsewhere")
        self.assertEqual(verdict, answers_wrongly("status 302, expected 200-299"))
        self.assertEqual(asked["times"], 1)


class HttpConnectionTests(SynchronousTestCase):
    """
    The check by HTTP, with servers that do what they like.
    """

    def setUp(self) -> None:
        self.network = Network()
        self.clock = Clock()
        self.run_check = http_check(http_client(self.network, self.clock), self.clock)

    def begin(self, check: HttpCheck | None = None, ip: str = "10.0.0.7") -> Deferred[Verdict]:
        check = HttpCheck() if check is None else check
        return self.run_check(server_at(ip, 8080, check), check, 2.0)

    def says(self, checking: Deferred[Verdict], verdict: Verdict) -> None:
        self.assertEqual(self.successResultOf(checking), verdict)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_is_sent(self) -> None:
        self.begin(HttpCheck(path="/a?b=c", port=81), ip="2001:db8::7")
        self.assertEqual(self.network.addresses[0][:2], ("2001:db8::7", 81))
        head, _, body = self.network.accept().value().partition(b"\r\n\r\n")
        line, *fields = head.split(b"\r\n")
        self.assertEqual(line, b"GET /a?b=c HTTP/1.1")
        self.assertEqual(
            sorted(fields),
            [b"Connection: close", b"Host: [2001:db8::7]:81", b"User-Agent: alacrity-health"],
        )
        self.assertEqual(body, b"")

    def test_passes_at_the_end_of_the_body(self) -> None:
        checking = self.begin()
        wire = self.network.accept()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        self.assertNoResult(checking)
        wire.send(b"cd")
        self.says(checking, passes("status 200"))
        self.assertTrue(wire.closed)

    def test_a_body_that_ends_with_the_connection(self) -> None:
        checking = self.begin()
        wire = self.network.accept()
        wire.send(b"HTTP/1.0 200 OK\r\n\r\nab")
        wire.lost(error.ConnectionDone())
        self.says(checking, passes("status 200"))

    def test_of_a_body_without_end_enough_is_read(self) -> None:
        checking = self.begin()
        wire = self.network.accept()
        wire.send(b"HTTP/1.1 200 OK\r\n\r\n")
        sent = 0
        while wire.protocol is not None and sent < 10 * BODY_BYTES:
            wire.send(b"x" * 4096)
            sent += 4096
        self.assertLessEqual(sent, BODY_BYTES + 4096)
        self.says(checking, passes("status 200"))
        self.assertTrue(wire.closed)

    def test_a_head_without_end_is_dropped(self) -> None:
        checking = self.begin()
        wire = self.network.accept()
        wire.send(b"HTTP/1.1 200 OK\r\n")
        sent = 0
        while wire.protocol is not None and sent < 10 * ANSWER_BYTES:
            wire.send(b"X-Field: " + b"x" * 1000 + b"\r\n")
            sent += 1011
        self.assertLessEqual(sent, ANSWER_BYTES + 4096)
        self.says(checking, fails("connection broken off"))
        self.assertTrue(wire.aborted)

    def test_compressed_bodies_are_left_compressed(self) -> None:
        checking = self.begin()
        wire = self.network.accept()
        bomb = gzip.compress(b"\0" * 100 * BODY_BYTES)
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
        wire.send(head % len(bomb) + bomb[:-1])
        self.assertNoResult(checking)
        wire.send(bomb[-1:])
        self.says(checking, passes("status 200"))

    def test_cookies_are_not_kept(self) -> None:
        for _ in range(2):
            checking = self.begin()
            wire = self.network.accept()
            self.assertNotIn(b"cookie", wire.value().lower())
            wire.send(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")
            self.says(checking, passes("status 200"))

    def test_the_limit_covers_connecting(self) -> None:
        checking = self.begin()
        self.clock.advance(1.9)
        self.assertNoResult(checking)
        self.clock.advance(0.1)
        self.says(checking, fails("no answer in 2.0 s"))
        self.assertEqual(self.network.cancelled, 1)

    def test_the_limit_covers_the_head(self) -> None:
        checking = self.begin()
        wire = self.network.accept()
        wire.send(b"HTTP/1.1 200 OK\r\n")
        self.clock.advance(2.0)
        self.says(checking, fails("no answer in 2.0 s"))
        self.assertTrue(wire.aborted)

    def test_the_limit_covers_the_body(self) -> None:
        checking = self.begin()
        wire = self.network.accept()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        self.clock.advance(2.0)
        self.says(checking, fails("no answer in 2.0 s"))
        self.assertTrue(wire.closed)

    def test_cancelling_it_drops_the_connection(self) -> None:
        for sent in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab"):
            checking = self.begin()
            wire = self.network.accept()
            wire.send(sent)
            checking.cancel()
            wire.settle()
            self.assertIsNone(wire.protocol)
            self.assertTrue(checking.called)
            checking.addErrback(lambda _: None)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_each_failure_to_connect_has_its_reason(self) -> None:
        for failure, reason in FAILURES:
            checking = self.begin()
            self.network.refuse(failure)
            self.says(checking, fails(reason))

    def test_want_of_means_here_says_nothing_of_the_server(self) -> None:
        checking = self.begin()
        self.network.refuse(error.ConnectError(errno.EMFILE))
        self.failureResultOf(checking, CannotCheck)

    def test_answers_that_are_none(self) -> None:
        done, lost = error.ConnectionDone(), error.ConnectionLost()
        for answer, end, reason in (
            (b"SSH-2.0-OpenSSH_9.2\r\n", done, "not HTTP"),
            (b"\x15\x03\x01\x00\x02\x02\x46\r\n", done, "not HTTP"),
            (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", done, "not HTTP"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", done, "not HTTP"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n", done, "not HTTP"),
            (b"", done, "closed without a complete answer"),
            (b"HTTP/1.1 200 OK\r\n", done, "closed without a complete answer"),
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na",
                done,
                "closed without a complete answer",
            ),
            (b"", lost, "connection broken off"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na", lost, "connection broken off"),
        ):
            checking = self.begin()
            wire = self.network.accept()
            wire.send(answer)
            wire.lost(end)
            self.says(checking, fails(reason))

    @examples(deadline=None, max_examples=100)
    @given(st.lists(st.binary(max_size=60), max_size=5), st.booleans())
    def test_whatever_comes_gives_a_verdict(self, pieces: list[bytes], headed: bool) -> None:
        self.setUp()
        checking = self.begin()
        wire = self.network.accept()
        if headed:
            wire.send(b"HTTP/1.1 200 OK\r\n")
        for piece in pieces:
            wire.send(piece)
        self.clock.advance(2.0)
        wire.settle()
        self.assertLess(len(self.successResultOf(checking).reason), 60)
        self.assertIsNone(wire.protocol)
        self.flushLoggedErrors()
