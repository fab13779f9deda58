"""
Invariants that hold for any input: of the parsers, of forwarded messages, of the documents
of the API. Each C{check_} function takes bytes and raises L{AssertionError} if one does not
hold. The fuzzers of C{fuzz/} and the tests run the same functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from alacrity.http1.errors import ProtocolError
from alacrity.http1.fields import names_trailers
from alacrity.http1.forwarding import Forwarder, chunk, last_chunk, received_by, response
from alacrity.http1.messages import CHUNKED, UNTIL_CLOSE, RequestHead, ResponseHead
from alacrity.http1.parser import MessageLimits, RequestParser, ResponseParser
from alacrity.management.documents.problems import Problem
from alacrity.management.documents.registrations import read_registration
from alacrity.management.documents.servers import server_document
from alacrity.pool import Pool, Register, Registered, ServerOptions, apply

VIA: Final = b"1.1 fuzz"
DATE: Final = b"Thu, 01 Jan 1970 00:00:00 GMT"
LARGE: Final = MessageLimits(1 << 30, 1 << 30, 1 << 20)
"""Limits that what a fuzzer sends does not reach: what is refused for them depends
on the pieces in which it comes."""

SMALL: Final = MessageLimits(request_line=32, header_bytes=128, header_count=4)


class Message:
    """
    A message, or the part of it that came.

    @ivar head: L{None}: it did not come.
    @ivar interims: the heads of interim responses before it.
    @ivar trailers: L{None}: the message is not complete, or has no body.
    @ivar end: where in the data it ends; -1: it is not complete.
    """

    def __init__(self) -> None:
        self.head: RequestHead | ResponseHead | None = None
        self.interims: list[ResponseHead] = []
        self.body = b""
        self.trailers: list[bytes] | None = None
        self.end = -1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Message({vars(self)})"

    # As a receiver of the parsers

    def requestReceived(self, head: RequestHead) -> None:
        assert self.head is None, "a head within a message"
        self.head = head

    def informationReceived(self, head: ResponseHead) -> None:
        assert self.head is None, "an interim response within a message"
        self.interims.append(head)

    def switchReceived(self, head: ResponseHead) -> None:
        raise ProtocolError("nobody asked for this")

    def responseReceived(self, head: ResponseHead) -> None:
        assert self.head is None, "a head within a message"
        self.head = head

    def requestBodyReceived(self, data: bytes) -> None:
        assert self.head is not None, "a body without a head"
        assert self.trailers is None, "a body after its end"
        self.body += data

    responseBodyReceived = requestBodyReceived

    def requestFinished(self, trailers: list[bytes]) -> None:
        assert self.head is not None, "an end without a head"
        assert self.trailers is None, "an end after the end"
        self.trailers = trailers

    responseFinished = requestFinished


class Requests:
    """
    The requests that a L{RequestParser} reads from bytes.

    @ivar messages: the last one may be incomplete.
    @ivar fault: why it refused to go on.
    """

    def __init__(self, pieces: Iterable[bytes], limits: MessageLimits = LARGE) -> None:
        self.messages: list[Message] = []
        self.fault: ProtocolError | None = None
        self._message = Message()
        self._parser = RequestParser(self, limits)
        offset = 0
        try:
            for piece in pieces:
                self._feed(piece, offset)
                offset += len(piece)
        except ProtocolError as fault:
            self.fault = fault
        if self._message.head is not None:
            self.messages.append(self._message)

    def _feed(self, piece: bytes, offset: int) -> None:
        at = 0
        while at < len(piece):
            stop = self._parser.feed(piece, at)
            assert stop > at, "the parser is stuck"
            at = stop
            if self._message.head is not None and not self._parser.begun:
                self._message.end = offset + at
                self.messages.append(self._message)
                self._message = Message()
            else:
                assert at == len(piece) or self._message.head is None, "it stopped within a message"

    def requestReceived(self, head: RequestHead) -> None:
        self._message.requestReceived(head)

    def requestBodyReceived(self, data: bytes) -> None:
        self._message.requestBodyReceived(data)

    def requestFinished(self, trailers: list[bytes]) -> None:
        self._message.requestFinished(trailers)


class Response:
    """
    The response that a L{ResponseParser} reads from bytes that end with the connection.

    @ivar message: as much of it as came.
    @ivar fault: why it refused to go on.
    """

    def __init__(
        self, pieces: Iterable[bytes], method: bytes, limits: MessageLimits = LARGE
    ) -> None:
        self.message = Message()
        self.fault: ProtocolError | None = None
        parser = ResponseParser(limits)
        parser.answers(method, self.message)
        offset = 0
        try:
            for piece in pieces:
                at = parser.feed(piece)
                if self.message.head is not None and not parser.begun:
                    self.message.end = offset + at
                    return
                assert at == len(piece), "it stopped within a message"
                offset += at
            parser.ended()
            self.message.end = offset
        except ProtocolError as fault:
            self.fault = fault


def cut(data: bytes, seed: int) -> Iterator[bytes]:
    """
    Split data into pieces.

    @param seed: of the sizes of the pieces; 0: a byte at a time.
    """
    at = 0
    while at < len(data):
        size = 1
        if seed:
            seed = (seed * 6364136223846793005 + 1442695040888963407) % (1 << 64)
            size += (seed >> 33) % 24
        yield data[at : at + size]
        at += size


def check_requests(data: bytes, seed: int = 0) -> None:
    """
    Check requests: nothing but L{ProtocolError} is raised; they are the same in any pieces;
    a forwarded request reads as the one that came.
    """
    whole = Requests([data])
    pieces = Requests(cut(data, seed))
    assert pieces.messages == whole.messages, (pieces.messages, whole.messages)
    assert (pieces.fault is None) == (whole.fault is None), (pieces.fault, whole.fault)
    Requests(cut(data, seed), SMALL)
    for message in whole.messages:
        if message.end >= 0:
            for trusted in (False, True):
                _check_forwarded_request(message, trusted=trusted)


def _check_forwarded_request(message: Message, *, trusted: bool) -> None:
    head = message.head
    assert isinstance(head, RequestHead)
    forwarder = Forwarder(via=VIA, client=b"192.0.2.1", authority=b"127.0.0.1:80", trusted=trusted)
    said = forwarder.request(head) + _body(head.length, message)
    again = Requests([said])
    assert again.fault is None, (said, again.fault)
    [other] = again.messages
    assert other.end == len(said), (said, other)
    then = other.head
    assert isinstance(then, RequestHead)
    assert (then.method, then.target, then.minor) == (head.method, head.target, 1), said
    assert then.host == (head.host or b"127.0.0.1:80"), said
    assert then.length == head.length, said
    assert (other.body, other.trailers) == (message.body, message.trailers), said
    assert then.lines == _kept(head), said
    # What is for this connection alone: an upgrade, and that the client takes trailers.
    takes_trailers = any(
        name == b"te" and b"te" in head.named and head.minor and names_trailers(value)
        for name, value in head.specials
    )
    wanted = {b"upgrade"} if head.upgrade else set()
    assert then.named == (wanted | {b"te"} if takes_trailers else wanted), said
    assert then.upgrade == head.upgrade, said
    assert [value for name, value in then.specials if name == b"te"] == (
        [b"trailers"] if takes_trailers else []
    ), said
    assert [value for name, value in then.specials if name == b"expect"] == (
        [b"100-continue"] if head.expects else []
    ), said
    own = received_by(VIA, head.minor)
    assert [value for name, value in then.specials if name == b"via"][-1] == own, said
    ours = {name: value for name, value in then.specials if name.startswith(b"x-forwarded-")}
    if trusted:
        assert ours[b"x-forwarded-for"].endswith(b"192.0.2.1"), said
    else:
        assert ours == {
            b"x-forwarded-for": b"192.0.2.1",
            b"x-forwarded-proto": b"http",
            b"x-forwarded-host": then.host,
        }, said


def check_response(data: bytes, method: bytes = b"GET", seed: int = 0) -> None:
    """
    Check a response, likewise.
    """
    whole = Response([data], method)
    pieces = Response(cut(data, seed), method)
    assert pieces.message == whole.message, (pieces.message, whole.message)
    assert (pieces.fault is None) == (whole.fault is None), (pieces.fault, whole.fault)
    Response(cut(data, seed), method, SMALL)
    message = whole.message
    for interim in message.interims:
        assert 100 <= interim.status < 200, interim
    if message.end < 0:
        return
    for minor in (0, 1):
        _check_forwarded_response(message, method, minor)


def _check_forwarded_response(message: Message, method: bytes, minor: int) -> None:
    head = message.head
    assert isinstance(head, ResponseHead)
    until_close = head.length < 0 and not minor
    keep_alive = not until_close
    said = response(head, minor=minor, keep_alive=keep_alive, via=VIA, date=DATE)
    said += message.body if until_close else _body(head.length, message)
    again = Response([said], method)
    assert again.fault is None, (said, again.fault)
    assert again.message.end == len(said), (said, again.message)
    then = again.message.head
    assert isinstance(then, ResponseHead)
    assert (then.status, then.reason) == (head.status, head.reason), said
    assert then.keep_alive == keep_alive, said
    assert then.lines == _kept(head), said
    if until_close:
        assert then.length == UNTIL_CLOSE, said
    else:
        assert then.length == (CHUNKED if head.length < 0 else head.length), said
        assert (again.message.trailers or []) == (message.trailers or []), said
    assert again.message.body == message.body, said


def _body(length: int, message: Message) -> bytes:
    if length >= 0:
        return message.body
    return (chunk(message.body) if message.body else b"") + last_chunk(message.trailers or [])


def _kept(head: RequestHead | ResponseHead) -> list[bytes]:
    """
    The ordinary field lines that C{Connection} does not name.
    """
    return [line for line in head.lines if line.partition(b":")[0].lower() not in head.named]


def check_registration(body: bytes, caller: str | None) -> None:
    """
    Check the document of a registration: nothing but L{Problem} is raised; the document of
    a server that was registered so, registered again, changes nothing.
    """
    problem = None
    try:
        asked = read_registration(body, caller)
    except Problem as refused:
        problem = refused
    if problem is not None:
        document = msgspec.json.decode(problem.document())
        assert document["status"] == 400, document
        assert len(document["detail"]) < 500, document
        return
    pool = Pool()
    register = Register(asked.ip, asked.port, asked.check, asked.weight, 0.0, asked.options)
    pool, outcome = apply(pool, register)
    assert isinstance(outcome, Registered), outcome
    shown = msgspec.to_builtins(server_document(outcome.server, None))
    names = ("ip", "port", "check", "weight", *ServerOptions.__struct_fields__)
    again = {name: shown[name] for name in names if shown[name] is not None}
    assert read_registration(msgspec.json.encode(again), None) == asked, (shown, asked)
