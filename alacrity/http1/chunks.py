"""
Chunked bodies (RFC 9112 7.1): the framing is removed, the content is passed on.

Sizes and extensions are read here, so that the bytes within a chunk are skipped
unread, and all pieces of one read are passed on as one. Runs of short chunks, of which
a hostile peer can send the most, are found by one expression and split by llhttp. The
grammar of trailer fields is llhttp's too, as that of heads is.

Over 400 lines, as the expressions and the reader that uses them are read together.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from httptools import HttpParserCallbackError, HttpParserError, HttpRequestParser

from alacrity.http1.errors import ProtocolError
from alacrity.http1.fields import NOT_IN_TRAILERS, SPECIALS
from alacrity.http1.messages import MessageLimits

PIECES: Final = 1024
"""
Chunks read by one L{ChunkedBody.feed}. One-byte chunks cost some 100 ns each, so those of
one peer hold up the others for a fraction of a millisecond.
"""

SIZE_LINE: Final = 4096
"""Longest line with a chunk's size and extensions, in bytes: what Go's net/http takes."""

_FRAMING_RATIO: Final = 16
"""
Bytes of framing that may come with a byte of content: chunks of one byte have five, and
an extension is sent for a reason or not at all.
"""

_CRLF: Final = b"\r\n"
_ONE: Final = ord("1")
_END: Final = b"\r\n\r\n"

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_QUOTED: Final = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'
_EXTENSIONS: Final = rb"(?:;%b(?:=(?:%b|%b))?)*+" % (_TOKEN, _TOKEN, _QUOTED)
# Zeros, and up to fifteen digits: read in one way only, so that no line is read twice.
_NUMBER: Final = rb"(?=[0-9A-Fa-f])0*+[0-9A-Fa-f]{0,15}+"
_SIZE: Final = re.compile(rb"(%b)%b\r\n" % (_NUMBER, _EXTENSIONS))
# The beginning of such a line, as far as it has come.
_EXTENSION_BEGUN: Final = re.compile(rb"[\t -~\x80-\xff]*+\r?")
_SIZE_BEGUN: Final = re.compile(rb"(?:%b(?:;[\t -~\x80-\xff]*+)?\r?)?" % _NUMBER)
# The same with the spaces that some servers put around sizes and extensions, and that a
# recipient has to parse (RFC 9112 7.1.1); all peers do.
_SPACE: Final = rb"[\t ]*+"
_SPACED_EXTENSIONS: Final = rb"(?:%b;%b%b(?:%b=%b(?:%b|%b))?)*+" % (
    *(_SPACE, _SPACE, _TOKEN),
    *(_SPACE, _SPACE, _TOKEN, _QUOTED),
)
_SPACED_SIZE: Final = re.compile(rb"(%b)%b%b\r\n" % (_NUMBER, _SPACED_EXTENSIONS, _SPACE))
_SPACED_SIZE_BEGUN: Final = re.compile(rb"(?:%b%b(?:;[\t -~\x80-\xff]*+)?\r?)?" % (_NUMBER, _SPACE))


SHORT: Final = 31
"""Longest chunk that counts as short, in bytes."""


def _short(length: int) -> bytes:
    size = "".join(f"[{digit}{digit.upper()}]" for digit in f"{length:x}").encode("ascii")
    return rb"%b%b\r\n(?s:.{%d})" % (size, _EXTENSIONS, length)


# Whole chunks of 1 to 31 bytes, one after the other.
_RUN: Final = re.compile(
    rb"(?:0*+(?:%b)\r\n){1,%d}+" % (b"|".join(_short(n) for n in range(1, SHORT + 1)), PIECES)
)

# A line in such a run that is longer than is allowed.
_LONG_LINE: Final = re.compile(rb"(?:^|\n)[^\r]{%d}" % (SIZE_LINE - len(b"\r\n") + 1))


def empty_line_end(data: bytes, start: int, tail: bytes) -> int:
    """
    Find the end of the next empty line.

    @param start: where in C{data} to begin.
    @param tail: up to three bytes that came before C{data}.
    @return: the offset in C{data} after the line; -1: there is none.
    """
    if tail:
        at = (tail + data[start : start + 3]).find(_END)
        if at >= 0:
            return start + at + len(_END) - len(tail)
    at = data.find(_END, start)
    return at + len(_END) if at >= 0 else -1


def tail_of(data: bytes, start: int, tail: bytes) -> bytes:
    """
    The last three bytes of data without an empty line, for the next L{empty_line_end}.
    """
    return (tail + data[max(start, len(data) - 3) :])[-3:]


class ChunkedBody:
    """
    Reader of one chunked body.

    @ivar complete: whether all of it has been read, including the trailer section.
    @ivar trailers: the trailer fields that may be passed on, a line each.
    """

    __slots__ = (
        "_body_received",
        "_ending",
        "_framing",
        "_left",
        "_limits",
        "_line",
        "_section",
        "_short",
        "_size",
        "_size_begun",
        "complete",
        "trailers",
    )

    def __init__(
        self,
        limits: MessageLimits,
        body_received: Callable[[bytes], None],
        *,
        from_server: bool = False,
    ) -> None:
        """
        @param body_received: called with the content.
        @param from_server: whether spaces may stand around sizes and extensions. A client's
            might hide a second request from another proxy; a server's do no harm, as the body
            is framed anew.
        """
        self._size = _SPACED_SIZE if from_server else _SIZE
        self._size_begun = _SPACED_SIZE_BEGUN if from_server else _SIZE_BEGUN
        self._limits = limits
        self._body_received = body_received
        # The part of a size line that has come; the bytes of content that are missing from
        # the present chunk; the part of the line end after it that is missing.
        self._line = b""
        self._left = 0
        self._ending = b""
        self._framing = 0
        self._section: _TrailerSection | None = None
        self._short: _ShortChunks | None = None
        self.trailers: list[bytes] = []
        self.complete = False

    def feed(self, data: bytes, start: int) -> int:
        """
        Read on, to the end of the body or of the data, at most L{PIECES} chunks. Their
        content is passed on in one piece.

        @param start: where in C{data} to begin.
        @return: where in C{data} it stopped.
        @raise ProtocolError: the body is malformed, or has more framing than is allowed.
            The content before the fault has been passed on.
        """
        pieces: list[bytes] = []
        at = start
        try:
            if self._section is None:
                at = self._read(data, start, pieces)
        finally:
            content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            if content:
                self._body_received(content)
        if self._section is not None:
            at = self._section.feed(data, at)
            if self._section.complete:
                self.complete = True
                self.trailers = self._section.trailers
        # Bound the framing (RFC 9112 7.1.1): each byte of content allows for some, the
        # limit of the header section for the rest.
        framing = at - start - len(content)
        self._framing = max(0, self._framing + framing - len(content) * _FRAMING_RATIO)
        if self._framing > self._limits.header_bytes:
            raise ProtocolError("there is too much chunk framing for the content", 431)
        return at

    def _read(self, data: bytes, start: int, pieces: list[bytes]) -> int:
        """
        Read chunks.

        @param pieces: gets their content.
        @return: where in C{data} it stopped.
        """
        at = self._resume_chunk(data, start, pieces)
        size = len(data) if self._section is None else at
        while at < size and len(pieces) < PIECES:
            if data[at] <= _ONE or not data[at + 1 : at + 2].isalnum():
                # A size of one digit, or one that begins with zeros or a one.
                run = _RUN.match(data, at)
                if run is not None:
                    if run.end() - at > SIZE_LINE and _LONG_LINE.search(run[0]):
                        raise _line_too_long()
                    if self._short is None:
                        self._short = _ShortChunks()
                    pieces += self._short.split(run[0])
                    at = run.end()
                    continue
            line = self._size.match(data, at, at + SIZE_LINE + 1)
            if line is None:
                return self._keep_line(data, at)
            begin = line.end()
            if begin - at > SIZE_LINE:
                raise _line_too_long()
            length = int(line[1], 16)
            if not length:
                self._section = _TrailerSection(self._limits)
                return begin
            end = begin + length
            if data[end : end + 2] == _CRLF:
                pieces.append(data[begin:end])
                at = end + 2
            else:
                at = self._read_partial(data, begin, length, pieces)
        return at

    def _resume_chunk(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """
        Go on with the chunk that has come in part, if there is one.
        """
        if self._line:
            line = None
            if data.find(b"\n", at, at + SIZE_LINE + 1) >= 0:
                line = self._size.match(self._line + data[at : at + SIZE_LINE + 1])
            if line is None:
                return self._keep_line(data, at)
            if line.end() > SIZE_LINE:
                raise _line_too_long()
            at += line.end() - len(self._line)
            self._line = b""
            length = int(line[1], 16)
            if not length:
                self._section = _TrailerSection(self._limits)
                return at
            return self._read_partial(data, at, length, pieces)
        if self._left or self._ending:
            return self._read_partial(data, at, self._left, pieces)
        return at

    def _read_partial(self, data: bytes, at: int, length: int, pieces: list[bytes]) -> int:
        """
        Read a chunk, or the rest of one, that may not have come as a whole.

        @param length: the bytes of content that are missing.
        @return: where in C{data} it stopped.
        """
        if length:
            piece = data[at : at + length]
            if piece:
                pieces.append(piece)
            at += len(piece)
            self._left = length - len(piece)
            self._ending = _CRLF
            if self._left:
                return at
        ending = data[at : at + len(self._ending)]
        if not self._ending.startswith(ending):
            raise ProtocolError("a chunk is longer than its size says")
        self._ending = self._ending[len(ending) :]
        return at + len(ending)

    def _keep_line(self, data: bytes, at: int) -> int:
        """
        Keep a part of a size line until the rest comes, if it is the beginning of one.
        """
        before, piece = self._line, data[at : at + SIZE_LINE + 1]
        self._line = before + piece
        if b";" in before and not before.endswith(b"\r"):
            # The part that came before was checked, and is not again for each byte.
            begun = _EXTENSION_BEGUN.fullmatch(piece)
        else:
            begun = self._size_begun.fullmatch(self._line)
        if begun is None:
            raise _malformed_size()
        if len(self._line) > min(SIZE_LINE, self._limits.header_bytes):
            raise _line_too_long()
        return len(data)


def _malformed_size() -> ProtocolError:
    return ProtocolError("the size of a chunk is malformed")


def _line_too_long() -> ProtocolError:
    return ProtocolError("the extensions of a chunk are too long", 431)


_PRIMER: Final = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
"""A head that has llhttp expect chunks."""


class _ShortChunks:
    """
    Splitter of runs of short chunks.

    @ivar on_body: httptools' callback.
    """

    __slots__ = ("_llhttp", "_pieces", "on_body")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.on_body = self._pieces.append
        self._llhttp = HttpRequestParser(self)
        self._llhttp.feed_data(_PRIMER)

    def split(self, run: bytes) -> list[bytes]:
        """
        Split whole chunks.

        @return: the content of each.
        @raise ProtocolError: llhttp finds a fault in them.
        """
        self._pieces.clear()
        try:
            self._llhttp.feed_data(run)
        except HttpParserError as error:
            raise ProtocolError(str(error)) from None
        return self._pieces


class _TrailerSection:
    """
    Reader of the fields after the last chunk (RFC 9112 7.1.2), whose grammar llhttp
    checks.

    @ivar complete: whether its empty line has been read.
    @ivar trailers: the fields that may be passed on, a line each.
    """

    __slots__ = ("_limits", "_llhttp", "_size", "_tail", "complete", "trailers")

    def __init__(self, limits: MessageLimits) -> None:
        self._limits = limits
        self._size = 0
        # The end of the last chunk's line: an empty line may follow it at once.
        self._tail = _CRLF
        self._llhttp: HttpRequestParser | None = None
        self.trailers: list[bytes] = []
        self.complete = False

    def feed(self, data: bytes, start: int) -> int:
        """
        Read on, to the end of the section or of the data.

        @return: where in C{data} it stopped.
        @raise ProtocolError: it is malformed, or over a limit.
        """
        end = empty_line_end(data, start, self._tail)
        complete = end >= 0
        if not complete:
            end = len(data)
        self._size += end - start
        self.complete = complete
        if complete and self._size == len(_CRLF):
            return end
        if self._size > self._limits.header_bytes:
            raise ProtocolError("the trailer section is too large", 431)
        self._check(data[start:end])
        if not complete:
            self._tail = tail_of(data, start, self._tail)
        return end

    def _check(self, piece: bytes) -> None:
        if self._llhttp is None:
            # Not ourselves: we would be kept alive until the next collection of cycles.
            self._llhttp = HttpRequestParser(_TrailerFields(self._limits, self.trailers))
            self._llhttp.feed_data(_PRIMER + b"0\r\n")
        try:
            self._llhttp.feed_data(piece)
        except HttpParserError as error:
            if isinstance(error, HttpParserCallbackError) and error.__context__ is not None:
                raise error.__context__ from None
            raise ProtocolError(str(error)) from None


class _TrailerFields:
    """
    Receiver of trailer fields. Its C{on_} method is httptools' callback.
    """

    __slots__ = ("_limits", "_trailers")

    def __init__(self, limits: MessageLimits, trailers: list[bytes]) -> None:
        """
        @param trailers: filled with the fields that may be passed on.
        """
        self._limits = limits
        self._trailers = trailers

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field, if it may be passed on."""
        # RFC 9110 6.5.1: fields that frame, route or authenticate belong in the head.
        if not SPECIALS[name] and name.lower() not in NOT_IN_TRAILERS:
            self._trailers.append(name + b": " + value)
            if len(self._trailers) > self._limits.header_count:
                raise ProtocolError("there are too many trailer fields", 431)
