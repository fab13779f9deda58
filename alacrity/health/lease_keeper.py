"""
The leader's keeper of leases: it takes renewals, and proposes the changes that result from those
that are missing.

Renewals are in this process alone. The log has an entry where a lease expires, where the guard
keeps a server whose lease has expired, and where such a server renews after all.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from time import time
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from alacrity.health.endings import StateEndings
from alacrity.health.faults import FaultLog
from alacrity.health.leases import Lease, LeaseBook, RenewalIntervals
from alacrity.health.loss_guard import LossGuard
from alacrity.health.schedule import Schedule
from alacrity.pool import (
    AdminState,
    Change,
    Deregister,
    Deregistered,
    ExpireLease,
    Kept,
    PoolView,
    Propose,
    Reported,
    ReviveLease,
    State,
)
from alacrity.pool.leases import HasNoLease, NoSuchServer, Renewal

LOOK: Final = 0.25
"""Seconds between two looks at what is due."""

STOPPED: Final = 1.0
"""Seconds that a look must be late for this process to count as having been stopped."""

RETRY: Final = 1.0
"""Seconds after which a proposal that has failed is made again."""


class LeaseKeeper(Service):
    """
    Keeps the leases of the servers, and ends administrative states, while this node leads.

    It may be stopped and started any number of times. Each start grants every server a full
    lease.
    """

    _log = Logger()

    def __init__(
        self,
        view: PoolView,
        propose: Propose,
        guard: LossGuard,
        *,
        margin: float,
        deregister_after: float,
        clock: IReactorTime,
        wall: Callable[[], float] = time,
    ) -> None:
        """
        @param propose: proposes a change of this leader.
        @param margin: seconds by which another leader may have acknowledged a renewal after it
            was deposed.
        @param deregister_after: seconds after which a server whose lease has expired is
            removed; 0: never.
        @param clock: a monotonic clock.
        @param wall: gives the seconds since the epoch.
        """
        self._view = view
        self._propose = propose
        self._guard = guard
        self._deregister_after = deregister_after
        self._clock = clock
        self._wall = wall
        self._faults = FaultLog(self._log, clock)
        self._intervals = RenewalIntervals()
        self._book = LeaseBook(self._intervals, margin)
        self._removals: Schedule[Lease] = Schedule()
        self._endings = StateEndings(view, propose, wall, self._faults)
        self._in_flight: set[Deferred[None]] = set()
        self._kept: set[str] = set()
        self._looked_at = 0.0
        self._looks = LoopingCall(self._look)
        self._looks.clock = clock
        # Each node counts the leases always: it may become the leader.
        view.subscribe(self._count)
        self._unsubscribe: Callable[[], None] | None = None

    def startService(self) -> None:
        """
        Keep the leases.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._guard.restart()
        self._unsubscribe = self._view.subscribe(self._changed)
        self._looked_at = self._clock.seconds()
        self._looks.start(LOOK, now=False)

    def stopService(self) -> Deferred[None]:
        """
        Keep no leases any more.

        @return: fires once the proposals in flight are decided.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        if self._looks.running:
            self._looks.stop()
        self._book.clear()
        self._removals.clear()
        self._kept.clear()
        self._endings.clear()
        in_flight = [*self._in_flight, *self._endings.in_flight.values()]
        return DeferredList(in_flight).addCallback(lambda _: None)

    def renew(self, id: str) -> Renewal:
        """
        Renew the lease of a server. One that has expired is renewed as well: the server comes
        back.

        @raise NoSuchServer: the server has to register again.
        @raise HasNoLease: it is registered without a lease.
        """
        lease = self._book.get(id)
        if lease is None:
            if id in self._view.pool.servers:
                raise HasNoLease(id)
            raise NoSuchServer(id)
        renewal = self._book.renew(lease, self._clock.seconds())
        self._revive_if_due(lease)
        return renewal

    def terms(self, asked: float) -> Renewal:
        """
        The terms of a lease that is granted now, whether this node leads or not.

        @param asked: seconds that a registration asks for.
        """
        return Renewal(self._intervals.granted(asked), self._intervals.renew_after(asked))

    # Changes of the pool

    def _count(self, change: Change) -> None:
        now = self._clock.seconds()
        for server, count in (
            (change.after, self._intervals.add),
            (change.before, self._intervals.remove),
        ):
            if server is not None and server.options.lease is not None:
                count(server.options.lease, now)

    def _changed(self, change: Change) -> None:
        self._endings.changed(change)
        server = change.after
        if server is None or server.options.lease is None:
            gone = server or change.before
            assert gone is not None
            self._discard(gone.id)
            return
        now = self._clock.seconds()
        known = self._book.get(server.id)
        lease = self._book.put(server, now)
        if lease is not known and known is not None:
            self._removals.discard(known)
        if not lease.is_marked:
            self._kept.discard(server.id)
        if not server.condition.lease_expired:
            self._removals.discard(lease)
        elif self._deregister_after and not (
            known is lease and change.before and change.before.condition.lease_expired
        ):
            self._removals.put(lease, now + self._deregister_after)
        self._revive_if_due(lease)

    def _discard(self, id: str) -> None:
        lease = self._book.get(id)
        if lease is not None:
            self._removals.discard(lease)
        self._book.discard(id)
        self._kept.discard(id)

    # What is due

    def _look(self) -> None:
        now = self._clock.seconds()
        late = now - self._looked_at - LOOK
        self._looked_at = now
        if late > STOPPED:
            self._log.warn(
                "this node was stopped for {seconds:.1f} s: all servers get a full lease",
                seconds=late,
            )
            self._book.grant_all(now)
        elif late > LOOK:
            # Renewals wait to be read.
            self._book.discount(late + LOOK)
        for lease in self._book.take_expired(now):
            if lease.deciding:
                self._book.try_again(lease, now, RETRY)
            elif not lease.server.condition.lease_expired:
                self._begin(lease, self._expire(lease))
        while (due := self._removals.take_due(now)) is not None:
            self._maybe_remove(due, now)
        self._endings.propose_due()

    def _maybe_remove(self, lease: Lease, now: float) -> None:
        server = lease.server
        if lease.deciding or server.administration.state is not AdminState.READY:
            # What an operator has decided would be lost with it.
            self._removals.put(lease, now + max(RETRY, self._guard.opens_in()))
        else:
            self._begin(lease, self._remove(lease))

    def _begin(self, lease: Lease, deciding: Coroutine[Any, Any, None]) -> None:
        """
        Have a change of a server decided. There is one at a time.
        """
        lease.deciding = True
        decided = Deferred.fromCoroutine(deciding)
        decided.addBoth(self._decided, lease)
        if not decided.called:
            self._in_flight.add(decided)
            decided.addBoth(lambda _: self._in_flight.discard(decided))

    def _decided(self, failure: Any, lease: Lease) -> None:
        lease.deciding = False
        if failure is not None:
            self._faults.error(
                "the lease of {server} requires a change, but the pool cannot be changed: {error}",
                server=lease.server.id,
                error=failure.getErrorMessage() or failure.type.__name__,
            )
            now = self._clock.seconds()
            self._book.try_again(lease, now, RETRY)
            self._remove_later(lease, RETRY)
        else:
            # It may have renewed meanwhile.
            self._revive_if_due(lease)

    def _remove_later(self, lease: Lease, seconds: float) -> None:
        server = lease.server
        is_present = self._book.get(server.id) is lease
        if is_present and server.condition.lease_expired and self._deregister_after:
            self._removals.put(lease, self._clock.seconds() + seconds)

    # Proposals

    async def _expire(self, lease: Lease) -> None:
        server = lease.server
        outcome = await self._guard.propose(
            ExpireLease(server.id, server.revision, self._wall(), self._guard.limits)
        )
        match outcome:
            case Kept():
                self._log_kept(server.id, "its lease expired")
                self._book.try_again(lease, self._clock.seconds(), self._guard.opens_in())
            case Reported():
                self._log.warn(
                    "server {server} is down: its lease of {seconds:g} s expired",
                    server=server.id,
                    seconds=lease.asked,
                )

    async def _remove(self, lease: Lease) -> None:
        server = lease.server
        reason = f"its lease expired {self._deregister_after:g} s ago"
        outcome = await self._guard.propose(
            Deregister(server.id, self._wall(), reason, server.revision, guard=self._guard.limits)
        )
        if isinstance(outcome, Deregistered):
            self._log.warn("server {server} is removed: {reason}", server=server.id, reason=reason)
            return
        if isinstance(outcome, Kept):
            self._log_kept(server.id, reason)
        self._remove_later(lease, self._guard.opens_in())

    def _log_kept(self, id: str, reason: str) -> None:
        if id not in self._kept:
            self._kept.add(id)
            self._log.warn(
                "server {server} is kept as suspect, though {reason}: by the guard against mass "
                "loss, or as the last one",
                server=id,
                reason=reason,
            )

    def _revive_if_due(self, lease: Lease) -> None:
        """
        Bring back a server that has renewed its lease after all.
        """
        condition = lease.server.condition
        # One that is kept though it has been down for long is not suspected for its lease.
        is_due = condition.lease_expired or (
            condition.suspect and lease.server.state is not State.DOWN
        )
        if lease.renewed and is_due and not lease.deciding:
            self._begin(lease, self._revive(lease))

    async def _revive(self, lease: Lease) -> None:
        server = lease.server
        lease.renewed = False
        try:
            outcome = await self._propose(ReviveLease(server.id, server.revision, self._wall()))
        except BaseException:
            lease.renewed = True
            raise
        if isinstance(outcome, Reported):
            self._log.info("server {server} has renewed its lease", server=server.id)
