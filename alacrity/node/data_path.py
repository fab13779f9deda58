"""
The data path of a node, put together: from its configuration, its pool and its share of the
file descriptors.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection
from random import Random
from typing import Any

import msgspec
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.logger import Logger

from alacrity.cluster.lending import NO_SLOTS, SlotHolder
from alacrity.config import LimitSettings, Settings
from alacrity.http1.fields import find
from alacrity.http1.messages import MessageLimits
from alacrity.metrics.counters import Counter, Stats
from alacrity.net.connecting import client_endpoint
from alacrity.net.loops import uvloop_of
from alacrity.net.turns import Turns
from alacrity.node.descriptors import Budget
from alacrity.pool import Change, Server
from alacrity.proxy.deadlines import Deadlines
from alacrity.proxy.events import Listeners, RequestEnded
from alacrity.proxy.exchange.context import ExchangeContext
from alacrity.proxy.front.admission import Admission
from alacrity.proxy.front.frontend import Frontend
from alacrity.proxy.upstream.balancer import Balancer, registered_cap
from alacrity.proxy.upstream.connection import ConnectionSettings
from alacrity.proxy.upstream.connector import Connector
from alacrity.proxy.upstream.failing.budget import RetryBudget
from alacrity.proxy.upstream.failing.watch import FailureWatch
from alacrity.proxy.upstream.keys import key_reader
from alacrity.proxy.upstream.queue import WaitingQueue
from alacrity.proxy.upstream.retry import RetryRules
from alacrity.proxy.upstream.server import UpstreamServer
from alacrity.proxy.upstream.slots import Slots
from alacrity.proxy.upstream.sticky import StickySessions
from alacrity.runtime.access_log import AccessRecord, access_log

_log = Logger()


class InFlight(msgspec.Struct, frozen=True):
    """
    The numbers of attempts under way, tunnels too, with the servers of one id.

    @ivar present: with the server of the pool.
    @ivar removed: with servers that have left the pool.
    """

    present: int
    removed: int


class DataPath:
    """
    The parts of the data path that the rest of a node knows.

    @ivar balancer: chooses servers. To be stopped.
    @ivar failing: puts servers aside; its hints are for the leader.
    @ivar slots: this node's slots of servers, where caps hold for the cluster.
    @ivar queue: has the requests that wait while all servers are full.
    @ivar deadlines: to be started and stopped.
    @ivar stats: the node's counters.
    """

    def __init__(self, reactor: Any, settings: Settings, sticky_key: Callable[[], bytes]) -> None:
        """
        @param sticky_key: gives the key of sticky cookies; empty: there is none yet.
        """
        self._reactor = reactor
        self._settings = settings
        loop = uvloop_of(reactor)
        soon: Callable[[Callable[[], None]], object] = (
            (lambda call: reactor.callLater(0, call)) if loop is None else loop.call_soon
        )
        self._turns = Turns(soon)
        queue, sticky = settings.queue, settings.sticky
        self._cap_of = registered_cap(queue.max_requests)
        self.slots = SlotHolder(secrets.token_hex(8), reactor.seconds())
        self.balancer = Balancer(
            settings.balance,
            cap_of=self.cap if queue.max_requests_scope == "node" else self._lent_cap,
            fail_open=settings.health.fail_open,
            sessions=bool(sticky.cookie),
            clock=reactor,
            # Nodes and workers do not all begin with the same server.
            rng=Random(),
        )
        self.queue = WaitingQueue(
            size=queue.size, timeout=queue.timeout, soon=soon, monotonic=time.monotonic
        )
        self.balancer.on_room(self.queue.wake)
        self._sessions = (
            StickySessions(sticky, self.balancer, sticky_key) if sticky.cookie else None
        )
        self.deadlines = Deadlines(reactor)
        self.stats = Stats()
        monotonic = reactor.seconds
        budget = RetryBudget(settings.retries, lambda: self.stats.client.total, monotonic)
        self._retries = RetryRules(
            settings.retries, budget, connect=settings.timeouts.connect, monotonic=monotonic
        )
        self.failing = FailureWatch(
            settings.ejection, self.balancer, self.deadlines, monotonic, look=budget.look
        )

    def cap(self, server: Server) -> int:
        """
        The cap of a server; 0: it has none.
        """
        return self._cap_of(server)

    def _lent_cap(self, server: Server) -> int:
        """This node's part of a server's cap; 0: it has none; -1: no request."""
        return self.cap(server) and (self.slots.limits.get(server.id) or NO_SLOTS)

    def lent_upstreams(self) -> Collection[UpstreamServer]:
        """
        The servers whose slots this node has to borrow, as far as they have a cap.
        """
        lends = self._settings.queue.max_requests_scope == "cluster"
        return self.balancer.upstreams() if lends else ()

    def changed(self, change: Change) -> None:
        """
        A server of the pool has changed. To be subscribed to the pool's view.
        """
        self.balancer.changed(change)
        self.failing.changed(change)
        if self._sessions is not None:
            self._sessions.changed(change)
        # The last server that those which wait could go to may be gone.
        self.queue.wake()

    def serve(self, serving: bool) -> None:
        """
        Deal requests out, or none at all.
        """
        self.balancer.serve(serving)
        self.queue.wake()

    def frontend(self, budget: Budget) -> Frontend:
        """
        Build the factory of client connections, and all that it needs.

        @param budget: the connections that the file descriptors suffice for.
        """
        settings = self._settings
        limits = msgspec.structs.replace(settings.limits, client_connections=budget.clients)
        proxy, timeouts = settings.proxy, settings.timeouts
        connector = Connector(
            self._endpoint(timeouts.connect),
            Slots(budget.servers, self.balancer.close_idle),
            ConnectionSettings(
                limits=response_limits(limits),
                idle_limit=limits.idle_per_server,
                idle_timeout=timeouts.server_idle,
                private=proxy.reuse == "never",
                drain=timeouts.drain,
                connect_timeout=timeouts.connect,
                response_timeout=timeouts.server_response,
            ),
            self.deadlines,
            self._turns,
        )
        exchanges = ExchangeContext(
            balancer=self.balancer,
            connect=connector.connect,
            deadlines=self.deadlines,
            limits=limits,
            listeners=node_listeners(self.stats, access_log(settings.log)),
            timeouts=timeouts,
            failing=self.failing,
            retries=self._retries,
            key_of=(
                key_reader(settings.balance.key, proxy.trusted_peers)
                if settings.balance.method == "hash"
                else None
            ),
            queue=self.queue,
            sessions=self._sessions,
        )
        admission = Admission(
            connections=budget.clients,
            refused=budget.refused,
            per_address=limits.connections_per_address,
            trusted=proxy.trusted_peers,
        )
        return Frontend(
            exchanges,
            admission,
            self._turns,
            pseudonym=proxy.via,
            reuse=proxy.reuse,
            upgrades=proxy.upgrades,
        )

    def _endpoint(self, timeout: float) -> Callable[[str, int], IStreamClientEndpoint]:
        return lambda host, port: client_endpoint(self._reactor, host, port, timeout)

    def counter(self, id: str) -> Counter | None:
        """
        The attempts with a server of the pool; L{None}: there is none of that id.
        """
        upstream = self.balancer.upstream(id)
        return None if upstream is None else upstream.counter

    def draining(self) -> list[Server]:
        """
        The servers that have left the pool and still serve requests.
        """
        return [upstream.pooled for upstream in self.balancer.draining()]

    def in_flight(self, id: str) -> InFlight:
        """
        Count the attempts under way with the servers of an id.
        """
        upstream = self.balancer.upstream(id)
        return InFlight(
            present=0 if upstream is None else upstream.active,
            removed=self.balancer.removed_in_flight(id),
        )


def response_limits(limits: LimitSettings) -> MessageLimits:
    """
    The limits of servers' responses, to clients' requests and to checks: a server whose
    responses clients would not get does not pass its check.
    """
    return MessageLimits(header_bytes=limits.header_bytes, header_count=limits.header_count)


def node_listeners(stats: Stats, write: Callable[[AccessRecord], None] | None) -> Listeners:
    """
    The listeners to the ends of attempts and requests: the counters, the access log if
    there is one, and the log of failures.

    @param write: writes a record to the access log.
    """
    return Listeners(
        count_request=stats.client.count,
        count_attempt=stats.server.count,
        tunnel_opened=stats.tunnel_opened,
        tunnel_closed=stats.tunnel_closed,
        requests=None if write is None else lambda ended: write(access_record(ended)),
        failures=log_failure,
    )


def log_failure(ended: RequestEnded) -> None:
    """
    Log why a client got an answer of the proxy's own, or a response was broken off.
    """
    _log.debug(
        "{client}: {status}: {reason} (server: {server})",
        client=ended.client.decode("ascii") or "-",
        status=ended.status,
        reason=ended.reason,
        server=ended.server or "-",
    )


def access_record(ended: RequestEnded) -> AccessRecord:
    """
    The access log's record of a request.
    """
    client = ended.client.decode("ascii")
    request = ended.request
    if request is None:
        return AccessRecord(
            client=client, time=time.time(), status=ended.status, reason=ended.reason
        )
    return AccessRecord(
        client=client,
        time=time.time(),
        status=ended.status,
        method=request.method,
        target=request.target,
        version=f"HTTP/1.{request.minor}",
        body_bytes=ended.sent,
        complete=ended.complete,
        referer=find(request.lines, b"referer"),
        user_agent=find(request.lines, b"user-agent"),
        duration=ended.duration,
        server=ended.server,
        reason=ended.reason,
    )
