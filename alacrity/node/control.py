"""
The control side of a node: its part in the cluster, the checks, and the management API.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger

from alacrity.client import ApiClient, treq_sender
from alacrity.cluster.assembly import ClusterNode
from alacrity.cluster.joining import ANSWER_TIMEOUT, join
from alacrity.config import Settings
from alacrity.health import (
    Doubts,
    LeaseKeeper,
    LossGuard,
    Monitor,
    ProposalBatcher,
    Witness,
    standard_checks,
)
from alacrity.management import Api
from alacrity.metrics.counters import Counter, Stats
from alacrity.net.addresses import NodeAddress
from alacrity.net.bindings import ipv6_only_of
from alacrity.net.connecting import client_endpoint
from alacrity.node.cluster import node_settings
from alacrity.node.data_path import InFlight, response_limits
from alacrity.node.descriptors import slack
from alacrity.node.drains import Drains
from alacrity.node.leader_checks import Duties, LeaderChecks
from alacrity.node.leases import ACKNOWLEDGED_WITHIN, Hints, Leases
from alacrity.node.listeners import address_text
from alacrity.node.sticky_key import StickyKeyDrawer
from alacrity.node.witnesses import NodeWitnesses
from alacrity.pool import GuardLimits, PoolView, Propose, Server


class Entry(msgspec.Struct, frozen=True):
    """
    The way in which a node gets into its cluster, if it is not in it already.

    @ivar join: the management API of a member, as a URL; L{None}: begin a cluster.
    @ivar force: go on as the only member, whoever the others were.
    """

    join: str | None = None
    force: bool = False


class Traffic(msgspec.Struct, frozen=True):
    """
    The part of the data path that the management API shows.

    @ivar stats: counters of requests and tunnels.
    @ivar counter: the counter of a server by its id; L{None}: it has none yet.
    @ivar draining: the servers that have left the pool with requests in flight.
    @ivar in_flight: counts the attempts under way with the servers of an id.
    """

    stats: Stats
    counter: Callable[[str], Counter | None]
    draining: Callable[[], Iterable[Server]]
    in_flight: Callable[[str], InFlight]


class Control:
    """
    The control side of a node.

    @ivar part: this node's part in the cluster.
    @ivar replica: its copy of the replicated state.
    @ivar monitor: checks the servers while this node leads.
    @ivar leases: renews the leases of servers.
    @ivar drains: waits for the requests of removed servers; there is one once L{site} is called.
    @ivar hints: tells the leader that a server seems to fail.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        directory: Path,
        view: PoolView,
        secrets: tuple[bytes, ...],
        *,
        entry: Entry,
        checks: int,
    ) -> None:
        """
        Open the state directory.

        @param directory: the state directory.
        @param view: is given the pool.
        @param secrets: those of the cluster; this node proves the first one. If that is empty,
            none is needed.
        @param checks: checks that may be in flight at once.
        @raise StateError: the directory, or a file in it, cannot be used.
        @raise OSError: likewise.
        """
        self._reactor = reactor
        self._settings = settings
        self._entry = entry
        self._view = view
        self._joining: Deferred[None] = succeed(None)
        self._is_open = False
        self.part = ClusterNode(
            reactor,
            node_settings(settings.cluster, ipv6_only_of(settings.descriptions)),
            directory,
            view,
            secrets,
            join=entry.join is not None,
            force=entry.force,
        )
        self.replica = self.part.replica
        self._prepare_to_lead(checks)

    def _prepare_to_lead(self, checks: int) -> None:
        """
        Build what this node does while it leads, and the ways to the leader.

        @param checks: checks that may be in flight at once.
        """
        reactor, view, replica = self._reactor, self._view, self.replica
        health = self._settings.health

        # A verdict of a former leader is dropped: the next one checks for itself.
        propose = ProposalBatcher(replica.propose_as_leader, self._has_format_2, reactor).propose
        guard = LossGuard(
            view, propose, GuardLimits(health.guard_share, health.guard_window), time.time
        )
        self.monitor = self._make_monitor(propose, guard, checks)
        keeper = LeaseKeeper(
            view,
            propose,
            guard,
            margin=ACKNOWLEDGED_WITHIN,
            deregister_after=health.lease_deregister_after,
            clock=reactor,
        )
        self.leases = Leases(replica, keeper, reactor)
        self.hints = Hints(replica.notes, lambda: replica.leader_name, self.monitor.hint)
        self._checks = LeaderChecks(
            Duties(keeper, self.monitor),
            lambda: self._is_open and replica.is_leader,
            lambda: len(view.pool.servers),
        )
        self._sticky_key = StickyKeyDrawer(
            replica.propose_as_leader,
            is_wanted=lambda: self._is_open and replica.is_leader,
            format=lambda: replica.format,
            has_key=lambda: view.pool.sticky_key != b"",
            clock=reactor,
        )

    def _has_format_2(self) -> bool:
        return self.replica.format >= 2

    def _make_monitor(self, propose: Propose, guard: LossGuard, checks: int) -> Monitor:
        """
        Build the monitor, with the members that it asks, and this node's own answers.

        @param checks: checks that may be in flight at once.
        """
        reactor, settings = self._reactor, self._settings
        runners = standard_checks(
            lambda host, port, timeout: client_endpoint(reactor, host, port, timeout),
            reactor,
            response_limits(settings.limits),
        )
        witnesses = NodeWitnesses(
            self.replica,
            self.part.me.name,
            Witness(self._view, runners, checks),
            are_asked=settings.health.witnesses,
            clock=reactor,
        )
        rng = Random()
        only_leader = settings.cluster.serve == "leader"
        return Monitor(
            self._view,
            propose,
            settings.health,
            runners,
            clock=reactor,
            rng=rng,
            in_flight=checks,
            has_format_2=self._has_format_2,
            guard=guard,
            doubts=Doubts(witnesses, clock=reactor, rng=rng, only_leader=only_leader),
        )

    def site(
        self,
        traffic: Traffic,
        *,
        unfit: Callable[[], str | None],
        own: Callable[[str, int], str | None],
        token: bytes | None,
        connections: int,
    ) -> IProtocolFactory:
        """
        The management API as a factory that ports can listen with.

        @param unfit: the reason why this node should get no requests; L{None}: it should.
        @param own: names the listener of this node at an address; L{None}: there is none.
        @param token: the token that callers must have; L{None}: all may call.
        @param connections: connections that there may be at once.
        """
        settings = self._settings
        self.drains = Drains(
            self._view,
            self.replica.notes,
            self.part.me.name,
            lambda: self.replica.member_names,
            traffic.in_flight,
            self._reactor,
            # The other connections stay for calls that are answered at once.
            limit=max(1, connections // 2),
        )
        api = Api(
            view=self._view,
            propose=self.replica.propose,
            stats=traffic.stats,
            counters=traffic.counter,
            draining=traffic.draining,
            last_checks=self.monitor.latest_result,
            unfit=unfit,
            wall=time.time,
            cluster=self.replica,
            drains=self.drains,
            renew=self.leases.renew,
            add_node=lambda name, address: self.replica.add_member(NodeAddress(name, address)),
            own_listener=own,
            clock=self._reactor,
            token=token,
            hosts=settings.management.hosts,
            default_interval=settings.health.interval,
        )
        return api.site(connections=connections, surplus=slack(connections))

    def open(self) -> None:
        """
        Begin to check whenever this node leads.
        """
        self._is_open = True
        self.replica.on_leadership_change(lambda _: self._checks.update())
        self.replica.on_leadership_change(lambda _: self._sticky_key.update())

    async def take_part(self) -> None:
        """
        Take part in the cluster.

        @raise Exception: this node cannot.
        """
        await self.replica.start()
        for port in self.part.transport.ports:
            self._log.info(
                "cluster node {name} listens on {address}; members: {members}",
                name=self.part.me.name,
                address=address_text(port.getHost()),
                members=", ".join(each.name for each in self.replica.status().members)
                or "none yet",
            )

    def join(self, token: bytes | None) -> None:
        """
        Ask to be taken into a cluster, if this node was told to and is in none.

        @param token: the token of the management API, here and there.
        """
        url = self._entry.join
        if url is None:
            return
        if not self.part.waiting:
            self._log.info("this node is in a cluster already; --join is not needed any more")
            return
        bearer = None if token is None else token.decode("ascii")
        import treq

        self._joining = Deferred.fromCoroutine(
            join(
                ApiClient(treq_sender(treq, url, timeout=ANSWER_TIMEOUT, token=bearer)),
                url,
                self.part.me,
                self.part.transport,
                lambda: self.part.waiting,
                self._reactor,
            )
        ).addErrback(lambda failure: failure.trap(CancelledError) and None)

    def close(self) -> None:
        """
        Do not begin to check any more; checks that run go on until L{stop_checks}.
        """
        self._is_open = False
        self._sticky_key.stop()

    async def stop_checks(self) -> None:
        """
        Stop joining and checking, and answer the callers that wait for removed servers.
        """
        self.drains.stop()
        self._joining.cancel()
        await self._checks.update()

    async def leave(self) -> None:
        """
        Take no part in the cluster any more, and close the state directory.
        """
        await self.part.stop()
