"""
L{alacrity.health.checks.http}: is C{GET} answered with the right status?
"""

from __future__ import annotations

import errno
import gc
import gzip
import weakref
from collections.abc import Iterator

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from alacrity.health.checks import CannotCheck, Verdict, http_check
from alacrity.health.checks.http import BODY_BYTES
from alacrity.http1.messages import MessageLimits
from alacrity.pool import HttpCheck
from tests.health.checks.fake_servers import (
    FAILURES,
    Network,
    answers_wrongly,
    fails,
    passes,
    server_at,
)

LIMITS = MessageLimits(header_bytes=8192, header_count=20)

HEAD = b"HTTP/1.1 200 OK\r\n"

CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


class HttpVerdictTests(SynchronousTestCase):
    """
    The check by HTTP, with a server that answers.
    """

    def ask(
        self, check: HttpCheck, status: int = 200, *fields: bytes
    ) -> tuple[Verdict, list[bytes]]:
        """
        The verdict on a server that gives this answer, and the lines of what it was asked.
        """
        network, clock = Network(), Clock()
        run = http_check(network, clock, LIMITS)
        checking = run(server_at("10.0.0.7", 8080, check), check, 2.0)
        wire = network.accept()
        head = b"\r\n".join((b"HTTP/1.1 %d X" % status, b"Content-Length: 4", *fields))
        wire.send(head + b"\r\n\r\nbody")
        verdict = self.successResultOf(checking)
        self.assertEqual(clock.getDelayedCalls(), [])
        self.assertEqual(len(network.addresses), 1)
        return verdict, wire.value().split(b"\r\n")

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
        line, *fields = self.ask(HttpCheck(path="/health"))[1]
        self.assertEqual(line, b"GET /health HTTP/1.1")
        self.assertIn(b"User-Agent: alacrity-health", fields)
        self.assertIn(b"Host: 10.0.0.7:8080", fields)
        self.assertIn(b"Connection: close", fields)

    def test_the_path_is_sent_as_it_is(self) -> None:
        for path in ("/%zz%00/..//.", "/a?b=%0d%0a&c=;d", '/"<>[]^`{|}~'):
            line = self.ask(HttpCheck(path=path))[1][0]
            self.assertEqual(line, b"GET %b HTTP/1.1" % path.encode("ascii"))

    def test_host_is_as_wanted_or_the_address_checked(self) -> None:
        for check, host in (
            (HttpCheck(host="example.com"), b"example.com"),
            (HttpCheck(port=80), b"10.0.0.7"),
            (HttpCheck(port=81), b"10.0.0.7:81"),
        ):
            asked = self.ask(check)[1]
            self.assertEqual(
                [line for line in asked if line.startswith(b"Host:")], [b"Host: " + host]
            )

    def test_follows_no_redirect(self) -> None:
        verdict, asked = self.ask(HttpCheck(), 302, b"Location: http://10.0.0.7/elsewhere")
        self.assertEqual(verdict, answers_wrongly("status 302, expected 200-299"))
        self.assertEqual(sum(line.startswith(b"GET") for line in asked), 1)


def faults() -> Iterator[tuple[bytes, str]]:
    """
    Answers that are not HTTP, and their faults.
    """
    not_begun = "it does not begin with HTTP/"
    no_name = "a header line has an invalid name, or no colon"
    no_number = "the Content-Length is not a number"
    bare = "a header line ends with a bare line feed"
    beside = "there is a Content-Length beside a Transfer-Encoding"
    coding = "the Transfer-Encoding is not chunked"
    yield b"SSH-2.0-OpenSSH_9.2\r\n", not_begun
    yield b"<html>", not_begun
    yield b"\x15\x03\x01\x00\x02\x02\x46\r\n", "it is TLS, not HTTP"
    yield b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "the status line ends with a bare line feed"
    for head, fault in (
        (b"no colon\r\n", no_name),
        (b"X : y\r\n", no_name),
        (b"X: y\nContent-Length: 0\r\n", bare),
        (b"Content-Length: 0\n\n", bare),
        (b"X: a\rb\r\n", "a header line has a bare carriage return"),
        (b"X: a\0b\r\n", "a header line has a control character"),
        (b"X: a\r\n b\r\n", "a header line is folded"),
        (b"Content-Length: x\r\n", no_number),
        (b"Content-Length: 5, 5\r\n", no_number),
        (b"Content-Length:\r\n", no_number),
        (b"Content-Length: 99999999999999999999\r\n", no_number),
        (b"Content-Length: 0\r\nContent-Length: 0\r\n", "there is more than one Content-Length"),
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", beside),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", beside),
        (b"Transfer-Encoding: gzip\r\n", coding),
        (b"Transfer-Encoding:\r\n", coding),
    ):
        yield HEAD + head + b"\r\n", fault
    for line in (b"HTTP/1.1 20 OK", b"HTTP/1.1 099 OK", b"HTTP/1.1 2000 OK", b"HTTP/2.0 200 OK"):
        yield line + b"\r\n\r\n", "the status line is malformed"
    yield CHUNKED + b"z\r\n", "the size of a chunk is malformed"
    yield CHUNKED + b"1\r\nxyz\r\n", "a chunk is longer than its size says"
    yield b"HTTP/1.1 101 X\r\n\r\n", "there is an upgrade that nobody asked for"
    yield b"HTTP/1.1 100 X\r\n\r\n" * 17, "there are too many interim responses"


class HttpConnectionTests(SynchronousTestCase):
    """
    The check by HTTP, with servers that do what they like.
    """

    def setUp(self) -> None:
        self.network = Network()
        self.clock = Clock()
        self.run_check = http_check(self.network, self.clock, LIMITS)

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
        self.assertTrue(wire.aborted)

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
        self.assertTrue(wire.aborted)

    def test_a_head_without_end_is_dropped(self) -> None:
        checking = self.begin()
        wire = self.network.accept()
        wire.send(HEAD)
        sent = 0
        while wire.protocol is not None and sent < 10 * LIMITS.header_bytes:
            wire.send(b"X-Field: " + b"x" * 1000 + b"\r\n")
            sent += 1011
        self.assertLessEqual(sent, LIMITS.header_bytes + 1011)
        self.says(checking, fails("bad response: the header section is too large"))
        self.assertTrue(wire.aborted)

    def test_the_limits_are_those_of_traffic(self) -> None:
        for head, reason in (
            (b"X: %b\r\n" % (b"x" * 8192), "the header section is too large"),
            (b"X: y\r\n" * 21, "there are too many header fields"),
        ):
            checking = self.begin()
            self.network.accept().send(HEAD + head + b"\r\n")
            self.says(checking, fails(f"bad response: {reason}"))

    def test_interim_responses_come_before_the_final_one(self) -> None:
        checking = self.begin()
        wire = self.network.accept()
        wire.send(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        wire.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 15)
        self.assertNoResult(checking)
        wire.send(HEAD + b"Content-Length: 0\r\n\r\n")
        self.says(checking, passes("status 200"))

    def test_long_interim_responses_in_one_packet(self) -> None:
        """
        The parser leaves the rest of these for another turn of the loop, and a check has none.
        """
        early = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 600 + b"\r\n\r\n"
        final = HEAD + b"Content-Length: 0\r\n\r\n"
        checking = self.begin()
        self.network.accept().send(early * 16 + final)
        self.says(checking, passes("status 200"))
        checking = self.begin()
        wire = self.network.accept()
        wire.send(early * 16)
        self.assertNoResult(checking)
        wire.send(final)
        self.says(checking, passes("status 200"))
        checking = self.begin()
        self.network.accept().send(early * 17 + final)
        self.says(checking, fails("bad response: there are too many interim responses"))

    def test_answers_in_pieces(self) -> None:
        for answer in (HEAD + b"Content-Length: 2\r\n\r\nok", CHUNKED + b"2\r\nok\r\n0\r\n\r\n"):
            checking = self.begin()
            wire = self.network.accept()
            for at in range(len(answer)):
                self.assertNoResult(checking)
                wire.send(answer[at : at + 1])
            self.says(checking, passes("status 200"))

    def test_many_small_chunks_are_not_read_to_the_end(self) -> None:
        """
        One turn of the loop is bounded, and there is no other for the rest.
        """
        checking = self.begin()
        self.network.accept().send(CHUNKED + b"1\r\nx\r\n" * 5000)
        self.says(checking, passes("status 200"))

    def test_of_what_comes_after_the_response_nothing_is_read(self) -> None:
        checking = self.begin()
        self.network.accept().send(HEAD + b"Content-Length: 2\r\n\r\nokSSH-2.0")
        self.says(checking, passes("status 200"))

    def test_a_server_that_speaks_or_ends_as_it_accepts(self) -> None:
        for happens in (
            lambda wire: wire.send(HEAD + b"Content-Length: 0\r\n\r\n"),
            lambda wire: wire.lost(error.ConnectionDone()),
            lambda wire: wire.lost(error.ConnectionLost()),
        ):
            checking = self.begin()
            wire = self.network.make()
            happens(wire)
            self.network.tell(wire)
            reason = "the server ended the connection, or spoke, as it accepted it"
            self.says(checking, fails(reason))
            self.assertEqual(wire.value(), b"")

    def test_freed_at_once(self) -> None:
        """
        A check that has ended waits for no collection of cycles.
        """
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        for sent in (
            HEAD + b"Content-Length: 0\r\n\r\n",
            HEAD + b"Content-Length: x\r\n\r\n",
            CHUNKED + b"z\r\n",
            CHUNKED + b"1\r\nx\r\n" * 5000,
            CHUNKED,
            b"",
        ):
            checking = self.begin()
            wire = self.network.accept()
            exchange = weakref.ref(wire.protocol)
            wire.send(sent)
            self.clock.advance(2.0)
            self.successResultOf(checking)
            wire.settle()
            self.network.forget()
            del checking, wire
            self.assertIsNone(exchange(), sent)

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
        self.assertTrue(wire.aborted)

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
            *((answer, done, f"bad response: {fault}") for answer, fault in faults()),
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
        self.assertLess(len(self.successResultOf(checking).reason), 75)
        self.assertIsNone(wire.protocol)
        self.flushLoggedErrors()
