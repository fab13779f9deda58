"""
Drawing of the key of sticky cookies.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from alacrity.cluster.proposals import OutcomeUnknown, ProposalRefused
from alacrity.pool import DrawStickyKey, Outcome

KEY_BYTES: Final = 32
"""Bytes of the key: as many as of the hash that it is used with."""

PERIOD: Final = 1.0
"""Seconds between two looks at whether a key is to be drawn."""

LEAST_FORMAT: Final = 2
"""The format since which the pool can have a key."""


class StickyKeyDrawer:
    """
    Draws the pool's key of sticky cookies, once, on the leader: by a command, as random bytes
    have no place in the pure function that applies commands. It does so whether or not this node
    has sessions configured, for another one may. The key is never shown or logged.
    """

    _log = Logger()

    def __init__(
        self,
        propose: Callable[[DrawStickyKey], Coroutine[Any, Any, Outcome]],
        *,
        is_wanted: Callable[[], bool],
        format: Callable[[], int],
        has_key: Callable[[], bool],
        clock: IReactorTime,
    ) -> None:
        """
        @param propose: proposes the command, if this node leads.
        @param is_wanted: whether this node leads, and serves.
        @param format: gives the format of the cluster.
        """
        self._propose = propose
        self._is_wanted = is_wanted
        self._format = format
        self._has_key = has_key
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock

    def update(self) -> None:
        """
        Begin or end to look, as leadership demands.
        """
        wanted = self._is_wanted() and not self._has_key()
        if wanted and not self._looking.running:
            self._looking.start(PERIOD)
        elif not wanted:
            self.stop()

    def stop(self) -> None:
        """
        Look no more.
        """
        if self._looking.running:
            self._looking.stop()

    def _look(self) -> Deferred[None] | None:
        if self._has_key() or not self._is_wanted():
            self.stop()
        elif self._format() >= LEAST_FORMAT:
            return Deferred.fromCoroutine(self._draw()).addErrback(self._failed)
        return None

    async def _draw(self) -> None:
        try:
            await self._propose(DrawStickyKey(secrets.token_bytes(KEY_BYTES)))
        except (ProposalRefused, OutcomeUnknown):
            pass  # The next look proposes it again, if there is no key by then.

    def _failed(self, failure: Any) -> None:
        self._log.failure("the key of sticky cookies could not be drawn", failure)
