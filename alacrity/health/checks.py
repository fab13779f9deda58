"""
One check of one server, by TCP or by HTTP.

A check is a function of the server, its settings and a time limit in seconds. It
gives a L{Verdict} on the server, whatever the server does, or fails with
L{CannotCheck} where the fault is on this machine and says nothing of the server.
Cancelling the L{Deferred} ends the check and closes its connection.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

import msgspec
from hyperlink import EncodedURL
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.error import (
    ConnectError,
    ConnectionClosed,
    ConnectionDone,
    ConnectionRefusedError,
    NoRouteError,
    TimeoutError,
)
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from alacrity.net.deadline import Deadline
from alacrity.net.shortage import local_shortage
from alacrity.pool import HttpCheck, Server, TcpCheck

BODY_BYTES: Final = 65536
"""How much of a body is read, and thrown away, before the connection is dropped."""

ANSWER_BYTES: Final = 524288
"""How much is read at most in all, so that a head without an end is no harm."""


class Verdict(msgspec.Struct, frozen=True):
    """
    What a check says of a server.

    @ivar reason: why, in a few words for operators.
    """

    passed: bool
    reason: str


class CannotCheck(Exception):
    """
    This machine cannot check; nothing is known of the server.
    """


EndpointFactory: TypeAlias = Callable[[str, int, float], IStreamClientEndpoint]
"""Where to connect to: an IP address, a port, and the seconds it may take."""

TcpCheckFunction: TypeAlias = Callable[[Server, TcpCheck, float], Deferred[Verdict]]
HttpCheckFunction: TypeAlias = Callable[[Server, HttpCheck, float], Deferred[Verdict]]


class Checks(msgspec.Struct, frozen=True):
    """
    The function for each type of check.
    """

    tcp: TcpCheckFunction
    http: HttpCheckFunction

    def check(self, server: Server, timeout: float) -> Deferred[Verdict]:
        """
        Check a server in the way it asked for.

        @param timeout: in seconds.
        """
        check = server.check
        if isinstance(check, TcpCheck):
            return self.tcp(server, check, timeout)
        return self.http(server, check, timeout)


class HttpClient(Protocol):
    """
    The part of treq that is used.
    """

    def get(self, url: EncodedURL, **kwargs: Any) -> Deferred[Any]:
        """See C{treq.get}."""


def standard_checks(connect: EndpointFactory, clock: IReactorTime) -> Checks:
    """
    The checks as they are outside of tests.
    """
    return Checks(tcp=tcp_check(connect), http=http_check(http_client(connect, clock), clock))


# TCP


class _Knock(TwistedProtocol):
    """
    Leaves as soon as the door opens.

    It leaves by a reset. An orderly close would keep the address pair in
    TIME_WAIT for a minute: with 10,000 servers and an interval of 5 s, 120,000 of
    them. A reset leaves nothing behind on either side.
    """

    transport: ITCPTransport

    def connectionMade(self) -> None:
        self.transport.abortConnection()


_KNOCK: Final = Factory.forProtocol(_Knock)
_KNOCK.noisy = False
_CONNECTED: Final = Verdict(passed=True, reason="connected")


def tcp_check(connect: EndpointFactory) -> TcpCheckFunction:
    """
    The check that passes when a connection can be opened.
    """

    # Callbacks, not a coroutine: this runs thousands of times a second.
    def check(server: Server, check: TcpCheck, timeout: float) -> Deferred[Verdict]:
        def connected(protocol: IProtocol) -> Verdict:
            return _CONNECTED

        def failed(failure: Failure) -> Verdict:
            assert failure.value is not None
            return _unconnected(failure.value, timeout)

        port = server.port if check.port is None else check.port
        return connect(server.ip, port, timeout).connect(_KNOCK).addCallbacks(connected, failed)

    return check


def _unconnected(error: BaseException, timeout: float) -> Verdict:
    """
    What a failure to connect says of the server.

    @raise CannotCheck: nothing. An error that is not about connecting is raised again.
    """
    match error:
        case TimeoutError():
            reason = _no_answer(timeout)
        case ConnectionRefusedError():
            reason = "connection refused"
        case NoRouteError():
            reason = "no route to host"
        case ConnectError() | OSError():
            shortage = local_shortage(error)
            if shortage is not None:
                raise CannotCheck(os.strerror(shortage).lower()) from error
            code = error.osError if isinstance(error, ConnectError) else error.errno
            reason = os.strerror(code).lower() if isinstance(code, int) else "cannot connect"
        case _:
            raise error
    return Verdict(passed=False, reason=reason)


def _no_answer(timeout: float) -> str:
    return f"no answer in {timeout} s"


# HTTP


def http_check(client: HttpClient, clock: IReactorTime) -> HttpCheckFunction:
    """
    The check that passes when C{GET} is answered with the right status.

    The whole response counts: one that does not end in time fails, but of a body
    that is longer than L{BODY_BYTES} the rest is not waited for.

    @param client: treq, or what behaves like it. Outside of tests L{http_client},
        which is without cookies, persistent connections and decoding.
    """

    async def get(server: Server, check: HttpCheck) -> Verdict:
        port = server.port if check.port is None else check.port
        host = f"[{server.ip}]" if ":" in server.ip else server.ip
        authority = host if port == 80 else f"{host}:{port}"
        response = await client.get(
            _Exact.from_text(f"http://{host}:{port}{check.path}"),
            headers=Headers(
                {
                    "Host": [authority if check.host is None else check.host],
                    "User-Agent": ["alacrity-health"],
                }
            ),
            allow_redirects=False,
            unbuffered=True,
            # treq would import the global one, though it has no use for it here.
            reactor=clock,
        )
        await _Discard.body_of(response)
        low, high = check.status
        if low <= response.code <= high:
            return Verdict(passed=True, reason=f"status {response.code}")
        wanted = f"{low}" if low == high else f"{low}-{high}"
        return Verdict(passed=False, reason=f"status {response.code}, expected {wanted}")

    async def limited(server: Server, check: HttpCheck, timeout: float) -> Verdict:
        late = False

        def give_up() -> None:
            nonlocal late
            late = True
            getting.cancel()

        getting = Deferred.fromCoroutine(get(server, check))
        limit = Deadline(clock, timeout, give_up)
        try:
            return await getting
        except Exception as error:
            # What a cancelled request fails with depends on how far it had come.
            if late:
                return Verdict(passed=False, reason=_no_answer(timeout))
            if isinstance(error, ResponseFailed):
                return Verdict(passed=False, reason=_unanswered(error))
            return _unconnected(error, timeout)
        finally:
            limit.cancel()

    def check(server: Server, check: HttpCheck, timeout: float) -> Deferred[Verdict]:
        return Deferred.fromCoroutine(limited(server, check, timeout))

    return check


class _Exact(EncodedURL):
    """
    A URL that treq takes as it is. Of any other it makes a URI first, at some cost,
    and fails if the host is an IPv6 address.
    """

    def to_uri(self) -> EncodedURL:
        return self


def _unanswered(error: ResponseFailed) -> str:
    """
    What was wrong with a response that is none, or is not whole.
    """
    match error.reasons[0].value:
        case ResponseFailed() as cause:
            return _unanswered(cause)
        case ConnectionDone():
            return "closed without a complete answer"
        case ConnectionClosed():
            return "connection broken off"
        case _:
            return "not HTTP"


class _Discard(TwistedProtocol):
    """
    Receives a body, and keeps none of it.
    """

    def __init__(self) -> None:
        self._left = BODY_BYTES
        self.finished: Deferred[None] = Deferred(lambda _: self._close())

    @classmethod
    def body_of(cls, response: IResponse) -> Deferred[None]:
        """
        Wait for the end of a body, or for enough of it.
        """
        discard = cls()
        response.deliverBody(discard)
        return discard.finished

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


def http_client(connect: EndpointFactory, clock: IReactorTime) -> HttpClient:
    """
    A treq client for checks: it reads at most L{ANSWER_BYTES}, decodes nothing, and
    keeps neither connections nor cookies.
    """
    return _Forgetful(_Verbatim(Agent.usingEndpointFactory(clock, _Endpoints(connect))))


class _Forgetful:
    """
    Begins each request with an empty cookie jar, for treq would fill a shared one.
    """

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def get(self, url: EncodedURL, **kwargs: Any) -> Deferred[Any]:
        """
        See L{HttpClient}.
        """
        return HTTPClient(self._agent).get(url, **kwargs)


@implementer(IAgent)
class _Verbatim:
    """
    Neither asks for compressed bodies nor lets them be decompressed: bodies are
    thrown away, and a small one may be made to decompress into a large one.
    """

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """
        See L{IAgent}.
        """

        def undeclare(response: IResponse) -> IResponse:
            response.headers.removeHeader(b"content-encoding")
            return response

        headers = Headers() if headers is None else headers.copy()
        headers.removeHeader(b"accept-encoding")
        requested: Deferred[IResponse] = self._agent.request(method, uri, headers, bodyProducer)
        return requested.addCallback(undeclare)


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """
    Endpoints for an L{Agent}.
    """

    def __init__(self, connect: EndpointFactory) -> None:
        self._connect = connect

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """
        See L{IAgentEndpointFactory}.
        """
        # The check's own limit comes first.
        return _BoundedEndpoint(self._connect(uri.host.decode("ascii"), uri.port, 3600.0))


@implementer(IStreamClientEndpoint)
class _BoundedEndpoint:
    """
    Makes connections that end after L{ANSWER_BYTES} received.
    """

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        See L{IStreamClientEndpoint}.
        """

        def unwrap(wrapper: Any) -> IProtocol:
            protocol: IProtocol = wrapper.wrappedProtocol
            return protocol

        factory = WrappingFactory(protocolFactory)
        factory.protocol = _Bounded
        factory.noisy = False
        connected: Deferred[IProtocol] = self._endpoint.connect(factory)
        return connected.addCallback(unwrap)


class _Bounded(ProtocolWrapper):
    """
    Drops the connection after L{ANSWER_BYTES} received.
    """

    transport: ITCPTransport
    _left = ANSWER_BYTES

    def dataReceived(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self.transport.abortConnection()
        else:
            super().dataReceived(data)  # type: ignore[no-untyped-call]
