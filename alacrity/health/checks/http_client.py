"""
An HTTP client for checks. A misbehaving server cannot make it keep or decode data.
"""

from __future__ import annotations

from typing import Any, Final

from hyperlink import EncodedURL
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.client import URI, Agent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from alacrity.health.checks.http import HttpClient
from alacrity.health.checks.verdict import EndpointFactory

ANSWER_BYTES: Final = 524288
"""The most bytes that are read on one connection, as a protection against endless heads."""


def http_client(connect: EndpointFactory, clock: IReactorTime) -> HttpClient:
    """
    Build a treq client that reads at most L{ANSWER_BYTES} of an answer, decodes nothing, and
    keeps neither connections nor cookies.
    """
    return _CookielessClient(
        _UndecodingAgent(Agent.usingEndpointFactory(clock, _AgentEndpoints(connect)))
    )


class _CookielessClient:
    """
    A client that begins each request with an empty cookie jar. One treq client for all requests
    would keep the servers' cookies.
    """

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def get(self, url: EncodedURL, **kwargs: Any) -> Deferred[Any]:
        """
        See L{HttpClient}.
        """
        return HTTPClient(self._agent).get(url, **kwargs)


@implementer(IAgent)
class _UndecodingAgent:
    """
    An agent that neither asks for compressed bodies nor decompresses them: bodies are discarded,
    and a small malicious body could become very large.
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
class _AgentEndpoints:
    """
    The endpoints of an L{Agent}.
    """

    def __init__(self, connect: EndpointFactory) -> None:
        self._connect = connect

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """
        See L{IAgentEndpointFactory}.
        """
        # This timeout never ends an attempt: the check's own time limit is shorter.
        return _BoundedEndpoint(self._connect(uri.host.decode("ascii"), uri.port, 3600.0))


@implementer(IStreamClientEndpoint)
class _BoundedEndpoint:
    """
    An endpoint whose connections are L{_BoundedReader}s.
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
        factory.protocol = _BoundedReader
        factory.noisy = False
        connected: Deferred[IProtocol] = self._endpoint.connect(factory)
        return connected.addCallback(unwrap)


class _BoundedReader(ProtocolWrapper):
    """
    A connection that is dropped after L{ANSWER_BYTES} were received.
    """

    transport: ITCPTransport
    _left = ANSWER_BYTES

    def dataReceived(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self.transport.abortConnection()
        else:
            super().dataReceived(data)  # type: ignore[no-untyped-call]
