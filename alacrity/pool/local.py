"""
How the pool changes while this node is alone: at once, and kept on its disk.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from alacrity.pool.commands import Command, Outcome, Report
from alacrity.pool.model import Pool
from alacrity.pool.view import PoolView

RunInThread: TypeAlias = Callable[[Callable[[Pool], None], Pool], Deferred[Any]]
"""
Calls a function with a pool, where it may block; fires with what comes of it.
"""


class NotKept(Exception):
    """
    The command was applied on this node, but could not be written to disk. A
    restart may forget it; proposing it again is safe.
    """


class LocalLog:
    """
    Applies commands in the order in which they are proposed, and keeps the pool on
    disk.

    One write is under way at a time, and it covers all commands that were applied
    before it began: many proposals at once cost few writes.
    """

    _log = Logger()

    def __init__(
        self, view: PoolView, save: Callable[[Pool], None], run_in_thread: RunInThread
    ) -> None:
        """
        @param view: holds the pool as it is on disk.
        @param save: writes a pool to disk; it may block and raise.
        """
        self._view = view
        self._save = save
        self._run_in_thread = run_in_thread
        self._kept = view.pool
        self._waiting: list[Deferred[None]] = []
        self._writing = False
        self._failing = False

    async def propose(self, command: Command) -> Outcome:
        """
        Apply a command, and wait until it is on disk.

        Nobody waits for a L{Report}: the checks would find out anew.

        @raise NotKept: it is not on disk.
        """
        outcome = self._view.apply(command)
        if isinstance(command, Report):
            self._keep().addErrback(_nobody_waits)
        else:
            await self._keep()
        return outcome

    async def flush(self) -> None:
        """
        Wait until all is on disk that can be. A failure is logged, not raised.
        """
        with suppress(NotKept):
            await self._keep()

    def _keep(self) -> Deferred[None]:
        """
        Have the current pool written.

        @return: fires when it is; fails with L{NotKept}.
        """
        waiter: Deferred[None] = Deferred()
        self._waiting.append(waiter)
        if not self._writing:
            self._writing = True
            Deferred.fromCoroutine(self._write())
        return waiter

    async def _write(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            # Firing runs code of others, which may append to the new list.
            if await self._is_kept(self._view.pool):
                for waiter in waiting:
                    waiter.callback(None)
            else:
                for waiter in waiting:
                    waiter.errback(NotKept("the pool cannot be written to disk"))
        self._writing = False

    async def _is_kept(self, pool: Pool) -> bool:
        """
        Write a pool, unless its servers are on disk already.
        """
        if pool.servers is self._kept.servers:
            return True
        try:
            await self._run_in_thread(self._save, pool)
        except Exception as error:
            if not self._failing:
                self._failing = True
                self._log.error(
                    "the pool cannot be written to disk, and a restart would forget its "
                    "latest changes: {error}",
                    error=str(error) or type(error).__name__,
                )
            return False
        self._kept = pool
        if self._failing:
            self._failing = False
            self._log.info("the pool is written to disk again")
        return True


def _nobody_waits(failure: Failure) -> None:
    """
    It is logged where it happened.
    """
    failure.trap(NotKept)
