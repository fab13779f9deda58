"""
The listening side of a node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import DeferredList, maybeDeferred
from twisted.internet.interfaces import IAddress, IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory

from alacrity.cluster.wire.link import Link


class LinkFactory(Factory):
    """
    A factory of links, which takes them from a function.
    """

    noisy = False

    def __init__(self, build: Callable[[], Link]) -> None:
        self._build = build

    def buildProtocol(self, addr: IAddress | None) -> Link:
        return self._build()


class LinkListener:
    """
    Ports on which the other nodes connect.

    @ivar ports: the present ones.
    """

    def __init__(
        self, endpoints: Sequence[IStreamServerEndpoint], build: Callable[[], Link]
    ) -> None:
        """
        @param build: makes the link of a connection that comes in.
        """
        self.ports: list[IListeningPort] = []
        self._endpoints = endpoints
        self._build = build

    async def start(self) -> None:
        """
        Listen on all endpoints.

        @raise CannotListenError: one of them cannot be; those before it listen.
        """
        factory = LinkFactory(self._build)
        for endpoint in self._endpoints:
            self.ports.append(await endpoint.listen(factory))

    async def stop(self) -> None:
        """
        Listen no more.
        """
        ports, self.ports = self.ports, []
        await DeferredList([maybeDeferred(port.stopListening) for port in ports])
