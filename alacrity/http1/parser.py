"""
Parsers of requests and responses: bytes in, calls on a receiver out.

The grammar is llhttp's (through httptools), all its leniencies off: each head
goes through it, and so does each body in chunks. It is asked whether they are
HTTP, and nothing else; what they say is read here, with what it leaves open:
limits, where a message ends, duplicate and conflicting framing, bodies that a
message cannot have.

One rule holds here: nothing is read past the end of a message. Each message ends
at an empty line, or after a counted number of bytes, so the data is cut there.
Pipelined requests therefore wait as bytes, unread, until their turn comes; and
what a server sends beyond its response is seen as such.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar, Final, Protocol

import msgspec
from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserUpgrade,
    HttpRequestParser,
    HttpResponseParser,
)

from alacrity.http1.errors import ProtocolError
from alacrity.http1.fields import (
    NOT_IN_TRAILERS,
    SPECIAL_LINES,
    SPECIALS,
    content_length,
    options,
    valid_host,
)
from alacrity.http1.messages import CHUNKED, UNTIL_CLOSE, RequestHead, ResponseHead

NONE_NAMED: Final[frozenset[bytes]] = frozenset()

_END: Final = b"\r\n\r\n"

# In the place of a count of body bytes: the head, or a part of it, is awaited.
_HEAD: Final = -3

# How many bytes of chunk framing a byte of content may cost: chunks of one byte
# cost five, and an extension is sent for a reason or not at all.
_FRAMING_RATIO: Final = 16


class Limits(msgspec.Struct, frozen=True):
    """
    What is too much. In bytes, but for C{header_count}.
    """

    request_line: int = 16384
    header_bytes: int = 32768
    header_count: int = 100


class RequestReceiver(Protocol):
    """
    Is told what a L{RequestParser} finds. Of a request without a body, the head is
    all that it is told.
    """

    def requestReceived(self, head: RequestHead) -> None:
        """A request begins."""

    def requestBodyReceived(self, data: bytes) -> None:
        """A piece of its body."""

    def requestFinished(self, trailers: list[bytes]) -> None:
        """The body is complete."""


class ResponseReceiver(Protocol):
    """
    Is told what a L{ResponseParser} finds. Of a response without a body, the head
    is all that it is told.
    """

    def informationReceived(self, head: ResponseHead) -> None:
        """An interim response (1xx); the final one is yet to come."""

    def responseReceived(self, head: ResponseHead) -> None:
        """The final response begins."""

    def responseBodyReceived(self, data: bytes) -> None:
        """A piece of its body."""

    def responseFinished(self, trailers: list[bytes]) -> None:
        """The body is complete."""


class _Parser:
    """
    What the two parsers have in common.
    """

    __slots__ = ("_body_received", "_chunks", "_expected", "_head", "_limits", "_llhttp", "_tail")

    _body_received: Callable[[bytes], None]
    # What refuses that which is not HTTP.
    _grammar: ClassVar[type[HttpRequestParser | HttpResponseParser]]

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._expected = _HEAD
        self._head = b""
        self._tail = b""
        self._llhttp: HttpRequestParser | HttpResponseParser | None = None
        self._chunks: _Chunks | None = None

    def _read_head(self, lines: list[bytes]) -> int | None:
        """
        Understand a head, and tell the receiver of it.

        @return: the length of the body, see L{alacrity.http1.messages}; L{None}:
            the message is yet to come.
        """
        raise NotImplementedError

    def _finish(self, trailers: list[bytes]) -> None:
        """
        Tell the receiver that the message is complete.
        """
        raise NotImplementedError

    @property
    def begun(self) -> bool:
        """Whether a part of a message has been read, but not all of it."""
        return self._expected != _HEAD or self._head != b""

    def feed(self, data: bytes, start: int = 0) -> int:
        """
        Read on to the end of the data or of the message, whichever comes first.

        @param start: where in C{data} to begin.
        @return: where in C{data} it stopped.
        @raise ProtocolError: there is no way on from here.
        """
        size = len(data)
        while start < size:
            expected = self._expected
            if expected == _HEAD:
                length, start = self._feed_head(data, start)
                if length is None:
                    continue
                if length != 0:
                    self._expected = length
                    if length == CHUNKED:
                        self._chunks = _Chunks(self._limits, self._body_received)
                    continue
                return start
            if expected == CHUNKED:
                end = self._next_empty_line(data, start)
                chunks = self._chunks
                assert chunks is not None
                if chunks.feed(data[start:end]):
                    self._expected = _HEAD
                    self._chunks = None
                    self._finish(chunks.trailers)
                    return end
            else:
                end = size if expected == UNTIL_CLOSE else min(start + expected, size)
                self._body_received(data[start:end])
                if expected == end - start:
                    self._expected = _HEAD
                    self._finish([])
                    return end
                if expected > 0:
                    self._expected = expected - (end - start)
            start = end
        return start

    def _next_empty_line(self, data: bytes, start: int) -> int:
        """
        Where the next empty line ends, or the data; then C{_tail} is not empty.
        """
        tail = self._tail
        if tail:
            at = (tail + data[start : start + 3]).find(_END)
            if at >= 0:
                self._tail = b""
                return start + at + len(_END) - len(tail)
        at = data.find(_END, start)
        if at >= 0:
            self._tail = b""
            return at + len(_END)
        self._tail = (tail + data[max(start, len(data) - 3) :])[-3:]
        return len(data)

    def _feed_head(self, data: bytes, start: int) -> tuple[int | None, int]:
        """
        Read a head, or a part of one.

        @return: what L{_read_head} says, or L{None}; where it stopped.
        """
        end = self._next_empty_line(data, start)
        piece = data[start:end]
        head = self._head + piece if self._head else piece
        if len(head) > self._limits.header_bytes:
            raise self._too_large(head)
        llhttp = self._llhttp or self._grammar(None)
        try:
            llhttp.feed_data(piece)
        except HttpParserUpgrade:
            # An upgrade is the server's to accept, and it is not told of it.
            pass
        except HttpParserError as error:
            raise self._malformed(error, head) from None
        if self._tail:
            self._llhttp = llhttp
            self._head = head
            return None, end
        if self._head:
            self._head = b""
            self._llhttp = None
        return self._read_head(head[:-4].split(b"\r\n")), end

    def _too_large(self, head: bytes) -> ProtocolError:
        """
        What to say of a head over the limit.
        """
        return ProtocolError("the header section is too large", 431)

    def _malformed(self, error: HttpParserError, head: bytes) -> ProtocolError:
        """
        What to say of a head that is not HTTP.
        """
        return ProtocolError(str(error))

    def _fields(self, lines: list[bytes]) -> tuple[list[bytes], list[tuple[bytes, bytes]]]:
        """
        Tell the ordinary field lines from the special fields. That each is a token,
        a colon and a value without controls, llhttp has seen.
        """
        if len(lines) > self._limits.header_count:
            raise ProtocolError("there are too many header fields", 431)
        ordinary = []
        specials = []
        for line in lines:
            special = SPECIAL_LINES[line]
            if special is None:
                ordinary.append(line)
            else:
                specials.append(special)
        return ordinary, specials


class _Chunks:
    """
    The body of a message that is sent in chunks (RFC 9112 7.1): the framing goes,
    the content is passed on. Its C{on_} methods are httptools' callbacks.

    @ivar trailers: the trailer fields that may be passed on, a line each.
    """

    _PRIMER: Final = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"

    def __init__(self, limits: Limits, body_received: Callable[[bytes], None]) -> None:
        self._limits = limits
        self._body_received = body_received
        self._complete = False
        self._content = 0
        self._framing = 0
        self.trailers: list[bytes] = []
        self._llhttp = HttpRequestParser(self)
        self._llhttp.feed_data(self._PRIMER)

    def feed(self, piece: bytes) -> bool:
        """
        @return: whether the body is complete.
        """
        try:
            self._llhttp.feed_data(piece)
        except HttpParserError as error:
            if isinstance(error, HttpParserCallbackError) and error.__context__ is not None:
                raise error.__context__ from None
            raise ProtocolError(str(error)) from None
        # Bound what may come beside the content (RFC 9112 7.1.1): each byte of
        # content pays for some, the limit of the header section for the rest.
        self._framing = max(0, self._framing + len(piece) - self._content * (_FRAMING_RATIO + 1))
        self._content = 0
        if self._framing > self._limits.header_bytes:
            raise ProtocolError("there is more framing than content in the chunks", 431)
        return self._complete

    def on_body(self, data: bytes) -> None:
        self._content += len(data)
        self._body_received(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        # RFC 9110 6.5.1: what frames, routes or authenticates comes in the head.
        if not SPECIALS[name] and name.lower() not in NOT_IN_TRAILERS:
            self.trailers.append(name + b": " + value)

    def on_message_complete(self) -> None:
        self._complete = True


# Visible ASCII without "#": what may stand in a target (RFC 9112 3.2); nothing is
# decoded, so that the server sees what the client sent.
_IN_TARGET: Final = bytes(set(range(0x21, 0x7F)) - {0x23})

_ABSOLUTE: Final = re.compile(rb"https?://([^/?]+)(.*)", re.IGNORECASE)

# llhttp also knows the methods of RTSP, ICE and HTTP/2's preface.
_METHODS: Final = frozenset(
    b"ACL BIND CHECKOUT COPY DELETE GET HEAD LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR "
    b"MKCOL MOVE NOTIFY OPTIONS PATCH POST PROPFIND PROPPATCH PURGE PUT QUERY REBIND REPORT "
    b"SEARCH SUBSCRIBE UNBIND UNLINK UNLOCK UNSUBSCRIBE".split()
)


_VERSIONS: Final = {b"HTTP/1.1": 1, b"HTTP/1.0": 0}

_REQUEST_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) [^ ]+ HTTP/1\.[01]\r\n")


class RequestParser(_Parser):
    """
    Reads requests, one at a time.
    """

    __slots__ = ("_receiver",)

    _grammar = HttpRequestParser

    def __init__(self, receiver: RequestReceiver, limits: Limits) -> None:
        super().__init__(limits)
        self._receiver = receiver
        self._body_received = receiver.requestBodyReceived

    def _finish(self, trailers: list[bytes]) -> None:
        self._receiver.requestFinished(trailers)

    def _too_large(self, head: bytes) -> ProtocolError:
        if len(head.partition(b"\r\n")[0]) > self._limits.request_line:
            return ProtocolError("the request line is too long", 414)
        return super()._too_large(head)

    def _malformed(self, error: HttpParserError, head: bytes) -> ProtocolError:
        line = _REQUEST_LINE.match(head)
        if line is not None and line[1] not in _METHODS:
            # RFC 9110 15.6.2: a method, rather than nonsense in its place.
            return ProtocolError("the method is not known", 501)
        return super()._malformed(error, head)

    def _read_head(self, lines: list[bytes]) -> int | None:
        request_line = lines[0]
        if not request_line:
            # RFC 9112 2.2: empty lines before a request are no part of it.
            return self._read_head(lines[1:]) if len(lines) > 1 else None
        if len(request_line) > self._limits.request_line:
            raise ProtocolError("the request line is too long", 414)
        words = request_line.split(b" ")
        if len(words) != 3:
            raise ProtocolError("the request line is not three words")
        method, target, version = words
        if method not in _METHODS:
            if method in {b"TRACE", b"CONNECT"}:
                raise ProtocolError("the method is not allowed", 405)
            raise ProtocolError("the method is not known", 501)
        minor = _VERSIONS.get(version)
        if minor is None:
            raise ProtocolError("the HTTP version is not supported", 505)
        ordinary, specials = self._fields(lines[1:])
        host: bytes | None = None
        length: int | None = None
        chunked = False
        named = NONE_NAMED
        for name, value in specials:
            if name == b"host":
                # RFC 9112 3.2: more than one, or an invalid one, is an error.
                if host is not None or not valid_host(value):
                    raise ProtocolError("the Host is not one host")
                host = value
            elif name == b"connection":
                named = named | options(value) if named else options(value)
            elif name == b"content-length":
                # RFC 9112 6.3 item 5
                if length is not None:
                    raise ProtocolError("there is more than one Content-Length")
                length = content_length(value)
            elif name == b"transfer-encoding":
                # RFC 9112 6.1: chunked is the one coding known here.
                if chunked or value.lower() != b"chunked":
                    raise ProtocolError("the Transfer-Encoding is not chunked")
                chunked = True
        if chunked:
            # RFC 9112 6.1, 6.3 item 3
            if length is not None:
                raise ProtocolError("there is a Content-Length beside a Transfer-Encoding")
            if minor == 0:
                raise ProtocolError("HTTP/1.0 has no Transfer-Encoding")
            length = CHUNKED
        elif length is None:
            length = 0
        if target.translate(None, _IN_TARGET):
            raise ProtocolError("the request target has a character that is not allowed")
        if host is None:
            # RFC 9112 3.2: even where the target names one.
            if minor == 1:
                raise ProtocolError("there is no Host")
            host = b""
        if not target.startswith(b"/"):
            target, host = _target(method, target, host)
        self._receiver.requestReceived(
            RequestHead(
                method,
                target,
                minor,
                host,
                ordinary,
                specials,
                named,
                length,
                b"close" not in named if minor else b"keep-alive" in named,
            )
        )
        return length


def _target(method: bytes, target: bytes, host: bytes) -> tuple[bytes, bytes]:
    """
    Read the other forms of a target (RFC 9112 3.2.2, 3.2.4): target, host.
    """
    if target == b"*" and method == b"OPTIONS":
        return target, host
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise ProtocolError("the request target is not of a form allowed here")
    authority, rest = absolute.groups()
    if not valid_host(authority) or authority.startswith(b":"):
        raise ProtocolError("the request target does not name a host")
    if not rest.startswith(b"/"):
        rest = b"*" if not rest and method == b"OPTIONS" else b"/" + rest
    # RFC 9112 3.2.2: the Host field, if any, is ignored and replaced.
    return rest, authority


_IN_REASON: Final = bytes({0x09, *range(0x20, 0x7F), *range(0x80, 0x100)})


class ResponseParser(_Parser):
    """
    Reads responses, one at a time. Say what each L{answers} before it comes.
    """

    __slots__ = ("_interims", "_receiver", "_to_head")

    _grammar = HttpResponseParser

    MOST_INTERIMS: Final = 16
    """How many interim responses a request may get."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._interims = 0
        self._to_head = False

    def answers(self, method: bytes, receiver: ResponseReceiver) -> None:
        """
        Say what method the next response answers (none to HEAD has a body), and
        who is told of it.
        """
        self._receiver = receiver
        self._body_received = receiver.responseBodyReceived
        self._to_head = method == b"HEAD"
        self._interims = 0

    def forget(self) -> None:
        """
        Keep nobody alive that has been told all.
        """
        del self._receiver, self._body_received

    def ended(self) -> None:
        """
        The connection has ended, cleanly.

        @raise ProtocolError: within a response, unless that is how it ends.
        """
        if self._expected != UNTIL_CLOSE:
            raise ProtocolError("the connection ended within a response")
        self._expected = _HEAD
        self._receiver.responseFinished([])

    def _finish(self, trailers: list[bytes]) -> None:
        self._receiver.responseFinished(trailers)

    def _read_head(self, lines: list[bytes]) -> int | None:
        version, _, rest = lines[0].partition(b" ")
        code, _, reason = rest.partition(b" ")
        minor = _VERSIONS.get(version)
        if minor is None:
            raise ProtocolError("the HTTP version is not supported")
        # Digits, llhttp has seen; but it takes any three.
        status = int(code) if code.isdigit() else 0
        if not 100 <= status <= 599:
            raise ProtocolError("the status is not one of HTTP")
        # RFC 9112 4: tabs, spaces, and no other controls, which llhttp lets pass.
        if reason.translate(None, _IN_REASON):
            raise ProtocolError("the reason phrase has a character that is not allowed")
        ordinary, specials = self._fields(lines[1:])
        length: int | None = None
        chunked = False
        named = NONE_NAMED
        for name, value in specials:
            if name == b"connection":
                named = named | options(value) if named else options(value)
            elif name == b"content-length":
                if length is not None:
                    raise ProtocolError("there is more than one Content-Length")
                length = content_length(value)
            elif name == b"transfer-encoding":
                if chunked or value.lower() != b"chunked" or minor == 0:
                    raise ProtocolError("the Transfer-Encoding is not chunked")
                chunked = True
        if chunked and length is not None:
            raise ProtocolError("there is a Content-Length beside a Transfer-Encoding")
        if status < 200:
            self._count_interim(status)
            self._receiver.informationReceived(
                ResponseHead(status, reason, ordinary, specials, named, 0, None, True)
            )
            return None
        # RFC 9112 6.3 items 1 and 2: these have no body, whatever the fields say.
        if self._to_head or status in {204, 304}:
            body = 0
        elif chunked:
            body = CHUNKED
        else:
            body = UNTIL_CLOSE if length is None else length
        keep_alive = b"close" not in named if minor else b"keep-alive" in named
        self._receiver.responseReceived(
            ResponseHead(
                status,
                reason,
                ordinary,
                specials,
                named,
                body,
                # RFC 9110 8.6: there is none with 204.
                None if status == 204 else length,
                keep_alive and body != UNTIL_CLOSE,
            )
        )
        return body

    def _count_interim(self, status: int) -> None:
        if status == 101:
            raise ProtocolError("there is an upgrade that nobody asked for")
        self._interims += 1
        if self._interims > self.MOST_INTERIMS:
            raise ProtocolError("there are too many interim responses")
