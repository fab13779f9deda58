"""
The framing of messages: bytes are split into heads, bodies and chunks.

The grammar of heads and trailers is llhttp's (through httptools), with all its leniencies
off. It decides whether they are HTTP, and is used for nothing else.

One rule holds: nothing is read past the end of a message. Each message ends at an empty
line, or after a counted number of bytes, so the data is split there. Pipelined requests
therefore wait as bytes, unread, until their turn comes; and bytes that a server sends
after its response are seen as such.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

from alacrity.http1.chunks import ChunkedBody, empty_line_end, tail_of
from alacrity.http1.errors import ProtocolError
from alacrity.http1.messages import CHUNKED, UNTIL_CLOSE, MessageLimits

# In the place of a count of body bytes: a head, or the rest of one, comes next.
HEAD: Final = -3

# In the place of the length of a body: the head is not read.
UNKNOWN: Final = -4

INTERIM_BYTES: Final = 4096
"""Bytes of interim responses after which no other head is read in the same turn."""


class MessageParser:
    """
    The common base of the two parsers.
    """

    __deletable__ = ("_body_received",)
    __slots__ = ("_body_received", "_chunks", "_expected", "_head", "_limits", "_llhttp", "_tail")

    _body_received: Callable[[bytes], None]
    # The llhttp parser class that validates the grammar.
    _grammar: ClassVar[type[HttpRequestParser | HttpResponseParser]]
    _from_server: ClassVar[bool] = False

    def __init__(self, limits: MessageLimits) -> None:
        self._limits = limits
        self._expected = HEAD
        self._head = b""
        self._tail = b""
        self._llhttp: HttpRequestParser | HttpResponseParser | None = None
        self._chunks: ChunkedBody | None = None

    def _read_known(self, start_line: bytes, section: bytes) -> int | None:
        """
        Read a head that needs no check of its grammar: its start line is of the usual form, and
        its section of fields is remembered.

        @return: as of L{_read_head}; L{UNKNOWN}: it needs one, and is not read.
        """
        raise NotImplementedError

    def _read_head(self, start_line: bytes, section: bytes) -> int | None:
        """
        Read a head whose grammar llhttp has accepted, and give it to the receiver.

        @param section: its field lines and the empty line, all with their ends.
        @return: the length of the body, see L{alacrity.http1.messages}; L{None}:
            the message is yet to come.
        """
        raise NotImplementedError

    def _finish(self, trailers: list[bytes]) -> None:
        """
        Call the receiver, since the message is complete.
        """
        raise NotImplementedError

    @property
    def begun(self) -> bool:
        """Whether a part of a message has been read, but not all of it."""
        return self._expected != HEAD or self._head != b""

    def feed(self, data: bytes, start: int = 0) -> int:
        """
        Read on to the end of the data or of the message, whichever comes first; where a
        body comes in many small chunks, or much comes before the message, as far as is right
        in one turn of the loop.

        @param start: where in C{data} to begin.
        @return: where in C{data} it stopped. If that is within a message, the rest is to
            be fed in another turn.
        @raise ProtocolError: the message is refused, and nothing after it can be read.
        """
        size, begin = len(data), start
        while start < size:
            expected = self._expected
            if expected == HEAD:
                length, start = self._feed_head(data, start)
                if length is None:
                    if start - begin > INTERIM_BYTES:
                        return start
                    continue
                if length != 0:
                    self._expected = length
                    if length == CHUNKED:
                        self._chunks = ChunkedBody(
                            self._limits, self._body_received, from_server=self._from_server
                        )
                    continue
                return start
            if expected == CHUNKED:
                chunks = self._chunks
                assert chunks is not None
                start = chunks.feed(data, start)
                if chunks.complete:
                    self._expected = HEAD
                    self._chunks = None
                    self._finish(chunks.trailers)
                return start
            end = size if expected == UNTIL_CLOSE else min(start + expected, size)
            self._body_received(data[start:end])
            if expected == end - start:
                self._expected = HEAD
                self._finish([])
            elif expected > 0:
                self._expected = expected - (end - start)
            return end
        return start

    def _feed_head(self, data: bytes, start: int) -> tuple[int | None, int]:
        """
        Read a head, or a part of one.

        @return: the result of L{_read_head}, or L{None}; and where it stopped.
        """
        end = empty_line_end(data, start, self._tail)
        if end < 0:
            end = len(data)
            self._tail = tail_of(data, start, self._tail)
        elif self._tail:
            self._tail = b""
        piece = data[start:end]
        head = self._head + piece if self._head else piece
        if len(head) > self._limits.header_bytes:
            raise self._too_large(head)
        start_line = section = b""
        if not self._tail:
            line_end = head.find(b"\r\n")
            start_line, section = head[:line_end], head[line_end + 2 :]
            if self._llhttp is None:
                length = self._read_known(start_line, section)
                if length != UNKNOWN:
                    return length, end
        llhttp = self._llhttp or self._grammar(None)
        try:
            llhttp.feed_data(piece)
        except HttpParserUpgrade as upgrade:
            # The head is well-formed; the upgrade is read below. But a CONNECT of HTTP/0.9
            # would end at a bare line feed, and all that follows would go unseen.
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
        return self._read_head(start_line, section), end

    def _too_large(self, head: bytes) -> ProtocolError:
        """
        The error of a head over the limit.
        """
        return ProtocolError("the header section is too large", 431)

    def _malformed(self, error: HttpParserError, head: bytes) -> ProtocolError:
        """
        The error of a head that is not HTTP.
        """
        return ProtocolError(str(error))

    def _lines(self, section: bytes) -> list[bytes]:
        """
        The field lines of a section, without their ends.

        @raise ProtocolError: there are too many.
        """
        lines = section[:-4].split(b"\r\n") if len(section) > 2 else []
        if len(lines) > self._limits.header_count:
            raise ProtocolError("there are too many header fields", 431)
        return lines
