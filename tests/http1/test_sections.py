"""
Tests for L{alacrity.http1.sections}: a section that is remembered is read as it was the first time.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from twisted.trial.unittest import SynchronousTestCase

from alacrity.http1.errors import ProtocolError
from alacrity.http1.messages import MessageLimits
from alacrity.http1.parser import RequestParser, ResponseParser
from alacrity.http1.sections import (
    REQUEST_SECTIONS,
    RESPONSE_SECTIONS,
    request_fields,
    response_fields,
)
from tests.http1.differential import REQUESTS, RESPONSES
from tests.http1.test_parser import Recorder

bounded = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))

SECTIONS = (
    b"Host: a\r\nX: y\r\n\r\n",
    b"Host: a\r\nContent-Length: 2\r\n\r\n",
    b"Host: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"Host: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    b"Host: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"Host: a\r\nConnection: close\r\nVia: 1.1 b\r\n\r\n",
    b"Host: a\r\nAuthorization: Negotiate YQ==\r\nX: y\r\n\r\n",
    b"Connection: keep-alive\r\n\r\n",
    b"\r\n",
)

STARTS = (
    *(b"GET / HTTP/1.1", b"GET / HTTP/1.0", b"POST /a?b HTTP/1.1", b"HEAD /%zz HTTP/1.1"),
    *(b"GET / HTTP/1.2", b"GET / HTTP/2.0", b"GET / HTTP/9.9", b"GET / HTTP/1", b"GET / HTTP/1.1x"),
    *(b"GET /", b"GET  / HTTP/1.1", b"GET / HTTP/1.1 ", b" GET / HTTP/1.1", b"get / HTTP/1.1"),
    *(b"GET * HTTP/1.1", b"OPTIONS * HTTP/1.1", b"GET http://b/c HTTP/1.1", b"GET a HTTP/1.1"),
    *(b"GET /a#b HTTP/1.1", b"GET /\x00 HTTP/1.1", b"GET /\xe9 HTTP/1.1", b"GET /\t HTTP/1.1"),
    *(
        b"FOO / HTTP/1.1",
        b"CONNECT a:1 HTTP/1.1",
        b"TRACE / HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"{ / HTTP/1.1",
    ),
    *(
        b"GET /" + b"a" * 20000 + b" HTTP/1.1",
        b"",
        b"\r\nGET / HTTP/1.1",
        b"GET / HTTP/1.1\r\nX: y",
    ),
)

STATUSES = (
    *(b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 "),
    *(
        b"HTTP/1.1 103 Early Hints",
        b"HTTP/1.1 101 Switching Protocols",
        b"HTTP/1.1 999",
        b"HTTP/1.1 426 X",
    ),
    *(b"HTTP/1.2 200 OK", b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1  200", b"200 OK", b""),
    *(b"HTTP/1.1 200 \x00", b"HTTP/1.1 200 O\rK", b"HTTP/1.1 099 OK"),
)


def of_requests(data: bytes, limits: MessageLimits = MessageLimits()) -> list[Any]:
    """
    The calls for requests, and the status of the error that ends them.
    """
    recorder = Recorder()
    parser = RequestParser(recorder, limits)
    at = 0
    try:
        while at < len(data):
            at = parser.feed(data, at)
    except ProtocolError as error:
        recorder.told.append(error.status)
    return recorder.told


def of_response(data: bytes, method: bytes = b"GET") -> list[Any]:
    """
    The calls for a response, and whether an error ends it.
    """
    recorder = Recorder()
    parser = ResponseParser(MessageLimits())
    parser.answers(method, recorder)
    try:
        recorder.told.append(parser.feed(data))
    except ProtocolError:
        recorder.told.append("an error")
    return recorder.told


class SectionTests(SynchronousTestCase):
    """
    Heads whose section is remembered, and the same where it is not.
    """

    def test_requests(self) -> None:
        """
        Whatever the start line.
        """
        for section in SECTIONS:
            for start in STARTS:
                head = start + b"\r\n" + section
                # Another one of the same length takes its place.
                REQUEST_SECTIONS.add(bytes(len(section)), request_fields([]))
                first = of_requests(head)
                of_requests(b"GET / HTTP/1.0\r\n" + section)
                of_requests(b"GET / HTTP/1.1\r\n" + section)
                self.assertEqual(of_requests(head), first, head)

    def test_responses(self) -> None:
        """
        Whatever the status line.
        """
        for section in SECTIONS:
            for status in STATUSES:
                head = status + b"\r\n" + section
                RESPONSE_SECTIONS.add(bytes(len(section)), response_fields([]))
                first = of_response(head)
                of_response(b"HTTP/1.1 200 OK\r\n" + section)
                self.assertEqual(of_response(head), first, head)

    def test_limits(self) -> None:
        """
        A section that one parser accepts may have too many fields for another.
        """
        head = b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nY: z\r\n\r\n"
        self.assertEqual(len(of_requests(head)), 1)
        self.assertEqual(of_requests(head, MessageLimits(header_count=2)), [431])
        self.assertEqual(of_requests(head, MessageLimits(request_line=5)), [414])

    def test_refused(self) -> None:
        """
        A section that is refused is not remembered.
        """
        for lines in (
            b"Host: a\r\nHost: b",
            b"Host: a\r\nContent-Length: x",
            b"Host: a\r\nX\x00: y",
        ):
            section = lines + b"\r\n\r\n"
            self.assertEqual(of_requests(b"GET / HTTP/1.1\r\n" + section), [400])
            self.assertIsNone(REQUEST_SECTIONS.get(section))

    @bounded
    @given(REQUESTS)
    def test_any_requests(self, data: bytes) -> None:
        """
        Whatever comes is read the same the second time.
        """
        self.assertEqual(of_requests(data), of_requests(data))

    @bounded
    @given(RESPONSES)
    def test_any_response(self, response: tuple[bytes, bytes]) -> None:
        """
        And so is any response.
        """
        self.assertEqual(of_response(*response), of_response(*response))
