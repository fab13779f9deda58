"""
The table of a node's connections.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed

from alacrity.cluster.wire.link import Link


class LinkTable:
    """
    All connections of this node, and for each other node the one that is in use.

    @ivar open: the connections that have not ended, in the order in which they were made.
    """

    def __init__(self) -> None:
        self.open: dict[Link, None] = {}
        self._in_use: dict[str, Link] = {}
        self._last_received: dict[str, float] = {}
        self._waiting: list[Deferred[None]] = []

    def add(self, link: Link) -> None:
        """
        Add a connection.
        """
        self.open[link] = None

    def remove(self, link: Link) -> bool:
        """
        Remove a connection that has ended.

        @return: whether the connection was in the table.
        """
        if link not in self.open:
            return False
        del self.open[link]
        if not self.open:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)
        return True

    def when_empty(self) -> Deferred[None]:
        """
        Wait until no connection is left.
        """
        if not self.open:
            return succeed(None)
        empty: Deferred[None] = Deferred()
        self._waiting.append(empty)
        return empty

    def unproven(self) -> list[Link]:
        """
        The incoming connections whose handshake is not done.
        """
        return [link for link in self.open if not link.outgoing and link.session is None]

    def made_to(self, name: str) -> list[Link]:
        """
        The connections that this node has made to another node.
        """
        return [link for link in self.open if link.target == name]

    def in_use(self, name: str) -> Link | None:
        """
        The connection in use for a node; L{None}: there is none.
        """
        return self._in_use.get(name)

    def all_in_use(self) -> list[Link]:
        """
        The connections in use, one for each connected node.
        """
        return list(self._in_use.values())

    def use(self, name: str, link: Link) -> None:
        """
        Use a connection for a node.
        """
        self._in_use[name] = link

    def disuse(self, name: str, *, remember: bool) -> None:
        """
        Stop using the connection with a node.

        @param remember: whether to remember the time at which the node was last heard.
        """
        link = self._in_use.pop(name)
        if remember:
            self._last_received[name] = link.last_received

    def last_received(self, name: str) -> float | None:
        """
        The time at which a byte from a node was last received, by the clock; L{None}: never.
        """
        link = self._in_use.get(name)
        return self._last_received.get(name) if link is None else link.last_received

    def forget(self, name: str) -> None:
        """
        Forget the time at which a node was last heard.
        """
        self._last_received.pop(name, None)
