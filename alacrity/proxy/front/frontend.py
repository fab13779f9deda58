"""
What all client connections share.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING, Literal, TypeAlias

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from alacrity.http1.parser import MessageLimits
from alacrity.metrics.counters import Stats
from alacrity.net.turns import Turns
from alacrity.proxy.deadlines import Deadlines
from alacrity.proxy.exchange.exchange import Exchange
from alacrity.proxy.front.addresses import Addresses, network
from alacrity.proxy.front.connection import ClientConnection
from alacrity.proxy.upstream.balancer import Balancer, Upstream
from alacrity.proxy.upstream.connection import ServerConnection

if TYPE_CHECKING:
    from alacrity.config import LimitSettings, TimeoutSettings

Recorder: TypeAlias = Callable[[ClientConnection, Exchange | None, int], None]


class Frontend(Factory):
    """
    Builds the client connections, and has what they need.

    @ivar via: what the proxy says of itself in C{Via}.
    @ivar pseudonym: its name there.
    @ivar connect: opens a connection to a server.
    @ivar turns: the queue of connections that wait to go on with what they have.
    @ivar reuse: which of its requests may go over server connections that other clients
        have used; see L{alacrity.config.ProxySettings}.
    @ivar record: is told of each request that has ended: the client, its exchange
        (L{None}: it did not come to one), the status of the response (0: there was
        none); L{None}: nobody is told.
    @ivar monotonic: seconds since whenever, for how long an exchange takes.
    """

    noisy = False
    log = Logger()

    def __init__(
        self,
        *,
        balancer: Balancer,
        connect: Callable[[Upstream], Deferred[ServerConnection]],
        deadlines: Deadlines,
        turns: Turns,
        limits: LimitSettings,
        stats: Stats,
        timeouts: TimeoutSettings,
        reuse: Literal["always", "safe", "never"] = "always",
        refused: int = 64,
        pseudonym: str = "alacrity",
        trusted: Collection[IPv4Network | IPv6Network] = (),
        record: Recorder | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        @param refused: connections beyond C{limits.client_connections} that are told so;
            more are closed without a word.
        @param pseudonym: the proxy's name in C{Via}.
        @param trusted: the networks of proxies whose forwarding fields are kept.
        """
        self.balancer = balancer
        self.connect = connect
        self.deadlines = deadlines
        self.limits = limits
        self._most = limits.client_connections + refused
        self.message_limits = MessageLimits(
            request_line=limits.request_line,
            header_bytes=limits.header_bytes,
            header_count=limits.header_count,
        )
        self.stats = stats
        self.timeouts = timeouts
        self.turns = turns
        self.reuse = reuse
        self.pseudonym = pseudonym.encode("ascii")
        self.via = b"1.1 " + self.pseudonym
        self._trusted = tuple(trusted)
        self.record = record
        self.monotonic = monotonic
        self._addresses = Addresses()
        self._connections: set[ClientConnection] = set()
        self._drained: Deferred[None] | None = None

    def buildProtocol(self, addr: object) -> ClientConnection | None:
        if len(self._connections) >= self._most:
            return None
        return ClientConnection(self)

    def admit(self, connection: ClientConnection) -> bool:
        """
        A client has connected.

        @return: whether it is served; else it is one too many.
        """
        self._connections.add(connection)
        self.deadlines.add(connection)
        limits = self.limits
        few = len(self._connections) <= limits.client_connections
        if limits.connections_per_address and connection.forwarder.client:
            peer = connection.transport.getPeer()
            if not self.trusts(peer):
                connection.network = network(peer.host)
                few &= self._addresses.enter(connection.network) <= limits.connections_per_address
        return few

    def leave(self, connection: ClientConnection) -> None:
        """
        A client's connection is lost.
        """
        self._connections.discard(connection)
        self.deadlines.discard(connection)
        if connection.network is not None:
            self._addresses.leave(connection.network)
        if self._drained is not None and not self._connections:
            drained, self._drained = self._drained, None
            drained.callback(None)

    def drain(self) -> Deferred[None]:
        """
        Close all connections, each as soon as no request is under way on it.

        @return: fires when none is left. Cancelled, it cuts those that are.
        """
        if not self._connections:
            return succeed(None)
        drained: Deferred[None] = Deferred(lambda _: self._cut())
        self._drained = drained
        for connection in tuple(self._connections):
            connection.drain()
        return drained

    def _cut(self) -> None:
        self._drained = None
        for connection in tuple(self._connections):
            connection.cut()

    def explain(
        self, client: ClientConnection, exchange: Exchange | None, status: int, reason: str
    ) -> None:
        """
        Log why a client got an answer of ours, or a response was broken off.

        @param status: of that response; 0: none had begun.
        """
        upstream = None if exchange is None else exchange.upstream
        self.log.debug(
            "{client}: {status}: {reason} (server: {server})",
            client=client.forwarder.client.decode("ascii") or "-",
            status=status,
            reason=reason,
            server="-" if upstream is None else upstream.server.id,
        )

    def trusts(self, peer: IAddress) -> bool:
        """
        Whether a client's forwarding fields are kept.
        """
        if not self._trusted:
            return False
        host = getattr(peer, "host", None)
        if host is None:
            return False
        address = ip_address(host)
        return any(address in network for network in self._trusted)
