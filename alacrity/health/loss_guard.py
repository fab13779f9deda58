"""
Proposals that the guard against mass loss limits: expiries of leases, and removals of servers
that have been down for long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred, DeferredLock

from alacrity.pool import Command, GuardLimits, Outcome, PoolView, Propose, SpendGuard

_SOONEST: Final = 1.0
"""Seconds after which a loss that was not allowed is proposed again at the soonest."""


class LossGuard:
    """
    Proposes losses. A new leader begins with a window that allows none, from when it began to
    lead: until that has passed, it cannot know whether its view of the servers is good. That is
    proposed with the first loss, since most leaderships have none.

    @ivar limits: the limits, as this node is configured.
    """

    def __init__(
        self, view: PoolView, propose: Propose, limits: GuardLimits, wall: Callable[[], float]
    ) -> None:
        """
        @param wall: gives the seconds since the epoch.
        """
        self.limits = limits
        self._view = view
        self._propose = propose
        self._wall = wall
        self._began = wall()
        self._is_spent = False
        self._lock = DeferredLock()

    def restart(self) -> None:
        """
        Start again, because this node has become the leader again.
        """
        self._began = self._wall()
        self._is_spent = False

    async def propose(self, command: Command) -> Outcome:
        """
        Propose a loss.

        @raise Exception: it was not proposed, or its outcome is unknown.
        """
        if not self._is_spent:
            await self._lock.run(lambda: Deferred.fromCoroutine(self._spend()))
        return await self._propose(command)

    async def _spend(self) -> None:
        if not self._is_spent:
            began = self._began
            await self._propose(SpendGuard(began))
            self._is_spent = began == self._began

    def opens_in(self) -> float:
        """
        Seconds until the next window of the guard; the length of one, if none is open. That is
        so if a server is kept because it is the last one.
        """
        window = self.limits.window
        left = self._view.pool.guard.start + window - self._wall()
        return max(_SOONEST, left) if 0.0 < left <= window else window
