"""
The current pool, and news of its changes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

import msgspec
from twisted.logger import Logger

from alacrity.pool.commands import (
    Command,
    Deregistered,
    Judged,
    Outcome,
    Registered,
    Reported,
    apply,
)
from alacrity.pool.model import Pool, Server

Propose: TypeAlias = Callable[[Command], Awaitable[Outcome]]
"""
How the pool is asked to change: the outcome comes once the command is applied
on this node and safely kept.
"""


class Change(msgspec.Struct, frozen=True):
    """
    One server's change.

    @ivar before: L{None}: it was not there.
    @ivar after: L{None}: it is gone.
    """

    before: Server | None
    after: Server | None


Subscriber: TypeAlias = Callable[[Change], object]


class PoolView:
    """
    Holds the current pool; what happens to it, it tells its subscribers.

    Subscribers hear of the changes in the order in which they happened, also when
    one of them, told of a change, makes another.

    @ivar pool: the current value. Read it, keep it as long as you like.
    """

    _log = Logger()

    def __init__(self, pool: Pool | None = None) -> None:
        self.pool = Pool() if pool is None else pool
        self._subscribers: list[Subscriber] = []
        self._news: deque[tuple[Change, tuple[Subscriber, ...]]] = deque()
        self._telling = False

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """
        Have C{subscriber} called with each L{Change}, after it has happened.

        Servers already in the pool are told as changes from nothing, at once.

        @return: ends the subscription.
        """
        self._subscribers.append(subscriber)
        for server in self.pool.servers.values():
            self._tell(subscriber, Change(None, server))
        return lambda: self._subscribers.remove(subscriber)

    def apply(self, command: Command) -> Outcome:
        """
        Apply a command. Called by the pool's log alone; others propose.
        """
        pool, outcome = apply(self.pool, command)
        self.advance(pool, outcome)
        return outcome

    def advance(self, pool: Pool, *outcomes: Outcome) -> None:
        """
        Take the pool that commands have made of the current one. Called by the pool's
        log alone.

        @param outcomes: what the commands came to, in their order.
        """
        before, self.pool = self.pool, pool
        self._publish(_changes(before, outcomes))

    def replace(self, pool: Pool) -> None:
        """
        Take a pool that any number of commands have made of the current one. Called by
        the pool's log alone.
        """
        before, self.pool = self.pool, pool
        self._publish(_differences(before, pool))

    def _publish(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self._news.append((change, tuple(self._subscribers)))
        if not self._telling:
            self._telling = True
            try:
                self._tell_all()
            finally:
                self._telling = False

    def _tell_all(self) -> None:
        while self._news:
            change, subscribers = self._news.popleft()
            for subscriber in subscribers:
                if subscriber in self._subscribers:
                    self._tell(subscriber, change)

    def _tell(self, subscriber: Subscriber, change: Change) -> None:
        try:
            subscriber(change)
        except Exception:
            self._log.failure("a subscriber to the pool failed on {change}", change=change)


def _changes(before: Pool, outcomes: Iterable[Outcome]) -> list[Change]:
    """
    Changes of a pool, by the outcomes of the commands that were applied to it.
    """
    # The latest of each server that has changed.
    known: dict[str, Server | None] = {}
    changes = []
    for outcome in outcomes:
        for each in outcome.outcomes if isinstance(outcome, Judged) else (outcome,):
            match each:
                case Registered(server) | Reported(server):
                    after: Server | None = server
                case Deregistered(server):
                    after = None
                case _:
                    continue
            id = server.id
            changes.append(Change(known[id] if id in known else before.servers.get(id), after))
            known[id] = after
    return changes


def _differences(before: Pool, after: Pool) -> tuple[Change, ...]:
    """
    What changed between any two pools: first who is gone, then the others in order.
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
