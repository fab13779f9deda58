"""
The listener of a node, for connections of other nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import DeferredList, maybeDeferred
from twisted.internet.interfaces import IAddress, IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory

from alacrity.cluster.wire.link import Link


class LinkFactory(Factory):
    """
    A factory of links, which calls a function for each, with the host at the other end.
    """

    noisy = False

    def __init__(self, build: Callable[[str], Link]) -> None:
        self._build = build

    def buildProtocol(self, addr: IAddress | None) -> Link:
        return self._build(str(getattr(addr, "host", "?")))


class LinkListener:
    """
    Listens for connections of other nodes.

    @ivar ports: the ports on which it listens at present.
    """

    def __init__(
        self, endpoints: Sequence[IStreamServerEndpoint], build: Callable[[str], Link]
    ) -> None:
        """
        @param build: makes the link of an incoming connection, from a host.
        """
        self.ports: list[IListeningPort] = []
        self._endpoints = endpoints
        self._build = build

    async def start(self) -> None:
        """
        Listen on all endpoints.

        @raise CannotListenError: one of the endpoints cannot listen; the ones before it do.
        """
        factory = LinkFactory(self._build)
        for endpoint in self._endpoints:
            self.ports.append(await endpoint.listen(factory))

    async def stop(self) -> None:
        """
        Stop listening.
        """
        ports, self.ports = self.ports, []
        await DeferredList([maybeDeferred(port.stopListening) for port in ports])
