"""
The data path of a node, put together: from its configuration, its pool and its share of the
file descriptors.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.logger import Logger

from alacrity.config import Settings
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
from alacrity.proxy.upstream.retry import RetryRules
from alacrity.proxy.upstream.slots import Slots
from alacrity.runtime.access_log import AccessRecord, access_log

_log = Logger()


class DataPath:
    """
    The parts of the data path that the rest of a node knows.

    @ivar balancer: chooses servers. To be stopped.
    @ivar failing: puts servers aside; its hints are for the leader.
    @ivar deadlines: to be started and stopped.
    @ivar stats: the node's counters.
    """

    def __init__(self, reactor: Any, settings: Settings) -> None:
        self._reactor = reactor
        self._settings = settings
        loop = uvloop_of(reactor)
        self._turns = Turns(
            (lambda call: reactor.callLater(0, call)) if loop is None else loop.call_soon
        )
        self.balancer = Balancer(
            settings.balance,
            cap_of=registered_cap(settings.queue.max_requests),
            fail_open=settings.health.fail_open,
            sessions=bool(settings.sticky.cookie),
            clock=reactor,
            # Nodes and workers do not all begin with the same server.
            rng=Random(),
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

    def changed(self, change: Change) -> None:
        """
        A server of the pool has changed. To be subscribed to the pool's view.
        """
        self.balancer.changed(change)
        self.failing.changed(change)

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
                limits=MessageLimits(
                    header_bytes=limits.header_bytes, header_count=limits.header_count
                ),
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
                key_reader(settings.balance.key, proxy.trusted_proxies)
                if settings.balance.method == "hash"
                else None
            ),
        )
        admission = Admission(
            connections=budget.clients,
            refused=budget.refused,
            per_address=limits.connections_per_address,
            trusted=proxy.trusted_proxies,
        )
        return Frontend(exchanges, admission, self._turns, pseudonym=proxy.via, reuse=proxy.reuse)

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
