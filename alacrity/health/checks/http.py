"""
The check of type C{http}: it passes if the server answers C{GET} with the right status.

The answer is read by the parser that reads the answers to clients' requests, with the same
limits. So a server whose answers clients would not get does not pass.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Final, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IReactorTime,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from alacrity.health.checks.verdict import (
    EndpointFactory,
    Verdict,
    no_answer,
    port_of,
    unconnected_verdict,
)
from alacrity.http1.errors import ProtocolError
from alacrity.http1.messages import MessageLimits, ResponseHead
from alacrity.http1.parser import ResponseParser
from alacrity.net.deadline import Deadline
from alacrity.pool import HttpCheck, Server

BODY_BYTES: Final = 65536
"""The bytes of a body that are read and discarded, before the connection is dropped."""

_STOPPING: Final = 410
"""The status by which a server says that it wants no new requests, as to HAProxy's
C{disable-on-404} and Envoy's drain."""

HttpCheckFunction: TypeAlias = Callable[[Server, HttpCheck, float], Deferred[Verdict]]
"""Runs a check of a server, with a time limit in seconds."""


def http_check(
    connect: EndpointFactory, clock: IReactorTime, limits: MessageLimits
) -> HttpCheckFunction:
    """
    Build the check that passes if the server answers C{GET} with the right status.

    The check fails if the whole response does not arrive in time; of a body longer than
    L{BODY_BYTES}, only this part must arrive.

    @param limits: of responses, as for those to clients' requests.
    """

    # Callbacks instead of a coroutine, because this runs thousands of times a second.
    def run(server: Server, check: HttpCheck, timeout: float) -> Deferred[Verdict]:
        def failed(failure: Failure) -> Verdict:
            assert failure.value is not None
            return unconnected_verdict(failure.value, timeout)

        # The time limit of the exchange ends an attempt to connect before the endpoint's does.
        endpoint = connect(server.ip, port_of(server, check), 2 * timeout)
        exchange = _Exchange(server, check, timeout, limits)
        return exchange.begin(endpoint, clock).addErrback(failed)

    return run


def request_of(server: Server, check: HttpCheck) -> bytes:
    """
    The request that a check sends.
    """
    host = check.host
    if host is None:
        port = port_of(server, check)
        host = f"[{server.ip}]" if ":" in server.ip else server.ip
        if port != 80:
            host = f"{host}:{port}"
    return (
        f"GET {check.path} HTTP/1.1\r\nHost: {host}\r\n"
        "User-Agent: alacrity-health\r\nConnection: close\r\n\r\n"
    ).encode("ascii")


def verdict_on(status: int, check: HttpCheck) -> Verdict:
    """
    The verdict on a server that has answered with a status.
    """
    low, high = check.status
    if low <= status <= high:
        return Verdict(passed=True, reason=f"status {status}")
    if status == _STOPPING:
        reason = f"status {status}: it takes no new requests"
        return Verdict(passed=False, reason=reason, answered=True, stopping=True)
    wanted = f"{low}" if low == high else f"{low}-{high}"
    reason = f"status {status}, expected {wanted}"
    return Verdict(passed=False, reason=reason, answered=True)


class _Phase(Enum):
    """
    The phases of an L{_Exchange}.
    """

    CONNECTING = "connecting"

    UNUSABLE = "unusable"
    """The server ended the connection, or spoke, before the request was sent."""

    SENT = "sent"
    """The request is sent, and the final head has not come."""

    READING = "reading"
    """The final head has come, and the body has not come to its end."""

    ANSWERED = "answered"
    """Enough of the response has come."""

    ENDED = "ended"
    """The verdict is given, or nobody waits for it any more."""


_AWAITING: Final = (_Phase.SENT, _Phase.READING)


class _Single(Factory):
    """
    The factory of one connection, whose protocol is there already.
    """

    noisy = False

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange

    def buildProtocol(self, addr: IAddress | None) -> _Exchange:
        return self._exchange


class _Exchange(Protocol):
    """
    One check: its connection to the server, and the receiver of the response.

    The connection ends with a reset, once the verdict is known. A normal close could keep the
    address pair in TIME_WAIT for a minute, see L{alacrity.health.checks.tcp}. The server has
    sent by then what is wanted of it, and was told that the connection ends.
    """

    transport: ITCPTransport | None = None
    _connecting: Deferred[Any] | None = None
    _outcome: Deferred[Verdict] | None = None

    def __init__(
        self, server: Server, check: HttpCheck, timeout: float, limits: MessageLimits
    ) -> None:
        """
        @param timeout: the time limit of all, in seconds.
        """
        self._server = server
        self._check = check
        self._timeout = timeout
        self._parser = ResponseParser(limits)
        self._phase = _Phase.CONNECTING
        self._status = 0
        self._left = BODY_BYTES

    def __repr__(self) -> str:
        return f"<_Exchange {self._phase.value}: {self._server.id}>"

    def begin(self, endpoint: IStreamClientEndpoint, clock: IReactorTime) -> Deferred[Verdict]:
        """
        Connect, and do the rest once that is done.

        @return: fails with the error of a connection that could not be made.
        """
        self._parser.answers(b"GET", self)
        outcome: Deferred[Verdict] = Deferred(self._cancel)
        self._outcome = outcome
        self._limit = Deadline(clock, self._timeout, self._expire)
        self._connecting = connecting = endpoint.connect(_Single(self))
        connecting.addCallback(self._connected).addErrback(self._failed)
        return outcome

    def _connected(self, protocol: object) -> None:
        self._connecting = None
        if self._phase is _Phase.UNUSABLE:
            self._fail("the server ended the connection, or spoke, as it accepted it")
        elif self._phase is _Phase.CONNECTING:
            self._phase = _Phase.SENT
            assert self.transport is not None
            self.transport.write(request_of(self._server, self._check))

    def _failed(self, failure: Failure) -> None:
        self._connecting = None
        outcome = self._end()
        if outcome is not None:
            outcome.errback(failure)

    def _cancel(self, outcome: object) -> None:
        self._end()

    def _expire(self) -> None:
        self._fail(no_answer(self._timeout))

    # From the connection

    def dataReceived(self, data: bytes) -> None:
        """
        Read what has come: the head, and the body to its end, or as far as the parser goes in
        one turn of the loop. That is enough of a body, so nothing waits for another turn.
        """
        if self._phase is _Phase.CONNECTING:
            self._phase = _Phase.UNUSABLE
        elif self._is_awaiting():
            try:
                end = self._parser.feed(data)
                while self._awaits_head() and end < len(data):
                    # Behind long interim responses, of which there are few.
                    end = self._parser.feed(data, end)
            except ProtocolError as error:
                self._fail(f"bad response: {error}")
                return
            if self._phase is _Phase.ANSWERED or end < len(data):
                self._judge()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Take the end of the connection for that of the response, if it may be.
        """
        if self._phase is _Phase.CONNECTING:
            self._phase = _Phase.UNUSABLE
        elif self._is_awaiting():
            if not reason.check(ConnectionDone):
                self._fail("connection broken off")
                return
            try:
                self._parser.ended()
            except ProtocolError:
                self._fail("closed without a complete answer")
            else:
                self._judge()

    def _awaits_head(self) -> bool:
        return self._phase is _Phase.SENT

    def _is_awaiting(self) -> bool:
        return self._phase in _AWAITING

    # From the parser

    def informationReceived(self, head: ResponseHead) -> None:
        """An interim response says nothing of the server's health."""

    def switchReceived(self, head: ResponseHead) -> None:
        """
        The server switches to another protocol.

        @raise ProtocolError: always, as it was not asked to.
        """
        raise ProtocolError("there is an upgrade that nobody asked for")

    def responseReceived(self, head: ResponseHead) -> None:
        """Note the status."""
        self._status = head.status
        self._phase = _Phase.ANSWERED if head.length == 0 else _Phase.READING

    def responseBodyReceived(self, data: bytes) -> None:
        """Discard a piece of the body."""
        self._left -= len(data)
        if self._left < 0:
            self._phase = _Phase.ANSWERED

    def responseFinished(self, trailers: list[bytes]) -> None:
        """The response is complete."""
        self._phase = _Phase.ANSWERED

    # The end

    def _judge(self) -> None:
        self._give(verdict_on(self._status, self._check))

    def _fail(self, reason: str) -> None:
        self._give(Verdict(passed=False, reason=reason))

    def _give(self, verdict: Verdict) -> None:
        outcome = self._end()
        if outcome is not None:
            outcome.callback(verdict)

    def _end(self) -> Deferred[Verdict] | None:
        """
        Drop the connection, or make none.

        @return: fires with the verdict; L{None}: it did, or nobody waits for it.
        """
        outcome, self._outcome = self._outcome, None
        if outcome is not None:
            self._phase = _Phase.ENDED
            self._limit.cancel()
            # They refer to this object: leave no cycles behind.
            del self._parser, self._limit
            connecting, self._connecting = self._connecting, None
            if connecting is not None:
                connecting.cancel()
            if self.transport is not None:
                self.transport.abortConnection()
        return outcome
