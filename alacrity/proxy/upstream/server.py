"""
A server, as the data path sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from alacrity.metrics.counters import Counter
from alacrity.pool import Server, State
from alacrity.proxy.interfaces import UpstreamConnection


class KeptConnection(UpstreamConnection, Protocol):
    """
    A connection to a server that can be kept between requests.

    @ivar upstream: the server.
    @ivar login: whether a client has logged in on it; it is for that one alone.
    @ivar waits: whether it is kept, and waits for a request.
    """

    login: bool

    @property
    def upstream(self) -> UpstreamServer: ...

    @property
    def waits(self) -> bool: ...

    def retire(self) -> None:
        """
        The server has left the pool: close, or finish in the time that there is for it.
        """


class UpstreamServer:
    """
    A server: its requests in flight, its counters, and the connections to it.

    @ivar pooled: the server as it was last in the pool.
    @ivar id: the pool's name for it.
    @ivar up: whether it is in the pool, and up.
    @ivar begin: counts an attempt as under way, until L{end}.
    @ivar retired: whether it has left the pool; its attempts may go on.
    @ivar idle: the connections that wait for a request of any client, the most recently
        used last.
    @ivar keep: keeps a connection for whoever needs one next.
    """

    __slots__ = (
        "_attempts",
        "_connections",
        "_failed",
        "_success",
        "begin",
        "host",
        "id",
        "idle",
        "keep",
        "pooled",
        "port",
        "retired",
        "up",
    )

    def __init__(self, pooled: Server) -> None:
        self.pooled = pooled
        self.id = pooled.id
        self.host = pooled.ip
        self.port = pooled.port
        self.up = pooled.state is State.UP
        self._success = 0
        self._failed = 0
        self._attempts: set[object] = set()
        self.begin: Callable[[object], None] = self._attempts.add
        self.retired = False
        self.idle: list[KeptConnection] = []
        self.keep: Callable[[KeptConnection], None] = self.idle.append
        self._connections: set[KeptConnection] = set()

    def __repr__(self) -> str:
        return f"<UpstreamServer {self.id} active={self.active} idle={len(self.idle)}>"

    # As an entry of the pool

    def update(self, pooled: Server) -> None:
        """
        The server has changed in the pool.
        """
        self.pooled = pooled
        self.up = pooled.state is State.UP
        if not self.up:
            self.close_idle()

    def retire(self) -> None:
        """
        The server has left the pool.
        """
        self.up = False
        self.retired = True
        for connection in tuple(self._connections):
            connection.retire()

    # Attempts

    @property
    def active(self) -> int:
        """The number of attempts under way."""
        return len(self._attempts)

    def end(self, attempt: object, succeeded: bool | None) -> None:
        """
        An attempt is over.

        @param succeeded: whether it succeeded; L{None}: that does not count, or did before.
        """
        self._attempts.discard(attempt)
        if succeeded:
            self._success += 1
        elif succeeded is not None:
            self._failed += 1

    def switched(self) -> None:
        """An attempt goes on as a tunnel, which counts as a success."""
        self._success += 1

    @property
    def counter(self) -> Counter:
        """The attempts that are over, but for those that were abandoned."""
        return Counter(self._success, self._failed)

    # Connections

    def add(self, connection: KeptConnection) -> None:
        """
        A connection is made.
        """
        self._connections.add(connection)
        if self.retired:
            connection.retire()

    def discard(self, connection: KeptConnection) -> None:
        """
        A connection is lost.
        """
        self._connections.discard(connection)

    def remove(self, connection: KeptConnection) -> None:
        """
        Stop keeping a connection.
        """
        self.idle.remove(connection)

    def close_idle(self) -> None:
        """
        Close the connections that wait, for any client or for one.
        """
        for connection in tuple(self._connections):
            if connection.waits:
                connection.close()
