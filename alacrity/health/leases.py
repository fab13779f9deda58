"""
Leases on a monotonic clock: their lengths, and when they expire. There is no I/O here.

A client that has an answer to a renewal relies on it: the lease lasts for the granted time,
counted from when the renewal was sent, whoever leads the cluster. See C{docs/cluster.md}.
"""

from __future__ import annotations

from math import ceil, log
from typing import Final

from alacrity.health.schedule import Schedule
from alacrity.pool import Server
from alacrity.pool.leases import Renewal

RENEWALS_PER_SECOND: Final = 50.0
"""The most renewals a second that a cluster asks its servers for."""

RENEWALS_PER_LEASE: Final = 3.0
"""Renewals that fall into the time of a lease, so that one or two may be lost."""

_STEP: Final = 1.1
"""The ratio of two neighbouring classes of lengths, which are reckoned with as one."""


def _class_of(seconds: float) -> int:
    return ceil(log(max(seconds, 1e-3)) / log(_STEP) - 1e-9)


class RenewalIntervals:
    """
    The intervals of renewals: a third of the lease, or so much longer that the cluster gets no
    more than L{RENEWALS_PER_SECOND}.

    Each node keeps them from the pool alone. A new leader must grant no less than an earlier
    one may have granted lately, when there were more leases. So former intervals are
    remembered until all that was granted by them is over.
    """

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._least = 0.0
        # Until when a class of former least intervals has to be reckoned with.
        self._former: dict[int, float] = {}

    def add(self, asked: float, now: float) -> None:
        """Count a lease more."""
        self._change(asked, 1, now)

    def remove(self, asked: float, now: float) -> None:
        """Count a lease less."""
        self._change(asked, -1, now)

    def _change(self, asked: float, by: int, now: float) -> None:
        of = _class_of(asked)
        count = self._counts.get(of, 0) + by
        if count > 0:
            self._counts[of] = count
        else:
            self._counts.pop(of, None)
        least = self._shortest_allowed()
        if least < self._least:
            # A lease that was granted just now lasts for so long.
            ends = now + 2 * RENEWALS_PER_LEASE * self._least
            former = _class_of(self._least)
            self._former[former] = max(ends, self._former.get(former, ends))
        self._least = least

    def _shortest_allowed(self) -> float:
        """
        The least interval with which there are not too many renewals; 0: any.
        """
        classes = sorted(self._counts.items())
        # The lower bound of each class, so that the rate is not underestimated.
        intervals = [(_STEP ** (of - 1) / RENEWALS_PER_LEASE, count) for of, count in classes]
        rate = sum(count / interval for interval, count in intervals)
        if rate <= RENEWALS_PER_SECOND:
            return 0.0
        stretched = 0
        least = 0.0
        for at, (interval, count) in enumerate(intervals):
            rate -= count / interval
            stretched += count
            if rate >= RENEWALS_PER_SECOND:
                continue
            least = stretched / (RENEWALS_PER_SECOND - rate)
            if at + 1 == len(intervals) or least <= intervals[at + 1][0]:
                break
        return least

    def renew_after(self, asked: float) -> float:
        """
        Seconds until the next renewal of a lease.
        """
        return max(asked / RENEWALS_PER_LEASE, self._least)

    def granted(self, asked: float) -> float:
        """
        Seconds for which a lease is granted.
        """
        return max(asked, RENEWALS_PER_LEASE * self.renew_after(asked))

    def longest(self, asked: float, now: float) -> float:
        """
        The most seconds for which a lease may have been granted until now, by any leader.
        """
        for former in [each for each, ends in self._former.items() if ends <= now]:
            del self._former[former]
        least = max((_STEP**former for former in self._former), default=0.0)
        return max(self.granted(asked), RENEWALS_PER_LEASE * least)


class Lease:
    """
    The lease of one registration, as the leader keeps it.

    @ivar server: the server as it is in the pool now.
    @ivar ends: when it expires, on the book's clock.
    @ivar renewed: whether it was renewed since it last expired.
    @ivar deciding: whether its expiry, or its end, is being proposed.
    """

    __slots__ = ("deciding", "ends", "renewed", "server")

    def __init__(self, server: Server, ends: float) -> None:
        self.server = server
        self.ends = ends
        self.renewed = False
        self.deciding = False

    def __repr__(self) -> str:
        return f"<Lease of {self.server.id} until {self.ends:.1f}>"

    @property
    def asked(self) -> float:
        """Seconds that the registration asks for."""
        return self.server.options.lease or 0.0

    @property
    def is_marked(self) -> bool:
        """Whether the pool shows that it was not renewed: as expired, or as suspect."""
        condition = self.server.condition
        return condition.lease_expired or condition.suspect


class LeaseBook:
    """
    The leases of all servers while this node leads.

    Its clock is a monotonic one, less the time for which this process was stopped: renewals
    could not be received then.
    """

    def __init__(self, intervals: RenewalIntervals, margin: float) -> None:
        """
        @param margin: seconds by which another leader may have acknowledged a renewal after it
            was deposed.
        """
        self._intervals = intervals
        self._margin = margin
        self._leases: dict[str, Lease] = {}
        self._schedule: Schedule[Lease] = Schedule()
        self._stopped = 0.0

    def __len__(self) -> int:
        return len(self._leases)

    def get(self, id: str) -> Lease | None:
        """The lease of a server; L{None}: it has none."""
        return self._leases.get(id)

    def put(self, server: Server, now: float) -> Lease:
        """
        Note a server that has a lease, as it is now. One that this node did not know, and a
        new registration, get a full lease.
        """
        lease = self._leases.get(server.id)
        if lease is None or lease.server.revision != server.revision:
            self.discard(server.id)
            lease = self._leases[server.id] = Lease(server, 0.0)
            self._grant_fully(lease, now)
        lease.server = server
        return lease

    def discard(self, id: str) -> None:
        """Forget a server."""
        lease = self._leases.pop(id, None)
        if lease is not None:
            self._schedule.discard(lease)

    def clear(self) -> None:
        """Forget all servers."""
        self._leases.clear()
        self._schedule.clear()

    def renew(self, lease: Lease, now: float) -> Renewal:
        """
        Renew a lease, even if it has expired.
        """
        granted = self._intervals.granted(lease.asked)
        lease.renewed = True
        self._extend(lease, now - self._stopped + granted)
        return Renewal(granted, self._intervals.renew_after(lease.asked))

    def grant_all(self, now: float) -> None:
        """
        Grant everyone a full lease: this process was stopped.
        """
        for lease in self._leases.values():
            self._grant_fully(lease, now)

    def discount(self, seconds: float) -> None:
        """
        Discount a time for which this process was stopped.
        """
        self._stopped += seconds

    def try_again(self, lease: Lease, now: float, seconds: float) -> None:
        """
        Have a lease that has expired, and that the pool does not show so, taken again.
        """
        if self._leases.get(lease.server.id) is lease and lease.ends <= now - self._stopped:
            self._schedule.put(lease, now - self._stopped + seconds)

    def take_expired(self, now: float) -> list[Lease]:
        """
        Take the leases that have expired since the last call, or are to be tried again.
        """
        expired = []
        time = now - self._stopped
        while (lease := self._schedule.take_due(time)) is not None:
            if lease.ends > time:
                self._schedule.put(lease, lease.ends)
                continue
            lease.renewed = False
            expired.append(lease)
        return expired

    def _grant_fully(self, lease: Lease, now: float) -> None:
        longest = self._intervals.longest(lease.asked, now)
        self._extend(lease, now - self._stopped + longest + self._margin)

    def _extend(self, lease: Lease, ends: float) -> None:
        lease.ends = max(lease.ends, ends)
        self._schedule.put(lease, lease.ends)
