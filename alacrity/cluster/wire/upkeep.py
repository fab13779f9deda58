"""
The periodic look at the connections of a node.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from alacrity.cluster.wire.credentials import Credentials
from alacrity.cluster.wire.introductions import Introductions
from alacrity.cluster.wire.link import IDLE_TIMEOUT, Link
from alacrity.cluster.wire.links import LinkTable

_INTERVAL: Final = 0.2
"""Seconds between two looks."""


class LinkUpkeep:
    """
    Looks at all connections, several times a second: at their deadlines, those of greetings
    included, and whether they must be made anew because the secret was changed or an older version
    is no longer spoken.
    """

    def __init__(
        self,
        links: LinkTable,
        credentials: Credentials,
        clock: IReactorTime,
        guarded: Callable[[Link, Callable[[], object]], Any],
        renew: Callable[[Link], object],
        introductions: Introductions,
    ) -> None:
        """
        @param guarded: calls a function on one connection, whose faults do not concern others.
        @param renew: called with a connection that must be made anew.
        @param introductions: the greetings that are waited for.
        """
        self._links = links
        self._credentials = credentials
        self._clock = clock
        self._guarded = guarded
        self._renew = renew
        self._introductions = introductions
        self._looked_at = 0.0
        self._looks = LoopingCall(self._look)
        self._looks.clock = clock

    def start(self) -> None:
        """
        Begin to look.
        """
        self._looked_at = self._clock.seconds()
        self._looks.start(_INTERVAL, now=False)

    def stop(self) -> None:
        """
        Stop looking, if it has begun.
        """
        if self._looks.running:
            self._looks.stop()

    def _look(self) -> None:
        now = self._clock.seconds()
        stalled = now - self._looked_at - _INTERVAL
        self._looked_at = now
        if stalled > _INTERVAL:
            self._introductions.extend_deadlines(stalled)
        self._introductions.close_late()
        for link in list(self._links.open):
            if stalled > _INTERVAL:
                # This process did not run. Bytes that were sent meanwhile are read next.
                link.extend_deadlines(min(stalled, IDLE_TIMEOUT))
            session = link.session
            if session is not None and not link.closed and self._credentials.is_outdated(session):
                self._guarded(link, partial(self._renew, link))
            self._guarded(link, link.check_deadlines)
