"""
A proxy on a fake network, for the tests of the data path: no sockets, no time but
the one that a test lets pass.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any, Literal

import msgspec
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
)
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from alacrity.config import EjectionSettings, LimitSettings, RetrySettings, TimeoutSettings
from alacrity.config.balance import QueueSettings, StickySettings
from alacrity.http1.parser import MessageLimits
from alacrity.metrics.counters import Stats
from alacrity.net.addresses import TrustedPeers
from alacrity.net.turns import Turns
from alacrity.pool import Change, Server, ServerOptions, State, TcpCheck
from alacrity.pool.model import AS_REGISTERED, NO_OPTIONS, Administration
from alacrity.proxy.deadlines import Deadlines
from alacrity.proxy.events import AttemptEnded, Listeners, RequestEnded
from alacrity.proxy.exchange.context import ExchangeContext
from alacrity.proxy.front.admission import Admission
from alacrity.proxy.front.frontend import Frontend
from alacrity.proxy.upstream.attempt import Connect
from alacrity.proxy.upstream.balancer import Balancer, registered_cap
from alacrity.proxy.upstream.connection import ConnectionSettings, ServerConnection
from alacrity.proxy.upstream.failing.budget import RetryBudget
from alacrity.proxy.upstream.failing.watch import FailureWatch
from alacrity.proxy.upstream.queue import WaitingQueue
from alacrity.proxy.upstream.retry import RetryRules
from alacrity.proxy.upstream.server import UpstreamServer
from alacrity.proxy.upstream.slots import Slots
from alacrity.proxy.upstream.sticky import StickySessions


def server(
    port: int = 1,
    *,
    state: State = State.UP,
    weight: int = 1,
    options: ServerOptions = NO_OPTIONS,
    administration: Administration = AS_REGISTERED,
) -> Server:
    """
    A server of the pool.
    """
    return Server(
        ip="10.0.0.7",
        port=port,
        check=TcpCheck(),
        weight=weight,
        state=state,
        reason="",
        since=0.0,
        registered=0.0,
        revision=1,
        options=options,
        administration=administration,
    )


class Wire:
    """
    The transport of one connection of the proxy; a test is its other end.

    @ivar sent: what the proxy has written.
    @ivar reading: whether the proxy reads.
    @ivar closing: whether the proxy has closed it, or half of it.
    @ivar aborted: whether the proxy has dropped it.
    @ivar fills: whether what is written next does not go out.
    @ivar lingering: whether what was written is stuck, so that closing takes for ever.
    @ivar unacknowledged: bytes on their way to the other end; L{None}: it cannot be told.
    """

    def __init__(self, peer: str, port: int) -> None:
        self._peer = IPv4Address("TCP", peer, port)
        self.sent = b""
        self.reading = True
        self.closing = False
        self.aborted = False
        self.lingering = False
        self.disconnecting = False
        self.fills = False
        self.unacknowledged: int | None = None
        self.lost = False
        self.protocol: Any = None
        self.producer: Any = None

    # For the test

    def connect(self, protocol: Any) -> Wire:
        """Begin."""
        self.protocol = protocol
        protocol.makeConnection(self)
        return self

    def receive(self, data: bytes) -> None:
        """Bytes come from the other end."""
        assert self.reading, "the proxy does not read"
        assert not self.lost, "the connection is lost"
        self.protocol.dataReceived(data)

    def end(self) -> None:
        """The other end sends no more."""
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.readConnectionLost()
        else:
            self.lose(ConnectionDone())

    def lose(self, reason: Exception | None = None) -> None:
        """The connection is lost."""
        if not self.lost:
            self.lost = True
            self.protocol.connectionLost(Failure(reason or ConnectionLost()))

    def take(self) -> bytes:
        """The bytes that were written since the last call."""
        sent, self.sent = self.sent, b""
        return sent

    # ITransport and IConsumer

    def write(self, data: bytes) -> None:
        if not self.closing and not self.lost:
            self.sent += data
            if self.fills:
                self.fills = False
                self.producer.pauseProducing()

    def unsent(self) -> int | None:
        return self.unacknowledged

    def loseConnection(self) -> None:
        assert self.producer is None, "a producer is registered still"
        self.closing = True
        if not self.lingering:
            self.lose(ConnectionDone())

    def loseWriteConnection(self) -> None:
        self.closing = True

    def abortConnection(self) -> None:
        self.closing = self.aborted = True
        self.lose(ConnectionAborted())

    def getPeer(self) -> IPv4Address:
        return self._peer

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.1", 8080)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        assert self.producer is None
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True


class Proxy:
    """
    A proxy, and the servers it connects to.

    @ivar connecting: the connections that it waits for, as upstream and Deferred,
        where C{automatic} is false.
    @ivar servers: the connections to servers, in the order that they were made.
    @ivar recorded: the ends of requests, each with its status.
    @ivar attempts: the ends of attempts.
    """

    def __init__(
        self,
        *servers: Server,
        trusted: tuple[str, ...] = (),
        reuse: Literal["always", "safe", "never"] = "always",
        upgrades: tuple[str, ...] = ("websocket", "connect-udp", "connect-ip"),
        connector: Connect | None = None,
        listens: bool = True,
        queue: QueueSettings = QueueSettings(),
        sticky: StickySettings = StickySettings(),
        sticky_key: bytes = b"key",
        retries: RetrySettings = RetrySettings(),
        ejection: EjectionSettings = EjectionSettings(),
        **settings: Any,
    ) -> None:
        """
        @param connector: connects to servers, in the place of this one's own way.
        @param listens: whether anybody but the counters is told of ends.
        """
        limits = {k: v for k, v in settings.items() if k in LimitSettings.__struct_fields__}
        timeouts = {k: v for k, v in settings.items() if k in TimeoutSettings.__struct_fields__}
        assert len(limits) + len(timeouts) == len(settings), settings
        self.clock = Clock()
        self.limits = msgspec.structs.replace(LimitSettings(), **limits)
        self.timeouts = msgspec.structs.replace(TimeoutSettings(), **timeouts)
        self.deadlines = Deadlines(self.clock)
        self.deadlines.start()
        self._calls: list[Callable[[], None]] = []
        self.balancer = Balancer(
            cap_of=registered_cap(queue.max_requests), sessions=bool(sticky.cookie)
        )
        self.queue = WaitingQueue(
            size=queue.size,
            timeout=queue.timeout,
            soon=self._calls.append,
            monotonic=self.clock.seconds,
        )
        self.balancer.on_room(self.queue.wake)
        self.sticky_key = sticky_key
        self.sessions = (
            StickySessions(sticky, self.balancer, lambda: self.sticky_key)
            if sticky.cookie
            else None
        )
        self.stats = Stats()
        self.budget = RetryBudget(retries, lambda: self.stats.client.total, self.clock.seconds)
        self.hints: list[tuple[str, str]] = []
        self.failing = FailureWatch(
            ejection,
            self.balancer,
            self.deadlines,
            self.clock.seconds,
            look=self.budget.look,
            on_hint=lambda id, reason: self.hints.append((id, reason)),
        )
        self.automatic = True
        self.refusing: set[int] = set()
        self.connecting: list[tuple[UpstreamServer, Deferred[ServerConnection]]] = []
        self.servers: list[Wire] = []
        self.recorded: list[tuple[RequestEnded, int]] = []
        self.attempts: list[AttemptEnded] = []
        self.turns = Turns(self._calls.append)
        self.slots = Slots(1000, lambda: None)
        for each in servers or (server(),):
            self.change(None, each)
        self._connection_settings = ConnectionSettings(
            limits=MessageLimits(),
            idle_limit=self.limits.idle_per_server,
            idle_timeout=self.timeouts.server_idle,
            private=reuse == "never",
            drain=self.timeouts.drain,
            connect_timeout=self.timeouts.connect,
            response_timeout=self.timeouts.server_response,
        )
        self.listeners = Listeners(
            count_request=self.stats.client.count,
            count_attempt=self.stats.server.count,
            tunnel_opened=self.stats.tunnel_opened,
            tunnel_closed=self.stats.tunnel_closed,
            attempts=self.attempts.append if listens else None,
            requests=self._record if listens else None,
            monotonic=self.clock.seconds,
        )
        self.exchanges = ExchangeContext(
            balancer=self.balancer,
            connect=connector or self._connect,
            deadlines=self.deadlines,
            limits=self.limits,
            listeners=self.listeners,
            timeouts=self.timeouts,
            queue=self.queue,
            sessions=self.sessions,
            failing=self.failing,
            retries=RetryRules(
                retries,
                self.budget,
                connect=self.timeouts.connect,
                monotonic=self.clock.seconds,
            ),
        )
        self.frontend = Frontend(
            self.exchanges,
            Admission(
                connections=self.limits.client_connections,
                refused=64,
                per_address=self.limits.connections_per_address,
                trusted=TrustedPeers(
                    tuple(ip_network(each) for each in trusted if each != "unix"),
                    unix="unix" in trusted,
                ),
            ),
            self.turns,
            reuse=reuse,
            upgrades=upgrades,
        )

    def change(self, before: Server | None, after: Server | None) -> None:
        """
        A server of the pool changes.
        """
        change = Change(before, after)
        self.balancer.changed(change)
        self.failing.changed(change)
        if self.sessions is not None:
            self.sessions.changed(change)
        self.queue.wake()

    def _record(self, ended: RequestEnded) -> None:
        self.recorded.append((ended, ended.status))

    def turn(self) -> None:
        """
        Let the loop have turns, until nothing waits for one.
        """
        while self._calls:
            self.turn_once()

    def turn_once(self) -> None:
        """
        Let it have one, and no more than that.
        """
        calls = self._calls.copy()
        self._calls.clear()
        for call in calls:
            call()

    def _connect(self, upstream: UpstreamServer) -> Deferred[ServerConnection]:
        connected: Deferred[ServerConnection] = Deferred()
        if upstream.port in self.refusing:
            connected.errback(Failure(ConnectionRefusedError()))
        else:
            self.connecting.append((upstream, connected))
            if self.automatic:
                self.accept()
        return connected

    def accept(self) -> Wire:
        """
        A server takes the connection that has waited longest.
        """
        upstream, connected = self.connecting.pop(0)
        wire = self.made(upstream)
        connected.callback(wire.protocol)
        return wire

    def made(self, upstream: UpstreamServer) -> Wire:
        """
        A connection to a server is made, and who asked for it is yet to be told.
        """
        protocol = ServerConnection(
            upstream, self._connection_settings, self.deadlines, self.turns, self.slots.take()
        )
        wire = Wire(upstream.host, upstream.port).connect(protocol)
        self.servers.append(wire)
        return wire

    def client(self, peer: str = "203.0.113.9") -> Wire:
        """
        A client connects.
        """
        return Wire(peer, 50000).connect(self.frontend.buildProtocol(None))

    def wait(self, seconds: float) -> None:
        """
        Let time pass.
        """
        self.turn()
        self.clock.pump([0.25] * int(seconds / 0.25 + 2))

    def counted(self) -> tuple[int, int, int, int]:
        """
        The statistics: client success and failed, server success and failed.
        """
        client, server = self.stats.client, self.stats.server
        return client.success, client.failed, server.success, server.failed
