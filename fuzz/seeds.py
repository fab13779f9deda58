"""
The seeds of the fuzzers' corpora.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_REQUESTS: Final = (
    b"GET /a?b=c HTTP/1.1\r\nHost: example.org\r\nAccept: */*\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    (
        b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5;x=y\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"
    ),
    b"\r\nGET http://b/x HTTP/1.1\r\nHost: a\r\nConnection: close, X-Y\r\nX-Y: 1\r\n\r\n",
    b"OPTIONS * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: [::1]:80\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: [v1.x]\r\nConnection: TE\r\nTE: gzip, trailers;q=0.5\r\n\r\n",
    b"DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nX.Forwarded.For: b\r\nProxy: c\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: ,100-continue\r\nContent-Length: 2\r\n\r\nhi",
    b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=b\r\nVia: 1.0 c\r\n\r\n",
)

_RESPONSES: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: x\r\n\r\nhi",
    (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nhi\r\n0\r\nX: y\r\n\r\n"
    ),
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nuntil close",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\nhi\r\n0; a = b \r\n\r\n",
    b"HTTP/1.1 426 No\r\nUpgrade: foo/1\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nDate: now\r\nVia: 1.1 a\r\nTrailer: X\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\x00\x01",
)

_DOCUMENTS: Final = (
    b'{"ip": "10.0.0.7", "port": "8080", "check": {"type": "tcp"}}',
    (
        b'{"port": 8080, "weight": 5, "check": {"type": "http", "path": "/health", "status": [200, 299],'
        b' "host": "example.org:80", "interval": 2.5, "timeout": 1, "rise": 3, "fall": 4, "port": 1}}'
    ),
    b'{"ip": "2001:db8::1", "port": 65535}',
    b'{"ip": "::ffff:10.0.0.7", "port": 1e3, "weight": NaN, "port": 1}',
    b'{"port": 1, "check": {"type": "\\ud800", "interval": 1e999, "rise": -1}}',
)

# What a fuzzer takes off before it looks at the rest.
_LEADS: Final = {"request": b"\0\0", "response": b"\0\0", "document": b"\1"}

_SEEDS: Final = {"request": _REQUESTS, "response": _RESPONSES, "document": _DOCUMENTS}


def arguments(argv: list[str], kind: str) -> list[str]:
    """
    A fuzzer's command line, with its dictionary. Its corpus is made if there is none,
    and gets the seeds if it is empty.

    @param kind: C{request}, C{response} or C{document}.
    """
    for place in (Path(argument) for argument in argv[1:] if not argument.startswith("-")):
        if not place.exists():
            place.mkdir(parents=True)
        if place.is_dir() and not any(place.iterdir()):
            for number, seed in enumerate(_SEEDS[kind]):
                (place / f"seed-{number}").write_bytes(_LEADS[kind] + seed)
        break
    words = "json.dict" if kind == "document" else "http.dict"
    return [*argv, f"-dict={Path(__file__).parent / words}"]
