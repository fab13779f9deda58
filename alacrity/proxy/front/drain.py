"""
Closing all client connections in order.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred, succeed


class Drainable(Protocol):
    """
    A connection that can be closed in two ways.
    """

    def drain(self) -> None:
        """Close as soon as no request is under way."""

    def cut(self) -> None:
        """Close now."""


class OpenConnections:
    """
    The client connections that there are.
    """

    def __init__(self) -> None:
        self._connections: set[Drainable] = set()
        self._drained: Deferred[None] | None = None

    def add(self, connection: Drainable) -> None:
        """
        A client has connected.
        """
        self._connections.add(connection)

    def discard(self, connection: Drainable) -> None:
        """
        A client's connection is lost.
        """
        self._connections.discard(connection)
        if self._drained is not None and not self._connections:
            drained, self._drained = self._drained, None
            drained.callback(None)

    def drain(self) -> Deferred[None]:
        """
        Close all connections, each as soon as no request is under way on it.

        @return: fires when none is left. Cancelled, it cuts those that are.
        """
        if not self._connections:
            return succeed(None)
        drained: Deferred[None] = Deferred(lambda _: self._cut())
        self._drained = drained
        for connection in tuple(self._connections):
            connection.drain()
        return drained

    def _cut(self) -> None:
        self._drained = None
        for connection in tuple(self._connections):
            connection.cut()
