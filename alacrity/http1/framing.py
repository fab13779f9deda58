"""
Where messages end: bytes cut into heads, bodies and chunks.

The grammar is llhttp's (through httptools), all its leniencies off: each head
goes through it, and so does each body in chunks. It is asked whether they are
HTTP, and nothing else.

One rule holds here: nothing is read past the end of a message. Each message ends
at an empty line, or after a counted number of bytes, so the data is cut there.
Pipelined requests therefore wait as bytes, unread, until their turn comes; and
what a server sends beyond its response is seen as such.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

import msgspec
from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserUpgrade,
    HttpRequestParser,
    HttpResponseParser,
)

from alacrity.http1.errors import ProtocolError
from alacrity.http1.fields import NOT_IN_TRAILERS, SPECIAL_LINES, SPECIALS
from alacrity.http1.messages import CHUNKED, UNTIL_CLOSE

_END: Final = b"\r\n\r\n"

# In the place of a count of body bytes: the head, or a part of it, is awaited.
HEAD: Final = -3

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


class MessageParser:
    """
    What the two parsers have in common.
    """

    __slots__ = ("_body_received", "_chunks", "_expected", "_head", "_limits", "_llhttp", "_tail")

    _body_received: Callable[[bytes], None]
    # What refuses that which is not HTTP.
    _grammar: ClassVar[type[HttpRequestParser | HttpResponseParser]]

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._expected = HEAD
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
        return self._expected != HEAD or self._head != b""

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
            if expected == HEAD:
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
                    self._expected = HEAD
                    self._chunks = None
                    self._finish(chunks.trailers)
                    return end
            else:
                end = size if expected == UNTIL_CLOSE else min(start + expected, size)
                self._body_received(data[start:end])
                if expected == end - start:
                    self._expected = HEAD
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
        except HttpParserUpgrade as upgrade:
            # The head is well-formed; what an upgrade means, is read below. But a CONNECT
            # of HTTP/0.9 would end at a bare line feed, and all that follows go unseen.
            if self._tail or upgrade.args[0] != len(piece):
                raise ProtocolError("the head does not end with an empty line") from None
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
            if len(self.trailers) > self._limits.header_count:
                raise ProtocolError("there are too many trailer fields", 431)

    def on_message_complete(self) -> None:
        self._complete = True
