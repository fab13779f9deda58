"""
Two readers of the same bytes: ours and h11. What they do not agree about, another
pair of proxy and server may not agree about either, which is how requests are
smuggled.

C{python -m tests.http1.differential --examples 50000} looks for disagreements for longer
than the tests do.
"""

from __future__ import annotations

import re
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any, Final

import h11
import msgspec
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from alacrity.http1.fields import NOT_IN_TRAILERS, SPECIALS
from alacrity.http1.messages import CHUNKED, RequestHead, ResponseHead
from tests.support.invariants import Message, Requests, Response

LARGE: Final = 1 << 30


class Other(msgspec.Struct):
    """
    A message as h11 reads it.

    @ivar start: its method and target, or its status; empty: no head came.
    @ivar fields: in the order sent, the names in lower case.
    @ivar trailers: L{None}: it is not complete.
    @ivar end: where in the data it ends; -1: it is not complete.
    """

    start: tuple[bytes, ...] = ()
    fields: list[tuple[bytes, bytes]] = []
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] | None = None
    end: int = -1
    version: bytes = b""
    keep_alive: bool = False


class Others(msgspec.Struct):
    """
    The messages that h11 reads from bytes.

    @ivar fault: why it refused to go on.
    @ivar over: whether the last message said that it is the last.
    """

    messages: list[Other] = []
    fault: str | None = None
    over: bool = False


def others_requests(data: bytes) -> Others:
    """
    Have h11 read requests, as a server would.
    """
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGE)
    connection.receive_data(data)
    found = Others()
    message = Other()
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                message = Other((event.method, event.target), list(event.headers))
                message.version = event.http_version
                found.messages.append(message)
            elif isinstance(event, h11.Data):
                message.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                message.trailers = list(event.headers)
                message.end = len(data) - len(connection.trailing_data[0])
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                message.keep_alive = connection.our_state is h11.DONE
                if not message.keep_alive:
                    found.over = True
                    return found
                connection.start_next_cycle()
            else:
                return found
    except h11.ProtocolError as fault:
        found.fault = str(fault)
        return found


def others_response(data: bytes, method: bytes) -> Others:
    """
    Have h11 read the response to a request, and the end of the connection.
    """
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGE)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    found = Others()
    message = Other()
    ended = False
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                message = Other((b"%d" % event.status_code,), list(event.headers))
                message.version = event.http_version
                found.messages.append(message)
            elif isinstance(event, h11.Data):
                message.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                message.trailers = list(event.headers)
                message.end = len(data) - len(connection.trailing_data[0])
                return found
            elif event is h11.NEED_DATA and not ended:
                ended = True
                connection.receive_data(b"")
            elif not isinstance(event, h11.InformationalResponse):
                return found
    except h11.ProtocolError as fault:
        found.fault = str(fault)
        return found


def requests_disagreement(data: bytes) -> str | None:
    """
    The disagreement between our parser and h11 about requests. That we refuse what h11
    takes is none. That we take what it refuses is one, unless
    L{_RIGHT_ABOUT_REQUESTS} has it.

    @return: L{None}: they agree.
    """
    # RFC 9112 2.2: empty lines before a request are no part of it; h11 knows none.
    while data.startswith(b"\r\n"):
        data = data[2:]
    ours = Requests([data])
    done = 0
    for message in ours.messages:
        rest = data[done:]
        while rest.startswith(b"\r\n"):
            rest = rest[2:]
        done = len(data) - len(rest)
        others = others_requests(rest)
        other = others.messages[0] if others.messages else None
        head = message.head
        assert isinstance(head, RequestHead)
        if other is None:
            return f"h11 finds no head: {others.fault}; ours: {message}"
        if (fault := _head_disagreement(head, other)) is not None:
            return fault
        fault = _body_disagreement(message, other, others.fault, done, ours.fault is not None)
        if fault is not None:
            return fault
        if message.end < 0:
            return None
        # RFC 9112 9.3; h11 has no persistence for 1.0.
        if head.minor and other.end >= 0 and head.keep_alive != other.keep_alive:
            return f"ours keeps alive: {head.keep_alive}, h11: {other.keep_alive}"
        done = message.end
    if ours.fault is None and not (ours.messages and ours.messages[-1].end < 0):
        rest = data[done:]
        while rest.startswith(b"\r\n"):
            rest = rest[2:]
        others = others_requests(rest)
        if others.messages:
            return f"h11 finds one more message: {others.messages[0]}"
    return None


def response_disagreement(data: bytes, method: bytes) -> str | None:
    """
    The disagreement between our parser and h11 about a response, likewise.
    """
    ours = Response([data], method)
    others = others_response(data, method)
    message = ours.message
    head = message.head
    if head is None:
        if ours.fault is not None:
            return None
        return "no head, and no fault"
    assert isinstance(head, ResponseHead)
    if not others.messages:
        return f"h11 finds no head: {others.fault}; ours: {message}"
    other = others.messages[0]
    if other.start != (b"%d" % head.status,):
        return f"ours: {head.status}, h11: {other.start}"
    if (fault := _fields_disagreement(head, other)) is not None:
        return fault
    return _body_disagreement(message, other, others.fault, 0, ours.fault is not None)


# RFC 9112 7.1: 1*HEXDIG. h11 takes 20 digits at most, be they all zeros.
_LONG_SIZE: Final = r"(?=[0-9A-Fa-f]{21})0*[0-9A-Fa-f]{1,15}"

_RIGHT_ABOUT_REQUESTS: Final = re.compile(
    rf"illegal chunk header: bytearray\(b['\"]{_LONG_SIZE}(?:;|\\r\\n['\"])"
)
"""Faults that h11 finds in requests that we take, where the RFC is with us."""

_RIGHT_ABOUT_RESPONSES: Final = re.compile(
    # RFC 9112 7.1.1: a recipient parses spaces before an extension, which h11 does not. It
    # takes those after a size of up to 20 digits.
    rf"illegal chunk header: bytearray\(b['\"]"
    rf"(?:{_LONG_SIZE}(?: |\\t)*(?:;|\\r\\n['\"])|0*[0-9A-Fa-f]{{1,15}}(?: |\\t)+;)"
)
"""The same of a response."""


def _we_are_right(head: RequestHead | ResponseHead, fault: str | None) -> bool:
    right = _RIGHT_ABOUT_REQUESTS if isinstance(head, RequestHead) else _RIGHT_ABOUT_RESPONSES
    return fault is not None and right.match(fault) is not None


def _head_disagreement(head: RequestHead, other: Other) -> str | None:
    method, target = other.start
    if (head.method, b"1.%d" % head.minor) != (method, other.version):
        return f"ours: {head.method!r} 1.{head.minor}, h11: {method!r} {other.version!r}"
    # RFC 9112 3.2.2: of an absolute form, the authority is cut off and is the host.
    if target != head.target and not (
        target.lower().startswith((b"http://", b"https://"))
        and (target.endswith(head.target) or head.target in {b"/", b"*"} or b"?" in head.target)
        and head.host in target
    ):
        return f"ours: {head.target!r}, h11: {target!r}"
    return _fields_disagreement(head, other)


def _fields_disagreement(head: RequestHead | ResponseHead, other: Other) -> str | None:
    ordinary = [
        (name.lower(), value.strip(b" \t"))
        for name, _, value in (line.partition(b":") for line in head.lines)
    ]
    theirs = [field for field in other.fields if not SPECIALS[field[0]]]
    if ordinary != theirs:
        return f"ours: {ordinary}, h11: {theirs}"
    specials = [(name, value) for name, value in head.specials if name != b"_"]
    theirs = [field for field in other.fields if SPECIALS[field[0]] not in {b"", b"_"}]
    # h11 writes these two as it understands them.
    if [(n, v) for n, v in specials if n not in _NORMALISED] != [
        (n, v) for n, v in theirs if n not in _NORMALISED
    ]:
        return f"ours: {specials}, h11: {theirs}"
    return None


_NORMALISED: Final = {b"content-length", b"transfer-encoding"}


def _body_disagreement(
    message: Message, other: Other, fault: str | None, start: int, refused: bool
) -> str | None:
    end = other.end + start if other.end >= 0 else -1
    assert message.head is not None
    if _we_are_right(message.head, fault) and message.body.startswith(other.body):
        return None
    if refused and message.end < 0:
        # We gave up on the way; so far, it must have been the same.
        if not other.body.startswith(message.body):
            return f"ours: {message.body!r}, h11: {other.body!r}"
        return None
    if message.body != other.body:
        return f"ours: {message.body!r}, h11: {other.body!r}, {fault}"
    if message.end != end:
        return f"ours ends at {message.end}, h11 at {end}, {fault}"
    if message.end < 0 and fault is not None and not fault.startswith("peer closed"):
        return f"ours waits for more, h11: {fault}"
    if message.end >= 0 and message.head.length == CHUNKED:
        ours = [
            (name.lower(), value.strip(b" \t"))
            for name, _, value in (line.partition(b":") for line in message.trailers or [])
        ]
        theirs = [
            (name, value)
            for name, value in other.trailers or []
            if not SPECIALS[name] and name not in NOT_IN_TRAILERS
        ]
        if ours != theirs:
            return f"our trailers: {ours}, h11's: {theirs}"
    return None


# What is sent


def _join(*parts: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.tuples(*parts).map(b"".join)


def _mostly(usual: Sequence[bytes], rare: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """
    Usual values, and now and then a rare one.
    """
    return st.sampled_from([*usual] * (1 + 6 * len(rare) // len(usual)) + [*rare])


_ODD: Final = (b"\x00", b"\t", b"\n", b"\r", b"\x0b", b" ", b"\x7f", b"\x80", b"\xa0", b",", b";",
    b":", b'"', b"\r\n", b"\r\n\r\n", b"\r\n ", b"\n\n", b"0", b"5", b"-", b"+", b"_", b"0x",
    b"0\r\n\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"chunked", b"close",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n")  # fmt: skip
"""What is put into a message to spoil it."""

_NAMES: Final = (b"Accept", b"X-Y", b"x_y", b"Cookie", b"TE", b"Via", b"X-Forwarded-For", b"Keep-Alive",
    b"Content_Length", b"Transfer_Encoding", b"Content-Type", b"Trailer", b"Date")  # fmt: skip
_VALUES: Final = (b"", b"a", b"a, b", b"a b", b"\ta", b'"a"', b"1", b"\xe9", b"trailers", b"0" * 30)

_ordinary: Final = _join(
    st.sampled_from(_NAMES), st.sampled_from((b":", b": ", b":\t ")), st.sampled_from(_VALUES)
)
_connection: Final = _join(
    st.just(b"Connection: "),
    st.sampled_from((b"close", b"keep-alive", b"X-Y", b"close, X-Y", b"", b"Upgrade", b"Close ,")),
)
_other_fields: Final = st.sampled_from(
    (b"Expect: 100-continue", b"Upgrade: websocket", b"Upgrade: h2c", b"Content-Encoding: gzip")
)
_CODINGS: Final = (b"gzip", b"chunked, chunked", b"gzip, chunked", b"identity", b"xchunked", b"",
    b"\x0bchunked", b"chunked,", b",chunked", b"chunked;a=b", b"chunked\x00")  # fmt: skip
_LENGTHS: Final = (b"+5", b"-1", b"5, 5", b"5,6", b"0x5", b"5 6", b"", b"1_0", b"18446744073709551616",
    b"9223372036854775808", b"007", b"0" * 19 + b"5")  # fmt: skip


@st.composite
def _bodies(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """
    The fields that frame a body, and the body.
    """
    content = draw(
        st.binary(max_size=12)
        | st.sampled_from((b"0\r\n\r\n", b"\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
    )
    kind = draw(st.sampled_from(("none", "none", *["length"] * 4, *["chunked"] * 4, "odd")))
    if kind == "none":
        return [], b""
    if kind == "length":
        return [b"Content-Length: %d" % len(content)], content
    if kind == "chunked":
        coding = draw(
            st.sampled_from((b"chunked", b"chunked", b"chunked", b"Chunked", b"chunked "))
        )
        return [b"Transfer-Encoding: " + coding], draw(_chunked(content))
    fields = draw(
        st.lists(
            _join(st.just(b"Content-Length: "), st.sampled_from((*_LENGTHS, b"%d" % len(content))))
            | _join(st.just(b"Transfer-Encoding: "), st.sampled_from((*_CODINGS, b"chunked")))
            | st.just(b"Content-Length : 5"),
            min_size=1,
            max_size=3,
        )
    )
    return fields, draw(st.just(content) | _chunked(content))


@st.composite
def _chunked(draw: st.DrawFn, content: bytes) -> bytes:
    """
    Random content in chunks.
    """
    parts = []
    at = 0
    while at < len(content):
        size = draw(st.integers(1, len(content) - at))
        text = draw(st.sampled_from((b"%x", b"%x", b"%X", b"0%x", b"%024x"))) % size
        extension = draw(
            _mostly(
                (b"",),
                (b";a", b";a=b", b';a="b"', b" ;a=b", b";", b"; a = b", b';a="\\""', b';a="b', b" ",
                 b"\t", b";a\r", b";\xe9", b"_1"),
            )
        )  # fmt: skip
        ends = draw(_mostly((b"\r\n",), (b"\n", b"\r", b"", b"x\r\n")))
        parts.append(text + extension + b"\r\n" + content[at : at + size] + ends)
        at += size
    parts.append(
        draw(_mostly((b"0\r\n",), (b"00\r\n", b"0;a=b\r\n", b"0 \r\n", b"-0\r\n", b"\r\n")))
    )
    trailers = draw(
        st.lists(
            _ordinary
            | st.sampled_from((b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Host: b")),
            max_size=2,
        )
    )
    return b"".join(parts) + b"".join(line + b"\r\n" for line in trailers) + b"\r\n"


@st.composite
def _one_request(draw: st.DrawFn) -> bytes:
    fields, body = draw(_bodies())
    method = draw(
        _mostly(
            (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS"),
            (b"get", b"M-SEARCH", b"Q", b""),
        )
    )
    target = draw(
        _mostly(
            (b"/", b"/a?b=c", b"/%0d%0a%00", b"//x"),
            (b"http://b/x", b"HTTP://b?q", b"https://b:1", b"*", b"a", b"/ b", b"/\xe9", b"/#f",
             b"b:80", b"http://a@b/"),
        )
    )  # fmt: skip
    version = draw(
        _mostly((b"HTTP/1.1",), (b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b""))
    )
    host = draw(
        _mostly((b"Host: a",), (b"Host:", b"Host: a:80", b"Host: [::1]", b"Host: a, b", b"X: y"))
    )
    fields += draw(st.lists(_ordinary | _connection | _other_fields, max_size=3))
    lines = [b"%b %b %b" % (method, target, version), host, *draw(st.permutations(fields))]
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


@st.composite
def _one_response(draw: st.DrawFn) -> bytes:
    fields, body = draw(_bodies())
    status = draw(
        _mostly(
            (b"200 OK", b"404 Not Found", b"500 "),
            (b"204 No Content", b"304 Not Modified", b"200", b"101 Switching Protocols", b"99 x",
             b"600 x", b"2000 x", b"200 \xe9\x01", b"+20 x"),
        )
    )  # fmt: skip
    version = draw(_mostly((b"HTTP/1.1",), (b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2", b"ICY")))
    fields += draw(st.lists(_ordinary | _connection, max_size=3))
    lines = [b"%b %b" % (version, status), *draw(st.permutations(fields))]
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


_interim: Final = st.sampled_from(
    (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
)


@st.composite
def _spoiled(draw: st.DrawFn, messages: st.SearchStrategy[bytes]) -> bytes:
    """
    Messages, with up to three places changed.
    """
    data = draw(messages)
    for _ in range(draw(st.sampled_from((0, 0, 1, 1, 2, 3)))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(("insert", "insert", "replace", "remove", "repeat", "cut"))):
            case "insert":
                data = data[:at] + draw(st.sampled_from(_ODD)) + data[at:]
            case "replace":
                odd = draw(st.sampled_from(_ODD) | st.binary(min_size=1, max_size=1))
                data = data[:at] + odd + data[at + len(odd) :]
            case "remove":
                data = data[:at] + data[at + draw(st.integers(1, 4)) :]
            case "repeat":
                data = data[:at] + data[at : at + draw(st.integers(1, 30))] + data[at:]
            case _:
                data = data[:at]
    return data


REQUESTS: Final = _spoiled(st.lists(_one_request(), min_size=1, max_size=3).map(b"".join))
"""One to three requests in a row, valid or spoiled."""

RESPONSES: Final = st.tuples(
    _spoiled(_join(st.lists(_interim, max_size=2).map(b"".join), _one_response())),
    st.sampled_from((b"GET", b"GET", b"HEAD")),
)
"""A response, valid or spoiled, and the method of the request that it answers."""


def main(argv: Sequence[str] | None = None) -> None:
    """
    The command.
    """
    parser = ArgumentParser(
        prog="python -m tests.http1.differential", description="Look for disagreements."
    )
    parser.add_argument("--examples", type=int, default=50_000, help="how many, of each kind")
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same examples")
    options = parser.parse_args(argv)
    counts = {"ours and h11's": 0, "h11's only": 0, "neither's": 0}

    def bounded(test: Any) -> Any:
        return seed(options.seed)(
            settings(
                max_examples=options.examples,
                deadline=None,
                database=None,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            )(test)
        )

    @bounded
    @given(REQUESTS)
    def requests(data: bytes) -> None:
        assert (fault := requests_disagreement(data)) is None, fault
        if Requests([data]).fault is None:
            counts["ours and h11's"] += 1
        elif others_requests(data).fault is None:
            counts["h11's only"] += 1
        else:
            counts["neither's"] += 1

    @bounded
    @given(RESPONSES)
    def responses(response: tuple[bytes, bytes]) -> None:
        assert (fault := response_disagreement(*response)) is None, fault

    requests()
    print(f"requests: no disagreement in {sum(counts.values())}; taken by: {counts}")
    responses()
    print(f"responses: no disagreement in {options.examples}")


if __name__ == "__main__":
    main()
