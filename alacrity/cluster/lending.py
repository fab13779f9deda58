"""
Lending of slots: a server's cap on requests, shared out over the nodes of a cluster.

The leader keeps a L{Ledger} of what each node holds, and each node a L{SlotHolder}. A node reports
what it holds and needs, and the answer says how many slots it shall hold from then on. Nothing
here does I/O. C{docs/cluster.md} has the argument why the sum never exceeds the cap.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

import msgspec

KEEPS: Final = 30.0
"""Seconds for which a node that hears from no leader keeps all that it holds; then its share."""

EXPIRY: Final = 60.0
"""Seconds after which the leader takes a silent node to hold its share at most: by then the
node has heard from no leader for longer than L{KEEPS}, a deposed one included."""

NO_SLOTS: Final = -1
"""In an answer: the node shall hold no slots of a server."""

ANY_NUMBER: Final = 0
"""In an answer: the leader knows of no cap for a server."""

_UNLIMITED: Final = 1 << 30

MOST_ENTRIES: Final = 1000
"""Servers in one report."""


class Report(msgspec.Struct, frozen=True, array_like=True):
    """
    A node's report to the leader.

    @ivar incarnation: random, of the node's process.
    @ivar number: higher in each report of a process.
    @ivar is_complete: whether this report, and those since the last complete one, name all servers
        of which the node holds slots.
    @ivar waiting: requests that wait for a server with room.
    @ivar entries: by server, the slots that the node holds, and its requests there.
    """

    incarnation: str
    number: int
    is_complete: bool
    waiting: int
    entries: dict[str, tuple[int, int]]


def share(name: str, names: Iterable[str], cap: int) -> int:
    """
    A node's even share of a cap. The shares of all nodes sum up to the cap.
    """
    order = sorted(names)
    if name not in order:
        return 0
    whole, rest = divmod(cap, len(order))
    return whole + (order.index(name) < rest)


def level(needs: Mapping[str, int], available: int, turn: int = 0) -> dict[str, int]:
    """
    Give to each what it needs, or, if that is too much, the same to all that need more.

    @param turn: of the nodes, by name, which get one more where the rest is too small for all.
    """
    given = dict.fromkeys(needs, 0)
    open_needs = {name: need for name, need in needs.items() if need > 0}
    while open_needs and available >= len(open_needs):
        step = min(available // len(open_needs), *open_needs.values())
        for name in list(open_needs):
            given[name] += step
            available -= step
            open_needs[name] -= step
            if not open_needs[name]:
                del open_needs[name]
    order = sorted(open_needs)
    for at in range(min(available, len(order))):
        given[order[(turn + at) % len(order)]] += 1
    return given


def decide(
    available: int, held: Mapping[str, int], needs: Mapping[str, int], turn: int = 0
) -> dict[str, int]:
    """
    Decide how many slots of one server each node shall hold.

    Slots stay where they are, unless some node needs one that no one is free to give; then
    those give that hold more than they need, or than is fair. A node that shall hold fewer
    keeps its place in C{held} until it has said that it does; so growing is from the free ones
    only: the sum of what may be held never exceeds what is available, or it shrinks.

    @param available: slots that there are for these nodes.
    @param held: the most that each may hold just now.
    @param needs: slots that each has a use for.
    @param turn: see L{level}.
    """
    fair = level(needs, max(0, available), turn)
    free = available - sum(held.values())
    lacking = {name: max(0, fair[name] - held[name]) for name in held}
    shortage = sum(lacking.values()) - free
    targets = dict(held)
    for name in sorted(held, key=lambda each: held[each] - fair[each], reverse=True):
        given = min(max(0, held[name] - fair[name]), max(0, shortage))
        targets[name] -= given
        shortage -= given
    for name in sorted(lacking, key=lambda each: (held[each], each)):
        taken = min(lacking[name], max(0, free))
        targets[name] += taken
        free -= taken
    if free > 0 and targets:
        _spread(free, targets, needs)
    return targets


def _spread(free: int, targets: dict[str, int], needs: Mapping[str, int]) -> None:
    """
    Give what nobody needs to those that have the least to spare.
    """
    each = max(0, free // len(targets) - 1)
    wealth = sorted(targets, key=lambda name: (targets[name] - needs[name], name))
    poorest = targets[wealth[0]] - needs[wealth[0]]
    richest = targets[wealth[-1]] - needs[wealth[-1]]
    if each > richest - poorest:
        for name in wealth:
            targets[name] += each
        free -= each * len(wealth)
    for _ in range(free):
        name = min(targets, key=lambda name: (targets[name] - needs[name], name))
        targets[name] += 1


class _Account:
    """
    A node, as the ledger knows it.

    @ivar held: by server, the most slots that it may hold.
    @ivar active: by server, its requests at the last report.
    """

    def __init__(self, now: float, *, is_known: bool) -> None:
        self.heard = now
        self.is_known = is_known
        self.incarnation = ""
        self.number = 0
        self.waiting = 0
        self.held: dict[str, int] = {}
        self.active: dict[str, int] = {}
        self.named: set[str] = set()

    def take(self, now: float, report: Report) -> bool:
        """
        Take a report.

        @return: whether it is the newest.
        """
        if report.incarnation != self.incarnation:
            # A process holds nothing of the one before it.
            self.incarnation = report.incarnation
            self.held.clear()
            self.active.clear()
            self.named.clear()
        elif report.number <= self.number:
            return False
        self.number = report.number
        self.heard = now
        self.waiting = report.waiting
        for id, (holds, active) in report.entries.items():
            self.held[id] = holds
            self.active[id] = active
        self.named.update(report.entries)
        if report.is_complete:
            for id in self.held.keys() - self.named:
                del self.held[id]
                self.active.pop(id, None)
            self.named.clear()
            self.is_known = True
        return True


class Ledger:
    """
    The slots that each node holds, as the leader knows it, for one term of leadership.

    A new leader knows nothing. A member may hold what the former leader has lent it, until it has
    reported; so of the servers that were in the pool then, no slot is lent but those that
    the known ones give back, until all members have reported, or been silent for L{EXPIRY}.
    """

    def __init__(self, now: float, members: Collection[str], servers: Collection[str]) -> None:
        """
        @param members: of the cluster, as leadership begins.
        @param servers: the ids of those in the pool then.
        """
        self._accounts = {name: _Account(now, is_known=False) for name in members}
        self._old = frozenset(servers)

    def report(
        self,
        now: float,
        name: str,
        report: Report,
        members: Collection[str],
        cap_of: Callable[[str], int],
    ) -> tuple[dict[str, int], bool]:
        """
        Take a node's report.

        @param members: the present ones.
        @param cap_of: gives a server's cap; 0: it has none.
        @return: by server, how many slots the node shall hold, or L{NO_SLOTS}, or L{ANY_NUMBER}
            for a server without a cap. And whether others are to report soon, as it needs what they hold.
        """
        for gone in self._accounts.keys() - set(members):
            del self._accounts[gone]
        if name not in members:
            return dict.fromkeys(report.entries, NO_SLOTS), False
        for each in members:
            # One that has joined since cannot hold anything yet.
            self._accounts.setdefault(each, _Account(now, is_known=True))
        account = self._accounts[name]
        if not account.take(now, report):
            return {}, False
        answer: dict[str, int] = {}
        lacks = False
        for id in report.entries:
            cap = cap_of(id)
            if not cap:
                account.held[id] = 0
                answer[id] = ANY_NUMBER
                continue
            targets, needs = self._decide(now, id, cap)
            target = targets[name]
            # What it is told to give up, it may hold until it says that it does not.
            account.held[id] = max(target, account.held[id])
            answer[id] = target or NO_SLOTS
            lacks = lacks or target < needs[name]
        return answer, lacks and report.waiting > 0

    def _decide(self, now: float, id: str, cap: int) -> tuple[dict[str, int], dict[str, int]]:
        held: dict[str, int] = {}
        needs: dict[str, int] = {}
        available = cap
        is_frozen = False
        for name, account in self._accounts.items():
            is_silent = now - account.heard >= EXPIRY
            even = share(name, self._accounts, cap) if is_silent else 0
            if account.is_known or id in account.held or id not in self._old:
                most = account.held.get(id, 0)
                if is_silent:
                    available -= min(most, even)
                else:
                    held[name] = most
                    needs[name] = self._need(account, id)
            else:
                available -= even
                is_frozen = is_frozen or not is_silent
        if not any(self._accounts[name].waiting for name in held):
            # Where nothing waits, each shall have one at hand for its next request.
            needs = {name: max(1, need) for name, need in needs.items()}
        if is_frozen:
            available = min(available, sum(held.values()))
        return decide(available, held, needs, int(now)), needs

    def _need(self, account: _Account, id: str) -> int:
        """
        The slots that a node has a use for: those in use, and its part of what waits.
        """
        servers = max(1, len(account.active))
        return account.active.get(id, 0) + -(-account.waiting // servers)


class SlotHolder:
    """
    The slots that this node holds.

    @ivar limits: by server, the requests that it may have; those without any are left out.
    """

    def __init__(self, incarnation: str, now: float) -> None:
        """
        @param incarnation: random, of this process.
        """
        self._incarnation = incarnation
        self._number = 0
        self._heard = now
        self.limits: dict[str, int] = {}
        self._asked: Report | None = None

    def report(
        self, active: Mapping[str, int], waiting: int, *, is_complete: bool = True
    ) -> Report:
        """
        Make a report. The answers to reports before it mean nothing any more.

        @param active: by server, this node's requests; of servers with a cap alone.
        """
        self._number += 1
        self._asked = Report(
            self._incarnation,
            self._number,
            is_complete,
            waiting,
            {id: (max(self.limits.get(id, 0), count), count) for id, count in active.items()},
        )
        return self._asked

    def answered(self, now: float, report: Report, answer: Mapping[str, int]) -> set[str]:
        """
        Take the answer to a report.

        @param answer: see L{Ledger.report}.
        @return: the servers whose limits have changed.
        """
        if report is not self._asked:
            return set()
        self._heard = now
        return self._set(
            {
                id: _UNLIMITED if count == ANY_NUMBER else max(0, count)
                for id, count in answer.items()
                if id in report.entries
            }
        )

    def is_isolated(self, now: float) -> bool:
        """Whether no leader has answered for long."""
        return now - self._heard >= KEEPS

    def isolated(self, now: float, shares: Callable[[str], int]) -> set[str]:
        """
        Keep no more than a share, if no leader has answered for long.

        @param shares: gives the even share of a server's cap.
        @return: the servers whose limits have changed.
        """
        if not self.is_isolated(now):
            return set()
        return self._set({id: min(count, shares(id)) for id, count in self.limits.items()})

    def take_shares(self, shares: Mapping[str, int]) -> set[str]:
        """
        Take the even shares, while the cluster cannot lend.

        @return: the servers whose limits have changed.
        """
        return self._set(shares)

    def forget(self, ids: Collection[str]) -> None:
        """
        Keep the slots of these servers alone: the others have left the pool.

        @param ids: of the servers in the pool.
        """
        for id in self.limits.keys() - set(ids):
            del self.limits[id]

    def _set(self, limits: Mapping[str, int]) -> set[str]:
        changed = {id for id, count in limits.items() if self.limits.get(id, 0) != count}
        for id in changed:
            if limits[id]:
                self.limits[id] = limits[id]
            else:
                self.limits.pop(id, None)
        return changed
