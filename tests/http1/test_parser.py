"""
L{alacrity.http1.parser}.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from alacrity.http1.errors import ProtocolError
from alacrity.http1.fields import SPECIAL_LINES, SPECIALS, options
from alacrity.http1.messages import CHUNKED, UNTIL_CLOSE, RequestHead
from alacrity.http1.parser import MessageLimits, RequestParser, ResponseParser
from alacrity.http1.sections import REQUEST_SECTIONS


class Recorder:
    """
    A receiver that records the calls of a parser, with the pieces of a body joined.
    """

    def __init__(self) -> None:
        self.told: list[Any] = []

    def _body(self, data: bytes) -> None:
        if self.told and isinstance(self.told[-1], bytes):
            self.told[-1] += data
        else:
            self.told.append(data)

    requestReceived = responseReceived = lambda self, head: self.told.append(head)
    requestBodyReceived = responseBodyReceived = _body
    requestFinished = responseFinished = lambda self, trailers: self.told.append(trailers)

    informationReceived = switchReceived = lambda self, head: self.told.append(head)


def read_requests(*pieces: bytes, limits: MessageLimits = MessageLimits()) -> list[Any]:
    """
    The recorded calls for requests that arrive in pieces.
    """
    recorder = Recorder()
    parser = RequestParser(recorder, limits)
    for piece in pieces:
        at = 0
        while at < len(piece):
            at = parser.feed(piece, at)
    return recorder.told


def read_response(
    *pieces: bytes, method: bytes = b"GET", limits: MessageLimits = MessageLimits()
) -> list[Any]:
    """
    The recorded calls for one response, and the bytes that were left unread, if any.
    """
    recorder = Recorder()
    parser = ResponseParser(limits)
    parser.answers(method, recorder)
    for piece in pieces:
        at = parser.feed(piece)
        if at < len(piece):
            recorder.told.append(("unread", piece[at:]))
    return recorder.told


def request(lines: str, body: bytes = b"") -> bytes:
    """
    The bytes of a request, given as lines that are separated by bars.
    """
    return lines.replace("|", "\r\n").encode("latin-1") + b"\r\n\r\n" + body


response = request

GET = request("GET /a?b=c HTTP/1.1|Host: example.org|Accept: */*|X-Forwarded-For: 1.2.3.4")
POST = request("POST / HTTP/1.1|Host: a|Content-Length: 5", b"hello")
CHUNKED_POST = request(
    "POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked",
    b"5;x=y\r\nhe\r\nl\r\n1\r\no\r\n0\r\nX-Sum: 1\r\nHost: evil\r\nAuthorization: no\r\n\r\n",
)


class RequestTests(SynchronousTestCase):
    """
    Well-formed requests.
    """

    def test_head(self) -> None:
        """
        The ordinary fields of a head are separate from the special ones.
        """
        (head,) = read_requests(GET)
        self.assertEqual(
            head,
            RequestHead(
                method=b"GET",
                target=b"/a?b=c",
                minor=1,
                host=b"example.org",
                lines=[b"Accept: */*"],
                specials=[(b"host", b"example.org"), (b"x-forwarded-for", b"1.2.3.4")],
                named=frozenset(),
                length=0,
                keep_alive=True,
            ),
        )

    def test_counted_body(self) -> None:
        """
        A body with a length ends after so many bytes.
        """
        head, body, trailers = read_requests(POST)
        self.assertEqual((head.length, body, trailers), (5, b"hello", []))

    def test_chunked_body(self) -> None:
        """
        A chunked body comes without its framing; trailers that belong in the head are left
        out (RFC 9110 6.5.1).
        """
        head, body, trailers = read_requests(CHUNKED_POST)
        self.assertEqual((head.length, body, trailers), (CHUNKED, b"he\r\nlo", [b"X-Sum: 1"]))

    def test_any_pieces(self) -> None:
        """
        The calls are the same, however the bytes arrive.
        """
        data = POST + GET + CHUNKED_POST + b"\r\n" + GET
        whole = read_requests(data)
        self.assertEqual(len(whole), 8)
        for size in range(1, 40):
            pieces = [data[i : i + size] for i in range(0, len(data), size)]
            self.assertEqual(read_requests(*pieces), whole)

    @given(st.lists(st.integers(0, len(POST + GET + CHUNKED_POST + GET)), max_size=8))
    def test_any_cuts(self, cuts: list[int]) -> None:
        """
        The same holds for random pieces.
        """
        data = POST + GET + CHUNKED_POST + GET
        bounds = [0, *sorted(cuts), len(data)]
        pieces = [data[a:b] for a, b in pairwise(bounds)]
        self.assertEqual(read_requests(*pieces), read_requests(data))

    def test_stops_at_the_end(self) -> None:
        """
        The bytes after a request are not read.
        """
        for message in (GET, POST, CHUNKED_POST):
            parser = RequestParser(Recorder(), MessageLimits())
            self.assertEqual(parser.feed(message + GET), len(message))
            self.assertFalse(parser.begun)

    def test_begun(self) -> None:
        """
        C{begun} is true within a request.
        """
        parser = RequestParser(Recorder(), MessageLimits())
        self.assertFalse(parser.begun)
        parser.feed(POST[:10])
        self.assertTrue(parser.begun)
        parser.feed(POST[10:-1])
        self.assertTrue(parser.begun)
        parser.feed(POST[-1:])
        self.assertFalse(parser.begun)

    def test_keep_alive(self) -> None:
        """
        Connections persist by version and C{Connection} (RFC 9112 9.3).
        """
        for version, connection, expected in (
            ("1.1", "", True),
            ("1.1", "|Connection: close", False),
            ("1.1", "|Connection: x, Close", False),
            ("1.1", "|Connection: keep-alive|Connection: close", False),
            ("1.0", "", False),
            ("1.0", "|Connection: Keep-Alive", True),
        ):
            (head,) = read_requests(request(f"GET / HTTP/{version}|Host: a{connection}"))
            self.assertEqual(head.keep_alive, expected, (version, connection))

    def test_forms_of_a_target(self) -> None:
        """
        The authority of an absolute form replaces the Host (RFC 9112 3.2.2).
        """
        for line, target, host in (
            ("GET http://b/x?y", b"/x?y", b"b"),
            ("GET HTTPS://b:1", b"/", b"b:1"),
            ("GET http://b?y", b"/?y", b"b"),
            ("OPTIONS http://b", b"*", b"b"),
            ("OPTIONS *", b"*", b"a"),
            ("GET /%0d%0a%00..;/../?a=1;b=%zz", b"/%0d%0a%00..;/../?a=1;b=%zz", b"a"),
        ):
            (head,) = read_requests(request(f"{line} HTTP/1.1|Host: a"))
            self.assertEqual((head.target, head.host), (target, host), line)

    def test_upgrade(self) -> None:
        """
        Of the protocols in C{Upgrade}, those that are allowed are told.
        """
        for lines, expected in (
            ("GET / HTTP/1.1|Connection: Upgrade|Upgrade: WebSocket", b"WebSocket"),
            ("GET / HTTP/1.1|Connection: x, upgrade|Upgrade: h2c, websocket", b"websocket"),
            (
                "GET / HTTP/1.1|Connection: upgrade|Upgrade: websocket|Upgrade: connect-udp",
                b"websocket, connect-udp",
            ),
            ("GET / HTTP/1.1|Connection: Upgrade|Upgrade: h2c", b""),
            ("GET / HTTP/1.1|Connection: Upgrade|Upgrade: TLS/1.2, HTTP/2.0", b""),
            ("GET / HTTP/1.1|Connection: Upgrade", b""),
            ("GET / HTTP/1.1|Upgrade: websocket", b""),
            ("GET / HTTP/1.0|Connection: Upgrade|Upgrade: websocket", b""),
            ("POST / HTTP/1.1|Connection: Upgrade|Upgrade: websocket", b""),
            ("GET / HTTP/1.1|Connection: Upgrade|Upgrade: websocket|Content-Length: 2", b""),
        ):
            body = b"hi" if "Length" in lines else b""
            head = read_requests(request(lines + "|Host: a", body))[0]
            self.assertEqual(head.upgrade, expected, lines)

    def test_upgrade_is_a_request(self) -> None:
        """
        A request that asks for an upgrade is read as others are, with its body.
        """
        upgrade = "|Host: a|Connection: Upgrade|Upgrade: h2c"
        data = (
            request("GET / HTTP/1.1" + upgrade)
            + request("POST / HTTP/1.1" + upgrade + "|Content-Length: 2", b"hi")
            + request("POST / HTTP/1.1" + upgrade + "|Transfer-Encoding: chunked", b"0\r\n\r\n")
            + GET
        )
        told = read_requests(data)
        self.assertEqual([t.length for t in told if isinstance(t, RequestHead)], [0, 2, -1, 0])

    def test_pretended_special_field(self) -> None:
        """
        A field that a server may take for a special one is dropped, and frames nothing.
        """
        (head,) = read_requests(
            request("GET / HTTP/1.1|Host: a|Content_Length: 5|X_Forwarded_For: 6.6.6.6|X_Y: 1")
        )
        self.assertEqual((head.length, head.lines), (0, [b"X_Y: 1"]))

    def test_pretended_by_any_other_character(self) -> None:
        """
        Bridges to CGI turn each character but letters and digits into an underscore; and
        Proxy would be read as HTTP_PROXY.
        """
        for name in (
            "X.Forwarded.For",
            "X-Forwarded.For",
            "x!forwarded~proto",
            "X*Forwarded`Host",
            "Content.Length",
            "Transfer+Encoding",
            "Proxy",
            "PROXY",
        ):
            with self.subTest(name):
                (head,) = read_requests(request(f"GET / HTTP/1.1|Host: a|{name}: 5|X.Y: 1"))
                self.assertEqual((head.length, head.lines), (0, [b"X.Y: 1"]))

    def test_expectations(self) -> None:
        """
        Expect is a list: empty members are ignored, repeated ones are one, and nobody waits
        where there is no body or HTTP/1.0 (RFC 9110 10.1.1).
        """
        for lines, body, expected in (
            ("Expect: 100-continue|Content-Length: 2", b"hi", True),
            ("Expect: 100-Continue|Expect: 100-continue|Content-Length: 2", b"hi", True),
            ("Expect: , 100-continue,|Content-Length: 2", b"hi", True),
            ("Expect:|Content-Length: 2", b"hi", False),
            ("Expect: ,,|Content-Length: 2", b"hi", False),
            ("Expect: 100-continue", b"", False),
            ("Expect: 100-continue|Content-Length: 0", b"", False),
        ):
            with self.subTest(lines):
                head = read_requests(request(f"POST / HTTP/1.1|Host: a|{lines}", body))[0]
                self.assertEqual(head.expects, expected)
        old = request("POST / HTTP/1.0|Expect: 100-continue|Content-Length: 2", b"hi")
        self.assertFalse(read_requests(old)[0].expects)
        for value in ("200-ok", "100-continue, other", "100-continue=1"):
            with self.subTest(value), self.assertRaises(ProtocolError) as caught:
                read_requests(request(f"POST / HTTP/1.1|Host: a|Expect: {value}"))
            self.assertEqual(caught.exception.status, 417)

    def test_hosts_of_future_addresses(self) -> None:
        """
        A host may be an IP literal of a version to come (RFC 3986 3.2.2).
        """
        for host in ("[v1.a:b]", "[vF.addr:x]:80", "[V7f.!$]"):
            (head,) = read_requests(request(f"GET / HTTP/1.1|Host: {host}"))
            self.assertEqual(head.host, host.encode())
        for host in ("[v.a]", "[vG.a]", "[v1.]", "[v1]", "[v1.a b]", "[v1.a"):
            with self.subTest(host), self.assertRaises(ProtocolError):
                read_requests(request(f"GET / HTTP/1.1|Host: {host}"))


class BadRequestTests(SynchronousTestCase):
    """
    Requests that are refused.
    """

    def refused(self, data: bytes, status: int, limits: MessageLimits = MessageLimits()) -> None:
        """
        Assert that the last of some requests is refused, however it arrives, and that the
        receiver is not called for it.
        """
        for pieces in ((data,), tuple(data[i : i + 1] for i in range(min(len(data), 3000)))):
            if b"".join(pieces) != data:
                continue
            with self.assertRaises(ProtocolError, msg=data[:100]) as caught:
                read_requests(*pieces, limits=limits)
            self.assertEqual(caught.exception.status, status, (data[:100], str(caught.exception)))

    def refused_in_two(self, data: bytes, statuses: set[int]) -> None:
        """
        Assert the statuses with which a request is refused that arrives in two pieces.
        """
        found = set()
        for cut in range(1, len(data)):
            with self.assertRaises(ProtocolError, msg=data[:cut]) as caught:
                read_requests(data[:cut], data[cut:])
            found.add(caught.exception.status)
        self.assertEqual(found, statuses, data)

    def test_heads(self) -> None:
        """
        Malformed or ambiguous heads.
        """
        for lines in (
            "nonsense",
            "GET",
            "GET / HTTP/1.1x|Host: a",
            "GET /",
            "GET / HTTP/1.1",
            "GET http://a/ HTTP/1.1",
            "GET / HTTP/1.1|Host: a|Host: a",
            "GET / HTTP/1.1|Host: a,b",
            "GET / HTTP/1.1|Host: u@h",
            "GET / HTTP/1.1|Host: h/p",
            "GET /a b HTTP/1.1|Host: a",
            "GET /#f HTTP/1.1|Host: a",
            "GET /\xe9 HTTP/1.1|Host: a",
            "GET admin HTTP/1.1|Host: a",
            "GET * HTTP/1.1|Host: a",
            "GET h:80 HTTP/1.1|Host: a",
            "GET http:// HTTP/1.1|Host: a",
            "GET http://u@h/ HTTP/1.1|Host: a",
            "GET / HTTP/1.1|Host: a| folded",
            "GET / HTTP/1.1|Host: a|X: y| folded",
            "GET / HTTP/1.1|Host: a|: y",
            "GET / HTTP/1.1|Host: a|X y",
            "GET / HTTP/1.1|Host: a|X : y",
            "GET / HTTP/1.1|Host: a|X\xe9: y",
            "GET / HTTP/1.1|Host: a|X: y\0",
            "GET / HTTP/1.1|Host: a|X: y\x7f",
            "GET / HTTP/1.1|Host: a|X: y\rz",
            "GET / HTTP/1.1|Host: a|X: y\nz: 1",
            "POST / HTTP/1.1|Host: a|Content-Length: +5",
            "POST / HTTP/1.1|Host: a|Content-Length: 5, 5",
            "POST / HTTP/1.1|Host: a|Content-Length: 5|Content-Length: 5",
            "POST / HTTP/1.1|Host: a|Content-Length:",
            "POST / HTTP/1.1|Host: a|Content-Length: 18446744073709551616",
            "POST / HTTP/1.1|Host: a|Content-Length: 5|Transfer-Encoding: chunked",
            "POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked, chunked",
            "POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked|Transfer-Encoding: chunked",
            "POST / HTTP/1.1|Host: a|Transfer-Encoding: gzip",
            "POST / HTTP/1.1|Host: a|Transfer-Encoding: ",
            "POST / HTTP/1.1|Host: a|Transfer-Encoding: \x0bchunked",
            "POST / HTTP/1.0|Host: a|Transfer-Encoding: chunked",
        ):
            self.refused(request(lines), 400)

    def test_line_ends(self) -> None:
        """
        Lines must end with CR LF.
        """
        self.refused(b"GET / HTTP/1.1\nHost: a\n\n", 400)
        self.refused(b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400)
        self.refused(b"GET / HTTP/1.1\r\nHost: a\r\n\rX\r\n\r\n", 400)
        self.refused(b"\rCONNECT \n\r\n\rGET /\r\n", 400)

    def test_methods(self) -> None:
        """
        Methods that a proxy does not pass on, unknown ones, and words that are no method.
        """
        self.refused(request("TRACE / HTTP/1.1|Host: a"), 405)
        self.refused(request("CONNECT a:80 HTTP/1.1|Host: a"), 405)
        with self.assertRaises(ProtocolError) as caught:
            read_requests(request("BREW / HTTP/1.1|Host: a"))
        self.assertEqual(caught.exception.status, 501)
        with self.assertRaises(ProtocolError) as caught:
            read_requests(b"\r\n" + request("BREW / HTTP/1.1|Host: a"))
        self.assertEqual(caught.exception.status, 501)
        self.refused(b"\x16\x03\x01\x02\x00\x01\x00\x01", 400)

    def test_versions(self) -> None:
        """
        Versions other than 1.0 and 1.1.
        """
        for version in ("2.0", "1.2", "1.9", "9.9", "0.9", "3.0"):
            with self.subTest(version):
                self.refused(request(f"GET / HTTP/{version}|Host: a"), 505)
                self.refused(request(f"|GET / HTTP/{version}|Host: a"), 505)
                self.refused_in_two(request(f"|GET / HTTP/{version}|Host: a"), {505})
        for version in ("1.1x", "1.10", "11", "x.y", "-1.1"):
            with self.subTest(version), self.assertRaises(ProtocolError):
                read_requests(request(f"GET / HTTP/{version}|Host: a"))
        with self.assertRaises(ProtocolError):
            read_requests(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        # An unknown method is refused at its first wrong byte, if it comes so.
        self.refused_in_two(request("|BREW / HTTP/1.1|Host: a"), {400, 501})

    def test_limits(self) -> None:
        """
        Each limit has its status.
        """
        limits = MessageLimits(request_line=100, header_bytes=300, header_count=5)
        self.refused(request(f"GET /{'x' * 100} HTTP/1.1|Host: a"), 414, limits)
        self.refused(b"GET /" + b"x" * 400, 414, limits)
        self.refused(b"\r\nGET /" + b"x" * 400, 414, limits)
        self.refused(request(f"GET / HTTP/1.1|Host: a|X: {'x' * 300}"), 431, limits)
        self.refused(request("GET / HTTP/1.1|Host: a" + "|X: y" * 5), 431, limits)

    def test_chunks(self) -> None:
        """
        Malformed chunks.
        """
        head = request("POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked")
        for body in (
            b"0x5\r\nhello",
            b"+5\r\nhello",
            b"5 \r\nhello",
            b" 5\r\nhello",
            b"\r\nhello",
            b"5\nhello",
            b"5\r\nhelloX\r\n",
            b"5\r\nhello!\r\n0\r\n\r\n",
            b"12345678901234567\r\n",
            b"0\r\nX : y\r\n\r\n",
        ):
            self.refused(head + body, 400)

    def test_framing_without_content(self) -> None:
        """
        Extensions and trailers are bounded in sum, with content or without.
        """
        limits = MessageLimits(header_bytes=1000)
        head = request("POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked")
        self.refused(head + b"5;" + b"x" * 2000, 431, limits)
        self.refused(head + (b"1;" + b"x" * 100 + b"\r\nx\r\n") * 30, 431, limits)
        self.refused(head + b"0\r\n" + b"X: y\r\n" * 400, 431, limits)
        tiny = b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n"
        self.assertEqual(read_requests(head + tiny, limits=limits)[1], b"x" * 1000)


class MemoryTests(SynchronousTestCase):
    """
    The caches of the parser.
    """

    def test_long(self) -> None:
        """
        Long lines are not cached, as there could be many of them.
        """
        for number in range(3):
            name = b"X-" + b"%d" % number * 1000
            read_requests(b"GET / HTTP/1.1\r\nHost: a\r\n%b: x\r\n\r\n" % name)
            self.assertNotIn(name, SPECIALS)
            self.assertNotIn(name + b": x", SPECIAL_LINES)
            section = b"Host: a\r\n%b: %b\r\n\r\n" % (name, b"x" * 2000)
            read_requests(b"GET / HTTP/1.1\r\n" + section)
            self.assertIsNone(REQUEST_SECTIONS.get(section))
        value = b", ".join(b"%d" % number for number in range(1000))
        self.assertIsNot(options(value), options(value))
        self.assertIs(options(b"a, b"), options(b"a, b"))

    def test_many(self) -> None:
        """
        The numbers of cached names, lines and sections are bounded: one section of each length.
        """
        for number in range(5000):
            read_requests(b"GET / HTTP/1.1\r\nHost: a\r\nX-%d: x\r\n\r\n" % number)
        self.assertLessEqual(len(SPECIALS), SPECIALS.BOUND)
        self.assertLessEqual(len(SPECIAL_LINES), SPECIAL_LINES.BOUND)
        sections = [b"Host: a\r\nX-%d: x\r\n\r\n" % number for number in range(1000, 5000)]
        kept = [each for each in sections if REQUEST_SECTIONS.get(each) is not None]
        self.assertEqual(kept, sections[-1:])


class ResponseTests(SynchronousTestCase):
    """
    Responses.
    """

    def test_counted(self) -> None:
        """
        A response with a length.
        """
        head, body, trailers = read_response(
            response("HTTP/1.1 200 OK|Content-Length: 2|Server: x", b"hi")
        )
        self.assertEqual((head.status, head.reason, head.lines), (200, b"OK", [b"Server: x"]))
        self.assertEqual((head.length, head.declared, head.keep_alive), (2, 2, True))
        self.assertEqual((body, trailers), (b"hi", []))

    def test_any_pieces(self) -> None:
        """
        The calls are the same, however the bytes arrive.
        """
        data = response("HTTP/1.1 100 Continue") + response(
            "HTTP/1.1 200 OK|Transfer-Encoding: chunked", b"2\r\nhi\r\n0\r\nX: y\r\n\r\n"
        )
        whole = read_response(data)
        self.assertEqual(whole[2:], [b"hi", [b"X: y"]])
        for size in range(1, 30):
            pieces = [data[i : i + size] for i in range(0, len(data), size)]
            self.assertEqual(read_response(*pieces), whole)

    def test_spaces_after_the_size_of_a_chunk(self) -> None:
        """
        Servers that pad the sizes of chunks are understood, in any pieces; a client is not,
        see L{BadRequestTests}.
        """
        head = response("HTTP/1.1 200 OK|Transfer-Encoding: chunked")
        body = (
            b"3  \r\nabc\r\n28 \t \r\n" + b"x" * 40 + b"\r\n1\r\ny\r\n1 ;a=b\r\nz\r\n"
            b'1\t; a = "b ;" ; c \r\nz\r\n' + b"0" * 30 + b"1 \r\nz\r\n0 \r\n\r\n"
        )
        wanted = b"abc" + b"x" * 40 + b"yzzz"
        for pieces in ((head + body,), tuple(bytes([byte]) for byte in head + body)):
            told = read_response(*pieces)
            self.assertEqual(b"".join(t for t in told if isinstance(t, bytes)), wanted)
        for size in (
            *(b" 3", b"3 3", b"3 ;", b"3; ", b"3 ;a =", b"3;a b", b"3 \n", b"3\x0b", b"3 \r", b" "),
            *(b"3 a", b"3 ;a;;b", b"3;=b", b'3; a="b'),
        ):
            with self.subTest(size), self.assertRaises(ProtocolError):
                read_response(head + size + b"\r\nabc\r\n0\r\n\r\n")
        for size in (b"3 ", b"3\t", b"3 ;a", b"3; a", b"3;a ", b"3;a =b", b"3;a= b", b"03 "):
            with self.subTest(size), self.assertRaises(ProtocolError):
                read_requests(
                    request("POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked")
                    + size
                    + b"\r\nabc\r\n0\r\n\r\n"
                )

    def test_statuses_without_a_class(self) -> None:
        """
        A status of three digits is passed on, of whatever class (RFC 9110 15).
        """
        for status in (299, 600, 799, 999):
            head = read_response(response(f"HTTP/1.1 {status} x|Content-Length: 0"))[0]
            self.assertEqual((head.status, head.reason), (status, b"x"))

    def test_until_close(self) -> None:
        """
        Without a length, the body goes on until the connection ends.
        """
        recorder = Recorder()
        parser = ResponseParser(MessageLimits())
        parser.answers(b"GET", recorder)
        parser.feed(response("HTTP/1.0 200 OK", b"a"))
        parser.feed(b"b")
        self.assertEqual(recorder.told[0].length, UNTIL_CLOSE)
        self.assertEqual(recorder.told[1:], [b"ab"])
        parser.ended()
        self.assertEqual(recorder.told[1:], [b"ab", []])

    def test_ended_early(self) -> None:
        """
        A response that is cut off does not count as a complete one.
        """
        for part in (
            b"",
            b"HTTP/1.1 200 OK\r\n",
            response("HTTP/1.1 200 OK|Content-Length: 2", b"h"),
            response("HTTP/1.1 200 OK|Transfer-Encoding: chunked", b"0\r\n"),
        ):
            parser = ResponseParser(MessageLimits())
            parser.answers(b"GET", Recorder())
            parser.feed(part)
            self.assertRaises(ProtocolError, parser.ended)

    def test_without_body(self) -> None:
        """
        Responses without a body, whatever their fields say, end with their head.
        """
        for method, line in (
            (b"HEAD", "200 OK|Content-Length: 5"),
            (b"HEAD", "200 OK|Transfer-Encoding: chunked"),
            (b"HEAD", "200 OK"),
            (b"GET", "304 Not Modified|Content-Length: 5"),
            (b"GET", "204 No Content|Content-Length: 5"),
            (b"GET", "200 OK|Content-Length: 0"),
        ):
            head, *rest = read_response(response("HTTP/1.1 " + line, b"X"), method=method)
            self.assertEqual((head.length, rest), (0, [("unread", b"X")]), line)
            self.assertEqual(head.declared is not None, "Content" in line and "204" not in line)

    def test_switch(self) -> None:
        """
        The bytes after the head of a 101 are left unread.
        """
        lines = "HTTP/1.1 101 Switching Protocols|Connection: upgrade|Upgrade: websocket"
        head, unread = read_response(response(lines, b"X\r\n\r\n"))
        self.assertEqual((head.status, unread), (101, ("unread", b"X\r\n\r\n")))

    def test_unread(self) -> None:
        """
        The bytes that a server sends after its response are left unread.
        """
        told = read_response(response("HTTP/1.1 200 OK|Content-Length: 2", b"hiX"))
        self.assertEqual(told[-1], ("unread", b"X"))

    def test_bad(self) -> None:
        """
        Malformed responses, and those that cannot be relied upon.
        """
        for data in (
            b"nonsense\r\n\r\n",
            response("HTTP/1.1 099 x"),
            response("HTTP/1.1 1000 x"),
            response("HTTP/1.1 20 x"),
            response("HTTP/1.1 099 x"),
            response("HTTP/1.1 200 \0OK|Content-Length: 0"),
            response("HTTP/1.1 200 O\x1bK|Content-Length: 0"),
            response("HTTP/2.0 200 OK"),
            response("HTTP/1.1 200 OK|Content-Length: 1|Content-Length: 2"),
            response("HTTP/1.1 200 OK|Content-Length: 1|Transfer-Encoding: chunked"),
            response("HTTP/1.1 200 OK|Transfer-Encoding: gzip"),
            response("HTTP/1.1 200 OK|Transfer-Encoding: chunked, chunked"),
            response("HTTP/1.0 200 OK|Transfer-Encoding: chunked"),
            response("HTTP/1.1 200 OK|X: a\0b"),
            response("HTTP/1.1 200 OK|X: a| folded"),
            response("HTTP/1.1 200 OK|X: " + "x" * 40000),
            response("HTTP/1.1 103 Early Hints") * 17,
        ):
            self.assertRaises(ProtocolError, read_response, data)
