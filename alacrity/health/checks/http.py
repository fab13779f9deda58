"""
The check of type C{http}: it passes if the server answers C{GET} with the right status.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

from hyperlink import EncodedURL
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionClosed, ConnectionDone
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from alacrity.health.checks.verdict import Verdict, no_answer, port_of, unconnected_verdict
from alacrity.net.deadline import Deadline
from alacrity.pool import HttpCheck, Server

BODY_BYTES: Final = 65536
"""The bytes of a body that are read and discarded, before the connection is closed."""

_STOPPING: Final = 410
"""The status by which a server says that it wants no new requests, as to HAProxy's
C{disable-on-404} and Envoy's drain."""

HttpCheckFunction: TypeAlias = Callable[[Server, HttpCheck, float], Deferred[Verdict]]
"""Runs a check of a server, with a time limit in seconds."""


class HttpClient(Protocol):
    """
    The part of treq that the check uses.
    """

    def get(self, url: EncodedURL, **kwargs: Any) -> Deferred[Any]:
        """See C{treq.get}."""


def http_check(client: HttpClient, clock: IReactorTime) -> HttpCheckFunction:
    """
    Build the check that passes if the server answers C{GET} with the right status.

    The check fails if the whole response does not arrive in time; of a body longer than
    L{BODY_BYTES}, only this part must arrive.

    @param client: L{alacrity.health.checks.http_client.http_client}, or treq, or an object
        with the same interface.
    """

    async def check_in_time(server: Server, check: HttpCheck, timeout: float) -> Verdict:
        late = False

        def give_up() -> None:
            nonlocal late
            late = True
            getting.cancel()

        getting = Deferred.fromCoroutine(_get(client, clock, server, check))
        limit = Deadline(clock, timeout, give_up)
        try:
            return await getting
        except Exception as error:
            # A cancelled request may fail with different errors, depending on its progress.
            if late:
                return Verdict(passed=False, reason=no_answer(timeout))
            if isinstance(error, ResponseFailed):
                return Verdict(passed=False, reason=_broken_response(error))
            return unconnected_verdict(error, timeout)
        finally:
            limit.cancel()

    def check(server: Server, check: HttpCheck, timeout: float) -> Deferred[Verdict]:
        return Deferred.fromCoroutine(check_in_time(server, check, timeout))

    return check


async def _get(
    client: HttpClient, clock: IReactorTime, server: Server, check: HttpCheck
) -> Verdict:
    """
    Send the request, and evaluate the answer.
    """
    port = port_of(server, check)
    host = f"[{server.ip}]" if ":" in server.ip else server.ip
    authority = host if port == 80 else f"{host}:{port}"
    response = await client.get(
        _VerbatimUrl.from_text(f"http://{host}:{port}{check.path}"),
        headers=Headers(
            {
                "Host": [authority if check.host is None else check.host],
                "User-Agent": ["alacrity-health"],
            }
        ),
        allow_redirects=False,
        unbuffered=True,
        # Without this argument, treq would import the global reactor.
        reactor=clock,
    )
    await _BodySink.drain(response)
    low, high = check.status
    if low <= response.code <= high:
        return Verdict(passed=True, reason=f"status {response.code}")
    if response.code == _STOPPING:
        reason = f"status {response.code}: it takes no new requests"
        return Verdict(passed=False, reason=reason, answered=True, stopping=True)
    wanted = f"{low}" if low == high else f"{low}-{high}"
    reason = f"status {response.code}, expected {wanted}"
    return Verdict(passed=False, reason=reason, answered=True)


class _VerbatimUrl(EncodedURL):
    """
    A URL that treq does not convert. treq converts any other URL to a URI first, which takes
    time, and fails if the host is an IPv6 address.
    """

    def to_uri(self) -> EncodedURL:
        return self


def _broken_response(error: ResponseFailed) -> str:
    """
    The fault of a response that is incomplete, or is not HTTP.
    """
    match error.reasons[0].value:
        case ResponseFailed() as cause:
            return _broken_response(cause)
        case ConnectionDone():
            return "closed without a complete answer"
        case ConnectionClosed():
            return "connection broken off"
        case _:
            return "not HTTP"


class _BodySink(TwistedProtocol):
    """
    Receives a body, and discards it.
    """

    def __init__(self) -> None:
        self._left = BODY_BYTES
        self.finished: Deferred[None] = Deferred(lambda _: self._close())

    @classmethod
    def drain(cls, response: IResponse) -> Deferred[None]:
        """
        Wait for the end of a body, or for L{BODY_BYTES} of it.
        """
        sink = cls()
        response.deliverBody(sink)
        return sink.finished

    def _close(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0 and not self.finished.called:
            self._close()
            self.finished.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.finished.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.finished.callback(None)
        elif reason.check(ResponseFailed):
            self.finished.errback(reason)
        else:
            self.finished.errback(ResponseFailed([reason]))
