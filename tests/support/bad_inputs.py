"""
The table of bad input: what arrives, what must happen. A row names a weakness that was
found in real proxies and servers; each has cases. RFC sections are of 9112 where no
other is named.

Row WK1, the inputs that cost most, is in L{acceptance.lab.attacks}; its tests are in
C{tests/proxy/test_bounded_work.py}, and over real sockets C{python -m benchmarks.worst_case}.
"""

from __future__ import annotations

from typing import Final

import msgspec

from tests.support.recorder import OK, Answer

ADDED: Final = (
    "|Via: 1.1 alacrity|X-Forwarded-For: 127.0.0.1|X-Forwarded-Proto: http|X-Forwarded-Host: "
)


def lines(text: str, body: bytes = b"") -> bytes:
    """
    A message out of lines that are separated by bars.
    """
    return text.replace("|", "\r\n").encode("latin-1") + b"\r\n\r\n" + body


def forwarded(text: str, body: bytes = b"", *, host: str = "a") -> bytes:
    """
    A request as it leaves the proxy.
    """
    return lines(text + ADDED + host, body)


class Case(msgspec.Struct, frozen=True):
    """
    Bytes of a client, and the required outcome.

    @ivar sent: in one piece.
    @ivar statuses: of the responses, in order.
    @ivar forwarded: what the server gets, byte for byte.
    @ivar kept: whether the connection goes on.
    @ivar in_flight: whether the fault may come after forwarding has begun; then the
        server's connection is broken off instead.
    """

    sent: bytes
    statuses: tuple[int, ...] = (400,)
    forwarded: bytes = b""
    kept: bool = False
    in_flight: bool = False


def refused(*heads: str, body: bytes = b"hello", status: int = 400) -> list[Case]:
    """
    Requests that are refused. Not a byte is forwarded.
    """
    return [Case(lines(head, body), (status,)) for head in heads]


def taken(head: str, expected: str, body: bytes = b"", *, host: str = "a") -> Case:
    """
    A request that goes through, with its body.
    """
    return Case(lines(head, body), (200,), forwarded(expected, body, host=host), kept=True)


def old(head: str, expected: str, body: bytes = b"") -> Case:
    """
    A request of HTTP/1.0 that goes through, with its body. The connection is closed.
    """
    sent = forwarded(expected, body).replace(b"Via: 1.1", b"Via: 1.0")
    return Case(lines(head, body), (200,), sent)


GET: Final = "GET / HTTP/1.1|Host: a"
POST: Final = "POST / HTTP/1.1|Host: a|"
TE: Final = POST + "Transfer-Encoding: chunked"


def chunks(*bodies: bytes, status: int = 400, in_flight: bool = False) -> list[Case]:
    """
    Bodies in chunks that are refused.
    """
    return [Case(lines(TE, body), (status,), in_flight=in_flight) for body in bodies]


REQUESTS: Final[dict[str, list[Case]]] = {
    # Content-Length (6.3)
    "CL1": refused(POST + "Content-Length: 5|Content-Length: 6"),
    "CL2": refused(POST + "Content-Length: 5, 5", POST + "Content-Length: 5|Content-Length: 5"),
    "CL3": refused(
        *(
            POST + "Content-Length: " + value
            for value in ("+5", "-1", "-0", "0x10", "1_0", "5 6", "1Z", "5.0", "\xb2")
        )
    ),
    "CL4": refused(POST + "Content-Length:", POST + "Content-Length:|Content-Length: 5"),
    "CL5": refused(
        POST + "Content-Length: 18446744073709551616",
        POST + "Content-Length: " + "9" * 30,
        POST + "Content-Length: 9223372036854775808",
    ),
    "CL6": [
        taken(POST + "Content-Length: 010", POST + "Content-Length: 10", b"0123456789"),
        taken(POST + "Content-Length: 00", POST + "Content-Length: 0"),
    ],
    "CL7": [
        *refused(POST + "Content-Length : 5", POST + "Content-Length\x85: 5"),
        *refused(POST + "Content-Length\t: 5", POST + "\x0bContent-Length: 5"),
        Case(
            lines(POST + "Content_Length: 40") + lines(GET),
            (200, 200),
            forwarded(POST + "Content-Length: 0") + forwarded(GET),
            kept=True,
        ),
    ],
    # Transfer-Encoding (6.1, 6.3)
    "TE1": refused(
        POST + "Content-Length: 5|Transfer-Encoding: chunked",
        POST + "Transfer-Encoding: chunked|Content-Length: 5",
        body=b"0\r\n\r\n",
    ),
    "TE2": refused(
        POST + "Transfer-Encoding: chunked, chunked",
        POST + "Transfer-Encoding: chunked|Transfer-Encoding: chunked",
        body=b"0\r\n\r\n",
    ),
    "TE3": refused(
        *(
            POST + "Transfer-Encoding: " + value
            for value in (
                "chunked, gzip",
                "gzip",
                "xchunked",
                "identity",
                "chunked;a=b",
                '"chunked"',
            )
        ),
        body=b"0\r\n\r\n",
    ),
    "TE4": refused(
        *(POST + "Transfer-Encoding: " + value for value in (",chunked", "chunked,", "")),
        body=b"0\r\n\r\n",
    ),
    "TE5": refused(
        *(
            POST + "Transfer-Encoding: " + value
            for value in ("\x0bchunked", "\xa0chunked", "chunked\0", "chunked\x0b")
        ),
        body=b"0\r\n\r\n",
    ),
    "TE6": refused(
        POST + "Transfer-Encoding:| chunked",
        POST + "Transfer-Encoding: chunked|\tX: y",
        POST + "X: y| Transfer-Encoding: chunked",
        body=b"0\r\n\r\n",
    ),
    "TE7": refused("POST / HTTP/1.0|Host: a|Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    # Chunks (7.1)
    "CH1": chunks(
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"5_0\r\nhello\r\n0\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"\r\nhello\r\n0\r\n\r\n",
        b"5\t;a\r\nhello\r\n0\r\n\r\n",
    ),
    "CH2": chunks(b"12345678901234567\r\nhello\r\n0\r\n\r\n", b"00000000000000000005g\r\n"),
    "CH3": chunks(
        b"5\nhello\r\n0\r\n\r\n",
        b"5\rhello\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\r0\r\n\r\n",
        b"0\n\n",
        b"0\r\n\n",
        b"5;a\nhello\r\n0\r\n\r\n",
    ),
    "CH4": chunks(
        b"5;a\x00\r\nhello\r\n0\r\n\r\n",
        b"5;a=b\r\rX\r\nhello\r\n0\r\n\r\n",
        b"5;a=b\rX\r\nhello\r\n0\r\n\r\n",
        b'5;a="\x00"\r\nhello\r\n0\r\n\r\n',
    ),
    "CH5": chunks(b'5;a="x\r\ny"\r\nhello\r\n0\r\n\r\n', b'5;a="x\r\n0\r\n\r\n'),
    "CH6": chunks(b"5\r\nhelloXX0\r\n\r\n", b"5\r\nhello\r\r0\r\n\r\n"),
    "CH7": chunks(b"5\r\nhello!\r\n0\r\n\r\n", b"5\r\nhello world\r\n0\r\n\r\n"),
    "CH8": chunks(
        b"5;" + b"x" * 65536 + b"\r\nhello\r\n0\r\n\r\n",
        (b"1;" + b"x" * 200 + b"\r\nx\r\n") * 5000 + b"0\r\n\r\n",
        status=431,
        in_flight=True,
    ),
    "TR1": [
        Case(
            lines(
                TE,
                b"2\r\nhi\r\n0\r\nHost: evil\r\nAuthorization: x\r\n"
                b"cookie: x\r\nX-Forwarded-For: 6.6.6.6\r\nX-Sum: 1\r\n\r\n",
            ),
            (200,),
            forwarded(TE, b"2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"),
            kept=True,
        ),
        Case(
            lines(
                TE,
                b"2\r\nhi\r\n0\r\nX.Forwarded.For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\n"
                b"Proxy: evil\r\nContent_Length: 5\r\nTransfer.Encoding: gzip\r\nX-Sum: 1\r\n\r\n",
            ),
            (200,),
            forwarded(TE, b"2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"),
            kept=True,
        ),
        Case(
            lines(
                POST + "Connection: X-Sum|Transfer-Encoding: chunked",
                b"2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n",
            ),
            (200,),
            forwarded(TE, b"2\r\nhi\r\n0\r\n\r\n"),
            kept=True,
        ),
    ],
    "TR1_framing": chunks(
        b"0\r\nContent-Length: 5\r\n\r\n", b"0\r\nTransfer-Encoding: gzip\r\n\r\n"
    ),
    "TR2": [
        *chunks(b"0\r\nX: a\nY: b\r\n\r\n", b"0\r\nX: a\r\n b\r\n\r\n", b"0\r\nX\r\n\r\n"),
        *chunks(b"0\r\n" + b"X: y\r\n" * 20000, status=431, in_flight=True),
        *chunks(b"0\r\n" + b"X: y\r\n" * 200 + b"\r\n", status=431),
    ],
    # Lines and fields (2.2, 5)
    "LN1": [
        Case(b"GET / HTTP/1.1\nHost: a\n\n"),
        Case(b"GET / HTTP/1.1\r\nHost: a\n\r\n"),
        Case(b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
        Case(b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
        Case(b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
        Case(b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ],
    "LN2": refused(GET + "|X\ry: z", GET + "|X: y\rz", GET + "|X: y\r", GET + "\r", body=b""),
    "LN3": [
        Case(b"GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n"),
        Case(b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n"),
    ],
    "LN4": [
        Case(b"\r\n\r\n\r\n" + lines(GET), (200,), forwarded(GET), kept=True),
        Case(b"\r\n" + lines(GET), (200,), forwarded(GET), kept=True),
        Case(lines(GET) + b"\r\n" + lines(GET), (200, 200), forwarded(GET) * 2, kept=True),
        Case(b"\r\n" * 1000 + lines(GET)),
        Case(b"\r\n \r\n" + lines(GET)),
    ],
    "LN5": [
        Case(b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        Case(b"GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n"),
        Case(b"GET / HTTP/1.1\r\n\tX: y\r\nHost: a\r\n\r\n"),
        Case(b" GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ],
    "LN6": refused(GET + "|X: y| z", GET + "|X: y|\tz", GET + "|X:| z", body=b""),
    "HD1": refused(GET + "|: y", GET + "| : y", body=b""),
    "HD2": refused(
        *(GET + "|" + line for line in ("nocolon", "X y: z", "X\x01: z", "X\xe9: z", "X\0: z")),
        *(GET + "|" + line for line in ("X(: z", 'X": z', "X/: z", "{X}: z")),
        body=b"",
    ),
    "HD3": refused(
        *(GET + f"|X: y{control}z" for control in ("\0", "\7", "\x7f", "\x1b", "\x0b")), body=b""
    ),
    "HD4": [
        taken(GET + f"|{'x' * 270}: y", f"GET / HTTP/1.1|Host: a|{'x' * 270}: y"),
        taken(GET + "|X: \xe9\x80\xff", "GET / HTTP/1.1|Host: a|X: \xe9\x80\xff"),
    ],
    "HD5": [
        *refused(GET + "|X: " + "y" * 65536, body=b"", status=431),
        *refused(GET + "|X: y" * 10000, body=b"", status=431),
        *refused(GET + "|X: y" * 101, body=b"", status=431),
        *refused(f"GET /{'x' * 20000} HTTP/1.1|Host: a", body=b"", status=414),
        *refused(f"GET /{'x' * 200000} HTTP/1.1|Host: a", body=b"", status=414),
    ],
    # Target (3.2), host (9110 7.2), version (2.3), method (9110 9.1)
    "HO1": refused(
        "GET / HTTP/1.1",
        "GET http://a/ HTTP/1.1",
        "GET / HTTP/1.1|Host: a|Host: a",
        "GET / HTTP/1.1|Host: a|Host: b",
        *(
            "GET / HTTP/1.1|Host: " + host
            for host in ("a,b", "a, b", "u@h", "h/p", "a b", "a:x", ":80", "[::1", "a?b", "\xe9")
        ),
        body=b"",
    ),
    "HO2": [
        taken("GET http://a/ HTTP/1.1|Host: b", GET),
        taken("GET http://a:81/x HTTP/1.1|Host: b", "GET /x HTTP/1.1|Host: a:81", host="a:81"),
        *refused(
            "GET http://u@a/ HTTP/1.1|Host: a",
            "GET http:// HTTP/1.1|Host: a",
            "GET http://a/ HTTP/1.1|Host: b,c",
            "GET ftp://a/ HTTP/1.1|Host: a",
            "GET http:///x HTTP/1.1|Host: a",
            body=b"",
        ),
    ],
    "HO3": refused("GET / HTTP/1.1|Host: <script>alert(1)</script>", body=b""),
    "RT1": refused(
        *(f"GET {target} HTTP/1.1|Host: a" for target in ("*", "admin", "h:80", "?x", "a/b")),
        body=b"",
    ),
    "RT2": [taken("OPTIONS * HTTP/1.1|Host: a", "OPTIONS * HTTP/1.1|Host: a")],
    "RT3": refused(
        *(
            f"GET /{target} HTTP/1.1|Host: a"
            for target in ("#frag", "a b", "a\tb", "a\0b", "\xe9", "\x7f", "a\x0bb", "a  b")
        ),
        "GET  / HTTP/1.1|Host: a",
        "GET /  HTTP/1.1|Host: a",
        "GET\t/\tHTTP/1.1|Host: a",
        body=b"",
    ),
    "RT4": [
        taken(f"GET {target} HTTP/1.1|Host: a", f"GET {target} HTTP/1.1|Host: a")
        for target in (
            *("/%0d%0aX:y", "/%00", "/..;/", "//", "/?a=1;b=2", "/%zz", "/../../etc", "/a//b"),
            *("//evil/", "/%2e%2e/", "/\\", "/?", '/<"{^`>'),
        )
    ],
    "VR1": [
        Case(b"GET /\r\n\r\n"),
        *refused(
            *(
                f"GET / HTTP/{v}|Host: a"
                for v in ("1.1x", "1.", "1", "2", "11", "1.1 ", "1.10", "01.1", "1.x", ".1", "-1.1")
            ),
            body=b"",
        ),
        *refused("GET / http/1.1|Host: a", "GET / HTTPS/1.1|Host: a", body=b""),
        *refused(
            *(f"GET / HTTP/{v}|Host: a" for v in ("9.9", "3.0", "2.0", "0.9")), body=b"", status=505
        ),
        # One that ends before its empty line: what follows would go unseen.
        Case(b"CONNECT \n\r\n\rGET /\r\n"),
        Case(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (505,)),
        Case(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    ],
    "VR2": refused(
        *(f"GET / HTTP/{v}|Host: a" for v in ("1.2", "1.9")),
        "POST / HTTP/1.2|Host: a|Content-Length: 5",
        "GET / HTTP/1.2",
        "|GET / HTTP/1.2|Host: a",
        body=b"",
        status=505,
    ),
    "CN1": [
        *refused("TRACE / HTTP/1.1|Host: a", "CONNECT a:80 HTTP/1.1|Host: a", body=b"", status=405),
        *refused("TRACK / HTTP/1.1|Host: a", "BREW / HTTP/1.1|Host: a", body=b"", status=501),
        *refused("get / HTTP/1.1|Host: a", body=b"", status=501),
    ],
    # Hop-by-hop fields (9110 7.6.1), forwarding
    "HH1": [
        taken(
            POST + "Connection: X-Forwarded-For, Host, Content-Length, Via, X-A|X-A: 1|"
            "X-Forwarded-For: 6.6.6.6|Content-Length: 2",
            POST + "Content-Length: 2",
            b"hi",
        ),
        taken(POST + "Connection: Transfer-Encoding|Transfer-Encoding: chunked", TE, b"0\r\n\r\n"),
    ],
    "HH2": [
        taken(
            GET + "|Connection: X-A|Connection:|Connection: ,, x-b ,|X-A: 1|X-B: 2|X-C: 3",
            GET + "|X-C: 3",
        ),
        taken(GET + "|Keep-Alive: 5|Proxy-Connection: x|TE: trailers|Proxy-Authorization: x", GET),
    ],
    "HH3": [
        taken(
            GET + "|X-Forwarded-For: 6.6.6.6|X-Forwarded-Proto: https|X-Forwarded-Host: evil|"
            "X-Forwarded-Port: 1|X-Forwarded-Prefix: /x|Forwarded: for=6.6.6.6|"
            "X_Forwarded_For: 6.6.6.6|x-forwarded_for: 6.6.6.6",
            GET,
        ),
        taken(GET + "|Via: 1.0 x", GET + "|Via: 1.0 x"),
    ],
    "UP1": [
        taken(
            GET + f"|Connection: Upgrade, HTTP2-Settings|HTTP2-Settings: x|Upgrade: {protocol}", GET
        )
        for protocol in ("h2c", "H2C", "h2c,", "TLS/1.0", "HTTP/2.0", "h2")
    ],
    "UP2": [
        # With a body, it is a request like any other.
        taken(
            POST + "Connection: Upgrade|Upgrade: websocket|Content-Length: 2",
            POST + "Content-Length: 2",
            b"hi",
        ),
        taken(
            GET + "|Connection: Upgrade|Upgrade: websocket|Content-Length: 2",
            GET + "|Content-Length: 2",
            b"hi",
        ),
    ],
    # Expect (9110 10.1.1)
    "EX2": refused(POST + "Expect: 200-ok|Content-Length: 5", status=417),
    "EX9": [
        *(
            taken(POST + f"{expect}|Content-Length: 2", POST + "Content-Length: 2", b"hi")
            for expect in ("Expect:", "Expect: ,", "Expect: , ,|Expect:")
        ),
        *(
            taken(
                POST + f"{expect}|Content-Length: 2",
                POST + "Content-Length: 2|Expect: 100-continue",
                b"hi",
            )
            for expect in (
                "Expect: 100-continue",
                "Expect: 100-Continue",
                "Expect: 100-continue|Expect: 100-continue",
                "Expect: 100-continue, 100-CONTINUE",
                "Expect: ,100-continue,",
                "Expect:|Expect: 100-continue",
                "Connection: Expect|Expect: 100-continue",
            )
        ),
        taken(
            POST + "Expect: 100-continue|Transfer-Encoding: chunked",
            TE + "|Expect: 100-continue",
            b"2\r\nhi\r\n0\r\n\r\n",
        ),
        # Nothing waits there.
        taken(GET + "|Expect: 100-continue", GET),
        taken(POST + "Expect: 100-continue", POST + "Content-Length: 0"),
        taken(POST + "Expect: 100-continue|Content-Length: 0", POST + "Content-Length: 0"),
        old(
            "POST / HTTP/1.0|Host: a|Expect: 100-continue|Content-Length: 2",
            POST + "Content-Length: 2",
            b"hi",
        ),
        *refused(
            *(
                POST + f"Expect: {value}|Content-Length: 5"
                for value in ("100-continue, 200-ok", "100-continue;a=b", "100", '"100-continue"')
            ),
            POST + "Expect: 100-continue|Expect: x|Content-Length: 5",
            status=417,
        ),
    ],
    # A length of nothing (9110 8.6)
    "CL9": [
        *(
            taken(
                f"{method} / HTTP/1.1|Host: a|Content-Length: {length}",
                f"{method} / HTTP/1.1|Host: a|Content-Length: 0",
            )
            for method, length in (
                *((method, "0") for method in ("DELETE", "PROPFIND", "QUERY", "GET", "OPTIONS")),
                *(("DELETE", "000"), ("POST", "0")),
            )
        ),
        *(
            taken(f"{method} / HTTP/1.1|Host: a", f"{method} / HTTP/1.1|Host: a")
            for method in ("DELETE", "PROPFIND", "QUERY", "GET", "OPTIONS")
        ),
        taken(
            "DELETE / HTTP/1.1|Host: a|Connection: Content-Length|Content-Length: 0",
            "DELETE / HTTP/1.1|Host: a|Content-Length: 0",
        ),
        *refused(
            "DELETE / HTTP/1.1|Host: a|Content-Length: 0|Content-Length: 0",
            "DELETE / HTTP/1.1|Host: a|Content-Length: 0|Transfer-Encoding: chunked",
            body=b"",
        ),
    ],
    # Trailers are asked for (9110 10.1.4, 7.6.1)
    "CP1": [
        *(
            taken(GET + "|" + fields, GET + "|Connection: TE|TE: trailers")
            for fields in (
                "Connection: TE|TE: trailers",
                "Connection: keep-alive, te|TE: Trailers",
                "TE: gzip;q=0.5, trailers ,deflate|Connection: X-A, TE|X-A: 1",
                "Connection: TE|TE: trailers;q=0.5",
                "Connection: TE|TE: gzip|TE: trailers",
            )
        ),
        *(
            taken(GET + "|" + fields, GET)
            for fields in (
                "TE: trailers",
                "Connection: keep-alive|TE: trailers",
                "Connection: TE",
                "Connection: TE|TE: gzip;q=1.0",
                "Connection: TE|TE: trailers;q=0",
                "Connection: TE|TE:",
            )
        ),
        old("GET / HTTP/1.0|Host: a|Connection: TE|TE: trailers", GET),
    ],
    # Names that a bridge to CGI reads as others (RFC 3875 4.1.18)
    "FW9": [
        *(
            taken(GET + f"|{name}: 6.6.6.6|X-A: 1", GET + "|X-A: 1")
            for name in (
                *("X.Forwarded.For", "X_Forwarded_For", "X-Forwarded.For", "x!forwarded!for"),
                *("X~Forwarded~Proto", "X+Forwarded+Host", "X'Forwarded'Port"),
                *("X-Forwarded-Host.", "Proxy", "proxy", "PROXY", "Keep.Alive", "Proxy_Connection"),
            )
        ),
        taken(
            POST + "Transfer.Encoding: chunked|Content.Length: 40|Content-Length: 2",
            POST + "Content-Length: 2",
            b"hi",
        ),
        # An empty one, and others' own.
        taken(GET + "|X-Forwarded-For:|X-Forwarded-For: ,", GET),
        taken(GET + "|X-Proxy: 1|Proxy-Agent: 2|X.Y: 3", GET + "|X-Proxy: 1|Proxy-Agent: 2|X.Y: 3"),
    ],
    # Addresses of a version to come (RFC 3986 3.2.2)
    "HO9": [
        *(
            taken(f"GET / HTTP/1.1|Host: {host}", f"GET / HTTP/1.1|Host: {host}", host=host)
            for host in ("[vF.addr:x]", "[v1.a]", "[vF.addr:x]:80", "[Vab0.a!$&'()*+;=~-._]")
        ),
        taken(
            "GET http://[v1.b:c]:81/x HTTP/1.1|Host: a",
            "GET /x HTTP/1.1|Host: [v1.b:c]:81",
            host="[v1.b:c]:81",
        ),
        *refused(
            *(
                f"GET / HTTP/1.1|Host: {host}"
                for host in (
                    "[v.a]",
                    "[vG.a]",
                    "[v1.]",
                    "[v1]",
                    "[v1.a b]",
                    "[v1.a/b]",
                    "[v1.a",
                    "v1.a]",
                    "[v1.a]x",
                    "[v1.a]:x",
                    "[v1.a,b]",
                    "[v1.u@h]",
                    "[v1.[a]]",
                )
            ),
            body=b"",
        ),
    ],
    # Order
    "PL2": [
        Case(lines(GET) + b"nonsense\r\n\r\n" + lines(GET), (200, 400), forwarded(GET)),
        Case(lines(GET) + lines(POST + "Content-Length: x"), (200, 400), forwarded(GET)),
    ],
    "GB1": [
        taken(
            f"{method} / HTTP/1.1|Host: a|Content-Length: 26",
            f"{method} / HTTP/1.1|Host: a|Content-Length: 26",
            lines("GET /evil HTTP/1.1|Host: a")[:26],
        )
        for method in ("GET", "OPTIONS", "DELETE")
    ],
    "CK1": [taken(GET + "|Cookie: ;a=b;;", GET + "|Cookie: ;a=b;;")],
}
"""
By row, the cases in which a client is at fault, or seems to be.
"""


class Reply(msgspec.Struct, frozen=True):
    """
    Bytes of a server, and the required outcome.

    @ivar answer: the server's.
    @ivar status: that the client sees; 0: it sees none whole.
    @ivar body: that the client sees, after the head.
    @ivar aborted: whether the client's connection is broken off.
    @ivar method: of the client's request.
    @ivar reused: whether the server's connection serves the next request.
    @ivar absent: what the client must not see.
    @ivar present: what it must see.
    """

    answer: Answer
    status: int = 502
    body: bytes | None = None
    aborted: bool = False
    method: str = "GET"
    reused: bool = False
    absent: bytes = b"evil"
    present: bytes = b""


def answers(*heads: str, body: bytes = b"hello", **expected: object) -> list[Reply]:
    """
    Replies of a server that are alike in what comes of them.
    """
    return [msgspec.structs.replace(Reply(Answer(lines(head, body))), **expected) for head in heads]


R200: Final = "HTTP/1.1 200 OK|"
R200_TE: Final = R200 + "Transfer-Encoding: chunked"

RESPONSES: Final[dict[str, list[Reply]]] = {
    "RS1": answers(
        R200 + "Content-Length: 5|Transfer-Encoding: chunked",
        R200 + "Transfer-Encoding: chunked|Content-Length: 5",
        R200 + "Transfer-Encoding: chunked, chunked",
        R200 + "Transfer-Encoding: chunked|Transfer-Encoding: chunked",
        R200 + "Transfer-Encoding: gzip",
        R200 + "Transfer-Encoding: identity",
        R200 + "Transfer-Encoding:",
        "HTTP/1.0 200 OK|Transfer-Encoding: chunked",
        R200 + "Content-Length: 5|Content-Length: 6",
        R200 + "Content-Length: 5|Content-Length: 5",
        R200 + "Content-Length: 5, 5",
        R200 + "Content-Length: +5",
        R200 + "Content-Length: -1",
        R200 + "Content-Length:",
        R200 + "Content-Length : 5",
        R200 + "Content-Length: 18446744073709551616",
        body=b"5\r\nhello\r\n0\r\n\r\n",
    ),
    "RS2": [
        Reply(Answer(OK + lines("HTTP/1.1 200 OK|Content-Length: 4", b"evil")), 200, b"ok"),
        Reply(Answer(OK + b"evil"), 200, b"ok"),
        Reply(Answer(lines(R200_TE, b"2\r\nok\r\n0\r\n\r\n") + OK), 200, b"2\r\nok\r\n0\r\n\r\n"),
    ],
    "RS3": [
        Reply(Answer(lines(R200 + "Content-Length: 5", b"hell"), "close"), 0, aborted=True),
        Reply(Answer(lines(R200 + "Content-Length: 5", b"hell"), "reset"), 0, aborted=True),
        Reply(Answer(lines(R200_TE, b"5\r\nhello\r\n"), "close"), 0, aborted=True),
        Reply(Answer(lines(R200_TE, b"5\r\nhello\r\n0\r\n"), "close"), 0, aborted=True),
        Reply(Answer(lines("HTTP/1.1 200 OK", b"hello"), "reset"), 0, aborted=True),
    ],
    # The protocols that a server requires (9110 15.5.22)
    "RS20": [
        *(
            Reply(
                Answer(
                    lines(
                        f"HTTP/1.1 426 Upgrade Required|{fields}|Connection: Upgrade|"
                        "Content-Length: 2",
                        b"ok",
                    )
                ),
                426,
                b"ok",
                reused=True,
                present=b"\r\nConnection: Upgrade\r\nUpgrade: " + kept + b"\r\n",
            )
            for fields, kept in (
                ("Upgrade: websocket", b"websocket"),
                ("Upgrade: HTTP/2.0, foo/1", b"HTTP/2.0, foo/1"),
                ("Upgrade: a|Upgrade: b", b"a, b"),
            )
        ),
        Reply(
            Answer(lines("HTTP/1.1 426 No|Upgrade: foo|Content-Length: 2", b"ok")),
            426,
            b"ok",
            reused=True,
            present=b"\r\nConnection: Upgrade\r\nUpgrade: foo\r\n",
        ),
        Reply(
            Answer(
                lines("HTTP/1.1 426 No|Upgrade: ,|Upgrade:|Connection: Upgrade|Content-Length: 2")
                + b"ok"
            ),
            426,
            b"ok",
            reused=True,
            absent=b"Upgrade:",
        ),
        # With another status, it is lost.
        Reply(
            Answer(
                lines("HTTP/1.1 200 OK|Upgrade: evil|Connection: Upgrade|Content-Length: 2", b"ok")
            ),
            200,
            b"ok",
            reused=True,
        ),
    ],
    # Statuses without a class (9110 15)
    "RS21": [
        Reply(
            Answer(lines(f"HTTP/1.1 {status} Odd|Content-Length: 2", b"ok")),
            status,
            b"ok",
            reused=True,
            present=b"HTTP/1.1 %d Odd\r\n" % status,
        )
        for status in (299, 499, 600, 799, 999)
    ],
    # Spaces around sizes and extensions (7.1.1); those of the last chunk, too
    "RS22": [
        Reply(
            Answer(lines(R200_TE, size + b"\r\nhello\r\n" + last + b"\r\n\r\n")),
            200,
            b"5\r\nhello\r\n0\r\n\r\n",
            reused=True,
        )
        for size, last in (
            *(
                (b"5 ", b"0"),
                (b"5", b"0 "),
                (b"5\t", b"0"),
                (b"5   \t ", b"0000  "),
                (b"05 ", b"0"),
            ),
            *((b"5 ;a=b", b"0"), (b"5; a = b ", b"0 ; a"), (b"0" * 30 + b"5 ", b"0")),
        )
    ],
    # Not anywhere else
    "RS22_refused": [
        Reply(Answer(lines(R200_TE, size + b"\r\nhello\r\n0\r\n\r\n")), 502, absent=b"hello")
        for size in (b" 5", b"5 5", b"5 a", b"5 \x0b", b"5 \r", b"5 ;", b"\t5", b" ")
    ],
    # A fault in the packet that the head comes in, too.
    "RS23": [
        *(
            Reply(Answer(lines(R200_TE, body)), 502)
            for body in (
                *(b"5\r\nhello\r\nevil\r\n", b"evil\r\n", b"1\r\nxevil", b"-1\r\nevil\r\n"),
                *(b"5\nevil.\r\n0\r\n\r\n", b"4\r\nevil\r0\r\n\r\n", b"\r\nevil"),
                *(b"4\r\nevil\r\n0\r\nX\r\n\r\n", b"4\r\nevil\r\n0\r\nX: a\nb\r\n\r\n"),
                *(b"4\r\nevil\r\n0\r\nContent-Length: 5\r\n\r\n", b"123456789abcdef01\r\nevil"),
            )
        ),
        Reply(
            Answer(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + lines(R200_TE, b"1\r\nxevil")),
            502,
        ),
    ],
    "RS4": [
        Reply(Answer(lines(R200 + "Content-Length: 4", b"evil")), 200, b"", method="HEAD"),
        Reply(Answer(lines("HTTP/1.1 204 No Content|Content-Length: 4", b"evil")), 204, b""),
        Reply(Answer(lines("HTTP/1.1 304 Not Modified|Content-Length: 4", b"evil")), 304, b""),
        Reply(
            Answer(lines("HTTP/1.1 204 No Content|Content-Length: 4")),
            204,
            b"",
            reused=True,
            absent=b"Content-Length",
        ),
        Reply(
            Answer(lines("HTTP/1.1 204 No Content|Transfer-Encoding: chunked")),
            204,
            b"",
            reused=True,
            absent=b"Transfer-Encoding",
        ),
        Reply(
            Answer(lines("HTTP/1.1 103 Early Hints|Content-Length: 4") + OK),
            200,
            b"ok",
            reused=True,
            absent=b"Content-Length: 4",
        ),
    ],
    "RS5": [
        *answers(
            R200 + "X: a\0b|Content-Length: 5",
            R200 + "X: a\rb|Content-Length: 5",
            R200 + "X: a\nb|Content-Length: 5",
            R200 + "X: a| b|Content-Length: 5",
            R200 + "X y: a|Content-Length: 5",
            R200 + ": a|Content-Length: 5",
            "HTTP/1.1 099 evil|Content-Length: 5",
            "HTTP/1.1 20 evil|Content-Length: 5",
            "HTTP/1.1 2000 evil|Content-Length: 5",
            "HTTP/1.1 0200 evil|Content-Length: 5",
            "HTTP/1.1 -20 evil|Content-Length: 5",
            "HTTP/1.1 20x evil|Content-Length: 5",
            "HTTP/1.1  200 evil|Content-Length: 5",
            "HTTP/1.1 abc evil|Content-Length: 5",
            "HTTP/1.1|Content-Length: 5",
            "HTTP/2.0 200 OK|Content-Length: 5",
            "HTTP/1.1x 200 OK|Content-Length: 5",
            "ICY 200 OK|Content-Length: 5",
            "SSH-2.0-evil",
            "HTTP/1.1 200 e\0vil|Content-Length: 5",
            "HTTP/1.1 200 e\rvil|Content-Length: 5",
            R200 + "X: " + "x" * (1 << 20) + "|Content-Length: 5",
            R200 + "X: y|" * 10000 + "Content-Length: 5",
        ),
        Reply(Answer(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok")),
    ],
    "RS6": [
        Reply(Answer(b"", "close")),
        Reply(Answer(b"", "reset")),
        Reply(Answer(b"HTTP/1.1 200", "close")),
        Reply(Answer(b"HTTP/1.1 100 Continue\r\n\r\n", "close")),
    ],
    "UP3": [
        *answers("HTTP/1.1 101 Switching Protocols|Connection: Upgrade|Upgrade: websocket"),
        *answers("HTTP/1.1 101 Switching Protocols|Connection: Upgrade|Upgrade: h2c"),
        *answers("HTTP/1.1 101 Switching Protocols"),
    ],
    "IN1": [
        Reply(Answer(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 17 + OK)),
        Reply(Answer(b"HTTP/1.1 100 Continue\r\n\r\n" * 16 + OK), 200, b"ok", reused=True),
    ],
    "HH4": [
        # Names that are read as others, in all that a server sends.
        Reply(
            Answer(
                lines("HTTP/1.1 103 Early Hints|X.Forwarded.For: evil|Proxy: evil|Link: x")
                + lines(
                    R200 + "X_Forwarded_For: evil|Transfer-Encoding: chunked",
                    b"2\r\nok\r\n0\r\nX!Forwarded!Proto: evil\r\nProxy: evil\r\n\r\n",
                )
            ),
            200,
            b"2\r\nok\r\n0\r\n\r\n",
            reused=True,
        ),
        Reply(
            Answer(
                lines("HTTP/1.1 103 Early Hints|Connection: X-Evil|X-Evil: evil|Keep-Alive: evil")
                + OK
            ),
            200,
            b"ok",
            reused=True,
        ),
        Reply(
            Answer(
                lines(
                    R200 + "Connection: X-Evil|X-Evil: evil|Upgrade: evil|Content-Length: 2", b"ok"
                )
            ),
            200,
            b"ok",
            reused=True,
        ),
    ],
}
"""
By row, the cases in which a server is at fault, or seems to be.
"""
