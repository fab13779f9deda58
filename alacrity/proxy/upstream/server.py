"""
A server, as the data path sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol

from alacrity.metrics.counters import Counter
from alacrity.pool import Server
from alacrity.proxy.interfaces import UpstreamConnection
from alacrity.proxy.upstream.standing import Standing


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


class TroubleView(Protocol):
    """
    A server's failures: see L{alacrity.proxy.upstream.failing.trouble.Trouble}.
    """

    def head_came(self) -> None: ...


class Load:
    """
    The attempts under way with a set of servers.

    @ivar active: their number.
    """

    __slots__ = ("active",)

    def __init__(self) -> None:
        self.active = 0

    def add(self, number: int) -> None:
        """
        Count more attempts, or fewer.
        """
        self.active += number


class UpstreamServer:
    """
    A server: its requests in flight, its counters, and the connections to it.

    @ivar pooled: the server as it was last in the pool.
    @ivar id: the pool's name for it.
    @ivar standing: this node's own judgement of it; see L{set_standing}.
    @ivar cap: attempts that it may have at a time; 0: any number; below 0: none.
    @ivar full: whether it has as many attempts as it may have.
    @ivar heads: response heads that have come from it, interim ones too.
    @ivar trouble: its failures, as far as they are not over; L{None}: it is in order.
    @ivar may_serve: whether it may get requests now, be it of sessions alone.
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
        "_is_watched",
        "_load",
        "_room_changed",
        "_success",
        "begin",
        "cap",
        "full",
        "heads",
        "host",
        "id",
        "idle",
        "keep",
        "may_serve",
        "pooled",
        "port",
        "retired",
        "standing",
        "trouble",
    )

    def __init__(
        self, pooled: Server, room_changed: Callable[[UpstreamServer], object] | None = None
    ) -> None:
        """
        @param room_changed: is called when L{full} has changed with the attempts under way.
        """
        self.pooled = pooled
        self.id = pooled.id
        self.host = pooled.ip
        self.port = pooled.port
        self.standing = Standing.GOOD
        self.cap = 0
        self.full = False
        self.may_serve = pooled.eligible
        self._room_changed = room_changed
        # Whether anybody is to be told of attempts: it is limited, or part of a load.
        self._is_watched = False
        self._load: Load | None = None
        self.heads = 0
        self.trouble: TroubleView | None = None
        self._success = 0
        self._failed = 0
        self._attempts: set[Any] = set()
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

    def permit(self, may_serve: bool) -> None:
        """
        Let it get requests, or none. Then its connections that wait are of no use.
        """
        self.may_serve = may_serve
        if not may_serve:
            self.close_idle()

    def set_standing(self, standing: Standing) -> None:
        """
        Note this node's judgement. To be called by the balancer alone, which has to know.
        """
        self.standing = standing

    def retire(self) -> None:
        """
        The server has left the pool.
        """
        self.may_serve = False
        self.retired = True
        for connection in tuple(self._connections):
            connection.retire()

    # Attempts

    @property
    def active(self) -> int:
        """The number of attempts under way."""
        return len(self._attempts)

    def attempts(self) -> Collection[Any]:
        """The attempts under way."""
        return self._attempts

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
        if self._is_watched:
            if self._load is not None:
                self._load.add(-1)
            self._count_room()

    def limit(self, cap: int) -> None:
        """
        Limit the attempts under way. To be called by the balancer alone, which has to know.

        @param cap: how many there may be; 0: any number; below 0: none.
        """
        self.cap = cap
        self.full = cap != 0 and len(self._attempts) >= cap
        self._watch()

    def join(self, load: Load) -> None:
        """
        Count its attempts as part of a load, until L{leave}.
        """
        self._load = load
        load.add(len(self._attempts))
        self._watch()

    def leave(self) -> None:
        """
        Be no part of a load.
        """
        load, self._load = self._load, None
        assert load is not None
        load.add(-len(self._attempts))
        self._watch()

    def _watch(self) -> None:
        self._is_watched = self.cap != 0 or self._load is not None
        self.begin = self._begin_watched if self._is_watched else self._attempts.add

    def _begin_watched(self, attempt: object) -> None:
        self._attempts.add(attempt)
        if self._load is not None:
            self._load.add(1)
        self._count_room()

    def _count_room(self) -> None:
        full = self.cap != 0 and len(self._attempts) >= self.cap
        if full is not self.full:
            self.full = full
            if self._room_changed is not None:
                self._room_changed(self)

    def head_came(self) -> None:
        """The head of a response has come, or an interim response: it is not silent."""
        self.heads += 1
        if self.trouble is not None:
            self.trouble.head_came()

    def note_trouble(self, trouble: TroubleView) -> None:
        """It has failed: its attempts are told from now on."""
        self.trouble = trouble

    def clear_trouble(self) -> None:
        """It is in order again."""
        self.trouble = None

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
