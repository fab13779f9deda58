"""
The inputs of row WK1: bytes of one peer, at full speed, each of which costs as much as can be.

The tests feed them to a proxy on a fake network, and count what it does in a turn; the
benchmark C{worst_case} sends them to a real node, and measures the latency of others.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Attack(NamedTuple):
    """
    Bytes of a hostile peer.

    @ivar head: sent once on a connection, at first.
    @ivar unit: sent after it, again and again.
    @ivar piece: bytes in one write.
    @ivar from_server: whether a server sends it, as the response to each request; else a client.
    """

    head: bytes
    unit: bytes
    piece: int = 65536
    from_server: bool = False


def _full(unit: bytes, size: int = 262144) -> bytes:
    """
    A unit, as often as fills a read.
    """
    return unit * max(1, size // len(unit))


def _request(*fields: bytes, target: bytes = b"/100") -> bytes:
    return b"\r\n".join([b"GET %b HTTP/1.1" % target, b"Host: a", *fields, b"", b""])


HEAD_BYTES: Final = 32000
"""Bytes of the largest heads: what fits in the limit of the header section."""


def _lines(name: bytes, member: bytes, count: int = 90) -> list[bytes]:
    """
    Field lines that fill a head with members of lists, all different.

    @param member: with one number in it.
    """
    share = HEAD_BYTES // count
    lines = []
    at = 0
    for _ in range(count):
        line = name + b": "
        while len(line) < share - 16:
            line += member % at + b","
            at += 1
        lines.append(line)
    return lines


_POST: Final = b"POST /100 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
_CHUNKED: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_SHORT: Final = _request(target=b"/")
_TINY: Final = b"1\r\na\r\n"
_SWITCH: Final = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
_ESCAPED: Final = rb'Cache-Control: "' + rb"\"" * (HEAD_BYTES // 2)

CLIENTS: Final[dict[str, Attack]] = {
    "one-byte chunks": Attack(_POST, _full(_TINY)),
    "one-byte chunks, byte by byte": Attack(_POST, _TINY, 1),
    "one-byte chunks with long extensions": Attack(
        _POST, _full(b"1;%b\r\na\r\n" % (b"a" * 4000) + b"4000\r\n" + b"x" * 16384 + b"\r\n")
    ),
    "chunks full of empty lines": Attack(_POST, b"10000\r\n" + b"\r\n" * 32768 + b"\r\n"),
    "a chunk's size with endless zeros": Attack(_POST, b"0" * 262144),
    "a chunk's size with endless spaces": Attack(_POST, b"0" * 14 + b"5" + b" " * 262129),
    "tiny trailers": Attack(b"", _full(_POST + b"0\r\n" + b"te:\r\n" * 6000 + b"\r\n")),
    "heads byte by byte": Attack(b"", _SHORT, 1),
    "pipelined 26-byte requests": Attack(b"", _full(b"GET / HTTP/1.1\r\nHost:\r\n\r\n")),
    "empty lines before requests": Attack(b"", _full(b"\r\n" * 16 + _SHORT)),
    "field lines that are all new": Attack(
        b"", b"".join(_request(*(b"%d-%d: " % (n, m) for m in range(90))) for n in range(200))
    ),
    "a long name full of dots": Attack(b"", _full(_request(b"X" + b"." * HEAD_BYTES + b": y"))),
    "Connection of thousands of members": Attack(
        b"", _full(_request(*_lines(b"Connection", b"a%d")))
    ),
    "Connection of empty members": Attack(
        b"", _full(_request(b"Connection: " + b"," * HEAD_BYTES))
    ),
    "TE of thousands of members": Attack(
        b"", _full(_request(b"Connection: TE", *_lines(b"TE", b"a%d")))
    ),
    "Upgrade of thousands of members": Attack(
        b"", _full(_request(b"Connection: Upgrade", *_lines(b"Upgrade", b"a%d")))
    ),
    "Expect of empty members": Attack(b"", _full(_request(b"Expect: " + b"," * HEAD_BYTES))),
    "Via of thousands of members": Attack(
        b"", _full(_request(*_lines(b"Via", b"1 %d"), b"Via: 1 alacrity, 1 alacrity"))
    ),
    "X-Forwarded-For of 32 KB": Attack(
        b"", _full(_request(*_lines(b"X-Forwarded-For", b"127.0.0.%d")))
    ),
    "Cookie of thousands of pairs": Attack(
        b"", _full(_request(b"Cookie: alacrity=1;" + b"x=;" * (HEAD_BYTES // 3)))
    ),
    "a body kept for a replay, byte by byte": Attack(
        b"PUT /100 HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n", b"x", 1
    ),
    "tunnel, byte by byte": Attack(_SWITCH, b"x", 1),
    "tunnel": Attack(_SWITCH, b"x" * 262144),
}
"""By name, what a client sends."""

SERVERS: Final[dict[str, Attack]] = {
    name: Attack(*attack, from_server=True)
    for name, attack in {
        "one-byte chunks": (_CHUNKED, _full(_TINY), 65536),
        "one-byte chunks, byte by byte": (_CHUNKED, _TINY, 1),
        "chunks full of empty lines": (_CHUNKED, b"10000\r\n" + b"\r\n" * 32768 + b"\r\n", 65536),
        "a chunk's size with endless zeros": (_CHUNKED, b"0" * 262144, 262144),
        "a chunk's size with endless spaces": (
            _CHUNKED,
            b"0" * 14 + b"5" + b" " * 262129,
            262144,
        ),
        "tiny trailers": (b"", _CHUNKED + b"0\r\n" + b"te:\r\n" * 6000 + b"\r\n", 65536),
        "heads byte by byte": (b"", _OK, 1),
        "interim responses": (b"", b"HTTP/1.1 103 Early\r\n\r\n" * 16 + _OK, 65536),
        "large interim responses": (
            b"",
            b"HTTP/1.1 103 Early\r\n%b\r\n\r\n" % b"\r\n".join(_lines(b"Connection", b"a%d")) * 16
            + _OK,
            65536,
        ),
        "Connection of thousands of members": (
            b"",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n%b\r\n\r\nok"
            % b"\r\n".join(_lines(b"Connection", b"a%d")),
            65536,
        ),
        "Cache-Control of escaped quotes": (
            b"",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n%b\r\n\r\nok" % _ESCAPED,
            65536,
        ),
    }.items()
}
"""By name, what a server sends as each of its responses."""
