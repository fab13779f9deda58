"""
The dialers of a node: one for each node to connect to.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from alacrity.cluster.wire.dialer import FIRST_RETRY, Dialer

YIELD: Final = 0.5
"""Seconds, approximately, that the node with the lesser name waits for a connection from the
node with the greater name."""


class Dialers:
    """
    The dialers, by the name of the node that they connect to. Of two nodes that know each
    other, the one with the greater name connects at once, the other one after a while.
    """

    def __init__(
        self,
        own_name: str,
        connect: Callable[[str], Deferred[Any]],
        clock: IReactorTime,
        rng: Random,
        on_failure: Callable[[str, str], object],
    ) -> None:
        """
        @param connect: makes one attempt to connect to the node of a name.
        @param on_failure: called with a name, and the reason why an attempt failed.
        """
        self._own_name = own_name
        self._connect = connect
        self._clock = clock
        self._rng = rng
        self._on_failure = on_failure
        self._dialers: dict[str, Dialer] = {}

    def get(self, name: str) -> Dialer | None:
        """
        The dialer that connects to a node; L{None}: there is none.
        """
        return self._dialers.get(name)

    def start(self, name: str, *, connected: bool) -> None:
        """
        Start to connect to a node, unless it has a dialer already.

        @param connected: whether there is a connection with the node already.
        """
        if name in self._dialers:
            return
        first = self._own_name > name
        dialer = self._dialers[name] = Dialer(
            lambda: self._connect(name),
            self._clock,
            self._rng,
            lambda reason: self._on_failure(name, reason),
            FIRST_RETRY if first else YIELD,
        )
        if connected:
            dialer.pause()
        elif first:
            dialer.dial()
        else:
            dialer.dial_later()

    def pause(self, name: str) -> None:
        """
        Make no attempt to connect to a node, because there is a connection.
        """
        dialer = self._dialers.get(name)
        if dialer is not None:
            dialer.pause()

    def stop(self, name: str) -> None:
        """
        Make no more attempts to connect to a node.
        """
        dialer = self._dialers.pop(name, None)
        if dialer is not None:
            dialer.stop()

    def stop_all(self) -> None:
        """
        Make no more attempts to connect to any node.
        """
        for dialer in self._dialers.values():
            dialer.stop()
        self._dialers.clear()
