"""
The log of failing open: requests go to servers that are down by their checks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

NAMED: Final = 10
"""Servers that are named in one line."""

_log: Final = Logger()


class FailOpenLog:
    """
    Writes a line when failing open begins, and one when it ends. Changes of the pool that are
    applied together count as one, so that a pool that is being loaded makes no noise.
    """

    def __init__(
        self, clock: IReactorTime | None, servers: Callable[[], Sequence[str] | None]
    ) -> None:
        """
        @param clock: L{None}: lines are written at once.
        @param servers: names the servers that get requests by failing open; L{None}: there is
            no failing open.
        """
        self._clock = clock
        self._servers = servers
        # As it was said last.
        self._said: Sequence[str] | None = None
        self._call: IDelayedCall | None = None

    def changed(self) -> None:
        """
        Failing open has begun or ended.
        """
        if self._clock is None:
            self._write()
        elif self._call is None:
            self._call = self._clock.callLater(0, self._write)

    def stop(self) -> None:
        """
        Write nothing any more.
        """
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _write(self) -> None:
        self._call = None
        servers, said = self._servers(), self._said
        if servers is not None and said is None:
            self._said = servers
            _log.warn(
                "no server is eligible: failing open, requests go to servers that are down by "
                "checks that do not show that they are dead: {servers}",
                servers=_listed(servers),
            )
        elif servers is None and said is not None:
            self._said = None
            _log.info(
                "failing open has ended; it had begun with the servers {servers}",
                servers=_listed(said),
            )


def _listed(names: Sequence[str]) -> str:
    text = ", ".join(names[:NAMED])
    return f"{text} and {len(names) - NAMED} more" if len(names) > NAMED else text
