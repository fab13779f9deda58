"""
Parsers of requests and responses: bytes in, calls on a receiver out.

L{framing<alacrity.http1.framing>} finds the end of each message, and has its grammar
checked. The head is read here, and the checks are made that llhttp does not make:
duplicate and conflicting framing, bodies that a message cannot have, methods, targets
and hosts.

Over 400 lines, with the interfaces of the receivers, which belong beside the calls on them.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Final, Protocol

from httptools import HttpParserError, HttpRequestParser, HttpResponseParser

from alacrity.http1.errors import ProtocolError, response_fault
from alacrity.http1.fields import UPGRADES, upgrades, valid_host
from alacrity.http1.framing import HEAD, UNKNOWN, MessageParser
from alacrity.http1.messages import CHUNKED, UNTIL_CLOSE, MessageLimits, RequestHead, ResponseHead
from alacrity.http1.sections import (
    REQUEST_SECTIONS,
    RESPONSE_SECTIONS,
    RequestFields,
    ResponseFields,
    request_fields,
    response_fields,
)

__all__ = [
    "MessageLimits",
    "RequestParser",
    "RequestReceiver",
    "ResponseParser",
    "ResponseReceiver",
]


class RequestReceiver(Protocol):
    """
    The receiver of requests that a L{RequestParser} reads. For a request without a body,
    L{requestReceived} is the only call.
    """

    def requestReceived(self, head: RequestHead) -> None:
        """A request begins."""

    def requestBodyReceived(self, data: bytes) -> None:
        """A piece of its body."""

    def requestFinished(self, trailers: list[bytes]) -> None:
        """The body is complete."""


class ResponseReceiver(Protocol):
    """
    The receiver of responses that a L{ResponseParser} reads. For a response without a
    body, L{responseReceived} is the only call for the final response.
    """

    def informationReceived(self, head: ResponseHead) -> None:
        """An interim response (1xx); the final one is yet to come."""

    def switchReceived(self, head: ResponseHead) -> None:
        """
        The server switches to another protocol (101). The bytes that it sends from here
        on are left unread.

        @raise ProtocolError: it was not asked to.
        """

    def responseReceived(self, head: ResponseHead) -> None:
        """The final response begins."""

    def responseBodyReceived(self, data: bytes) -> None:
        """A piece of its body."""

    def responseFinished(self, trailers: list[bytes]) -> None:
        """The body is complete."""


# The characters of a target (RFC 9112 3.2): visible ASCII without "#". Nothing is
# decoded, so that the server sees the target that the client sent.
_IN_TARGET: Final = bytes(set(range(0x21, 0x7F)) - {0x23})

_ABSOLUTE: Final = re.compile(rb"https?://([^/?]+)(.*)", re.IGNORECASE)

# The methods of HTTP; llhttp also accepts those of RTSP, ICE and HTTP/2's preface.
_METHODS: Final = frozenset(
    b"ACL BIND CHECKOUT COPY DELETE GET HEAD LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR "
    b"MKCOL MOVE NOTIFY OPTIONS PATCH POST PROPFIND PROPPATCH PURGE PUT QUERY REBIND REPORT "
    b"SEARCH SUBSCRIBE UNBIND UNLINK UNLOCK UNSUBSCRIBE".split()
)


_VERSIONS: Final = {b"HTTP/1.1": 1, b"HTTP/1.0": 0}

_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

# llhttp may refuse a version before the line has come as a whole. Empty lines may precede it.
_REQUEST_LINE: Final = re.compile(
    rb"(?:\r\n)*+(%b) [^ ]+ HTTP/([0-9]\.[0-9])(?:\r\n|\r?\Z)" % _TOKEN.pattern
)

_UNDERSTOOD: Final = frozenset({b"1.0", b"1.1"})


class RequestParser(MessageParser):
    """
    Reader of requests, one at a time.
    """

    __slots__ = ("_blank", "_receiver")

    _grammar = HttpRequestParser

    MOST_BLANK: Final = 8
    """Pairs of empty lines that may come before a request."""

    def __init__(self, receiver: RequestReceiver, limits: MessageLimits) -> None:
        super().__init__(limits)
        self._blank = 0
        self._receiver = receiver
        self._body_received = receiver.requestBodyReceived

    def _finish(self, trailers: list[bytes]) -> None:
        self._receiver.requestFinished(trailers)

    def _too_large(self, head: bytes) -> ProtocolError:
        if len(head.lstrip(b"\r\n").partition(b"\r\n")[0]) > self._limits.request_line:
            return ProtocolError("the request line is too long", 414)
        return super()._too_large(head)

    def _malformed(self, error: HttpParserError, head: bytes) -> ProtocolError:
        line = _REQUEST_LINE.match(head)
        if line is not None and line[2] not in _UNDERSTOOD:
            # RFC 9110 15.6.6
            return ProtocolError("the HTTP version is not supported", 505)
        if line is not None and line[1] not in _METHODS:
            # RFC 9110 15.6.2: it is a method, though an unknown one, and not garbage.
            return ProtocolError("the method is not known", 501)
        return super()._malformed(error, head)

    def _read_known(self, start_line: bytes, section: bytes) -> int | None:
        fields = REQUEST_SECTIONS.get(section)
        if (
            fields is None
            or fields.count > self._limits.header_count
            or len(start_line) > self._limits.request_line
        ):
            return UNKNOWN
        start = _usual_start(start_line)
        return UNKNOWN if start is None else self._receive(start, fields)

    def _read_head(self, start_line: bytes, section: bytes) -> int | None:
        if not start_line:
            # RFC 9112 2.2: empty lines before a request are not part of it.
            if section:
                line_end = section.find(b"\r\n")
                return self._read_head(section[:line_end], section[line_end + 2 :])
            self._count_blank()
            return None
        if len(start_line) > self._limits.request_line:
            raise ProtocolError("the request line is too long", 414)
        start = _usual_start(start_line) or _any_start(start_line)
        fields = request_fields(self._lines(section))
        REQUEST_SECTIONS.add(section, fields)
        return self._receive(start, fields)

    def _receive(self, start: tuple[bytes, bytes, int], fields: RequestFields) -> int:
        """
        Make the head of a request of its start line and its fields, and give it to the receiver.
        """
        method, target, minor = start
        length = fields.length
        if fields.chunked:
            # RFC 9112 6.1
            if minor == 0:
                raise ProtocolError("HTTP/1.0 has no Transfer-Encoding")
            length = CHUNKED
        elif length is None:
            length = 0
        host = fields.host
        if host is None:
            # RFC 9112 3.2: even where the target names one.
            if minor == 1:
                raise ProtocolError("there is no Host")
            host = b""
        if not target.startswith(b"/"):
            target, host = _target(method, target, host)
        named, upgrade = fields.named, fields.upgrade
        if upgrade:
            # RFC 9110 7.8: named in Connection, and not by a 1.0 client. In a request
            # that has a body, it is ignored.
            if minor == 1 and b"upgrade" in named and length == 0:
                upgrade = upgrades(upgrade, self._switches(method))
            else:
                upgrade = b""
        self._blank = 0
        self._receiver.requestReceived(
            RequestHead(
                method,
                target,
                minor,
                host,
                fields.lines,
                fields.specials,
                named,
                length,
                b"close" not in named if minor else b"keep-alive" in named,
                upgrade,
                fields.via,
                fields.login,
                # RFC 9110 10.1.1: one without a body, or of a 1.0 client, waits for nothing.
                fields.expects and minor == 1 and length != 0,
            )
        )
        return length

    def _switches(self, method: bytes) -> AbstractSet[bytes]:
        """
        The protocols that a request of a method may ask to switch to.
        """
        allowed = self._limits.upgrades
        if method == b"GET":
            return allowed
        # Such as Docker's tcp and SPDY/3.1, which the registered ones are unlike.
        return allowed - UPGRADES if method == b"POST" else frozenset()

    def _count_blank(self) -> None:
        self._blank += 1
        if self._blank > self.MOST_BLANK:
            raise ProtocolError("there are too many empty lines before the request")


def _usual_start(line: bytes) -> tuple[bytes, bytes, int] | None:
    """
    Read a request line of the usual form: a known method, a target in origin form, and a version
    that is understood (RFC 9112 3).

    @return: the method, the target and the minor version; L{None}: it is of another form, or
        malformed.
    """
    words = line.split(b" ")
    if len(words) != 3:
        return None
    method, target, version = words
    minor = _VERSIONS.get(version)
    if (
        minor is None
        or method not in _METHODS
        or not target.startswith(b"/")
        or target.translate(None, _IN_TARGET)
    ):
        return None
    return method, target, minor


def _any_start(line: bytes) -> tuple[bytes, bytes, int]:
    """
    Read a request line of any form.

    @raise ProtocolError: it is malformed, or asks for something that is not understood.
    """
    words = line.split(b" ")
    if len(words) != 3:
        raise ProtocolError("the request line is not three words")
    method, target, version = words
    minor = _VERSIONS.get(version)
    if method not in _METHODS:
        if _TOKEN.fullmatch(method) is None:
            # RFC 9110 9.1, 5.6.2
            raise ProtocolError("the method is not a token")
        if minor is None:
            # Such as the preface of HTTP/2 (RFC 9113 3.4).
            raise ProtocolError("the HTTP version is not supported", 505)
        if method in {b"TRACE", b"CONNECT"}:
            raise ProtocolError("the method is not allowed", 405)
        raise ProtocolError("the method is not known", 501)
    if minor is None:
        raise ProtocolError("the HTTP version is not supported", 505)
    if target.translate(None, _IN_TARGET):
        raise ProtocolError("the request target has a character that is not allowed")
    return method, target, minor


def _target(method: bytes, target: bytes, host: bytes) -> tuple[bytes, bytes]:
    """
    Read a target in absolute or asterisk form (RFC 9112 3.2.2, 3.2.4).

    @return: the target to pass on, and the host.
    """
    if target == b"*" and method == b"OPTIONS":
        return target, host
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise ProtocolError("the request target is not of a form allowed here")
    authority, rest = absolute.groups()
    if not valid_host(authority):
        raise ProtocolError("the request target does not name a host")
    if not rest.startswith(b"/"):
        rest = b"*" if not rest and method == b"OPTIONS" else b"/" + rest
    # RFC 9112 3.2.2: the Host field, if any, is ignored and replaced.
    return rest, authority


_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t -~\x80-\xff]*))?")


@lru_cache(256)
def _status_line(line: bytes) -> tuple[int, int, bytes]:
    """
    Read a status line (RFC 9112 4): minor version, status, reason phrase. The characters
    of the reason phrase are checked here, since llhttp does not.
    """
    words = _STATUS_LINE.fullmatch(line)
    if words is None:
        raise ProtocolError("the status line is malformed")
    minor, status, reason = words.groups(b"")
    return int(minor), int(status), reason


class ResponseParser(MessageParser):
    """
    Reader of responses, one at a time. Call L{answers} before each.
    """

    __deletable__ = ("_receiver",)
    __slots__ = ("_interims", "_receiver", "_to_head")

    _grammar = HttpResponseParser
    _from_server = True

    MOST_INTERIMS: Final = 16
    """Interim responses that a request may get."""

    def __init__(self, limits: MessageLimits) -> None:
        super().__init__(limits)
        self._interims = 0
        self._to_head = False

    def answers(self, method: bytes, receiver: ResponseReceiver) -> None:
        """
        Set the receiver of the next response, and the method of the request that it
        answers (a response to HEAD has no body).
        """
        self._receiver = receiver
        self._body_received = receiver.responseBodyReceived
        self._to_head = method == b"HEAD"
        self._interims = 0

    def forget(self) -> None:
        """
        Drop the receiver, so that it is not kept alive, once its response is complete.
        """
        del self._receiver, self._body_received

    def ended(self) -> None:
        """
        Take note that the connection has ended, cleanly.

        @raise ProtocolError: it ended within a response, unless that ends so.
        """
        if self._expected != UNTIL_CLOSE:
            raise ProtocolError("the connection ended within a response")
        self._expected = HEAD
        self._receiver.responseFinished([])

    def _finish(self, trailers: list[bytes]) -> None:
        self._receiver.responseFinished(trailers)

    def _malformed(self, error: HttpParserError, head: bytes) -> ProtocolError:
        return ProtocolError(response_fault(str(error), head))

    def _read_known(self, start_line: bytes, section: bytes) -> int | None:
        fields = RESPONSE_SECTIONS.get(section)
        if fields is None or fields.count > self._limits.header_count:
            return UNKNOWN
        start = _status_line(start_line)
        # llhttp looks at an interim response's fields by its status.
        return UNKNOWN if start[1] < 200 else self._receive(start, fields)

    def _read_head(self, start_line: bytes, section: bytes) -> int | None:
        start = _status_line(start_line)
        fields = response_fields(self._lines(section))
        RESPONSE_SECTIONS.add(section, fields)
        return self._receive(start, fields)

    def _receive(self, start: tuple[int, int, bytes], fields: ResponseFields) -> int | None:
        """
        Make the head of a response of its start line and its fields, and give it to the receiver.
        """
        minor, status, reason = start
        lines, specials, named = fields.lines, fields.specials, fields.named
        chunked, length = fields.chunked, fields.length
        if chunked and minor == 0:
            raise ProtocolError("the Transfer-Encoding is not chunked")
        if status < 200:
            head = ResponseHead(status, reason, lines, specials, named, 0, None, True, minor=minor)
            if status == 101:
                # RFC 9110 15.2.2: nothing after this head is HTTP.
                self._receiver.switchReceived(head)
                return 0
            self._count_interim()
            self._receiver.informationReceived(head)
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
                lines,
                specials,
                named,
                body,
                # RFC 9110 8.6: there is none with 204.
                None if status == 204 else length,
                keep_alive and body != UNTIL_CLOSE,
                fields.login,
                minor,
            )
        )
        return body

    def _count_interim(self) -> None:
        self._interims += 1
        if self._interims > self.MOST_INTERIMS:
            raise ProtocolError("there are too many interim responses")
