"""
The current pool of a node, and subscriptions to its changes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

import msgspec
from twisted.logger import Logger

from alacrity.pool.commands import (
    Administered,
    Command,
    Deregistered,
    Judged,
    Kept,
    Outcome,
    Registered,
    Reported,
)
from alacrity.pool.model import Pool, Server

Propose: TypeAlias = Callable[[Command], Awaitable[Outcome]]
"""
Proposes a command to the cluster. The outcome comes once the command is applied on this
node and cannot be lost.
"""


class Change(msgspec.Struct, frozen=True):
    """
    The change of one server.

    @ivar before: L{None}: it is new.
    @ivar after: L{None}: it is removed.
    """

    before: Server | None
    after: Server | None


Subscriber: TypeAlias = Callable[[Change], object]


class PoolView:
    """
    The holder of the current pool, which calls its subscribers with each change.

    Subscribers are called with the changes in the order in which they happened, also
    when one of them makes another change.

    @ivar pool: the current pool, a value that may be kept.
    """

    _log = Logger()

    def __init__(self, pool: Pool | None = None) -> None:
        self.pool = Pool() if pool is None else pool
        self._subscribers: list[Subscriber] = []
        self._queue: deque[tuple[Change, tuple[Subscriber, ...]]] = deque()
        self._publishing = False

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """
        Have C{subscriber} called with each L{Change}, after it has happened; and at once
        with each server in the pool, as a new one.

        @return: ends the subscription.
        """
        self._subscribers.append(subscriber)
        for server in self.pool.servers.values():
            self._call(subscriber, Change(None, server))
        return lambda: self._subscribers.remove(subscriber)

    def advance(self, pool: Pool, *outcomes: Outcome) -> None:
        """
        Take the pool that commands have made of the current one. For the replica alone;
        others propose commands.

        @param outcomes: of the commands, in their order.
        """
        before, self.pool = self.pool, pool
        self._publish(_changes(before, outcomes))

    def replace(self, pool: Pool) -> None:
        """
        Take another pool, which may differ from the current one in any way. For the
        replica alone.
        """
        before, self.pool = self.pool, pool
        self._publish(_differences(before, pool))

    def _publish(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self._queue.append((change, tuple(self._subscribers)))
        if not self._publishing:
            self._publishing = True
            try:
                self._publish_queued()
            finally:
                self._publishing = False

    def _publish_queued(self) -> None:
        while self._queue:
            change, subscribers = self._queue.popleft()
            for subscriber in subscribers:
                if subscriber in self._subscribers:
                    self._call(subscriber, change)

    def _call(self, subscriber: Subscriber, change: Change) -> None:
        try:
            subscriber(change)
        except Exception:
            self._log.failure("a subscriber to the pool failed on {change}", change=change)


def _changes(before: Pool, outcomes: Iterable[Outcome]) -> list[Change]:
    """
    The changes that commands have made, by their outcomes.

    @param before: the pool before the commands.
    """
    # The latest form of each server that has changed.
    known: dict[str, Server | None] = {}
    changes = []
    for outcome in outcomes:
        for each in outcome.outcomes if isinstance(outcome, Judged) else (outcome,):
            match each:
                case Registered(server) | Reported(server) | Administered(server) | Kept(server):
                    after: Server | None = server
                case Deregistered(server):
                    after = None
                case _:
                    continue
            id = server.id
            was = known[id] if id in known else before.servers.get(id)
            if after is not was:
                changes.append(Change(was, after))
            known[id] = after
    return changes


def _differences(before: Pool, after: Pool) -> tuple[Change, ...]:
    """
    The changes between any two pools: first the removed servers, then the others in order.
    """
    gone = [
        Change(server, None) for id, server in before.servers.items() if id not in after.servers
    ]
    others = [
        Change(before.servers.get(id), server)
        for id, server in after.servers.items()
        if before.servers.get(id) != server
    ]
    return (*gone, *others)
