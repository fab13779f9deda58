"""
The connections to servers that the requests of one client may use.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal

from alacrity.proxy.upstream.server import KeptConnection, UpstreamServer

MOST_PRIVATE: Final = 16
"""Server connections that are kept for one client alone."""


class ClientAffinity:
    """
    The server connections that are kept for one client connection alone, and whether its
    requests may go over connections that other clients have used.

    @ivar private: the connections that are kept, the most recently used last.
    @ivar shares: whether requests may go over connections that others have used.
    """

    __slots__ = ("_closed", "_requests", "_reuse", "private", "shares")

    def __init__(self, reuse: Literal["always", "safe", "never"]) -> None:
        """
        @param reuse: see L{alacrity.config.ProxySettings}.
        """
        self._reuse = reuse
        self._requests = 0
        self._closed = False
        self.shares = reuse == "always"
        self.private: list[KeptConnection] = []

    def request_begins(self) -> None:
        """
        Count a request: with C{safe}, those after the first may use shared connections.
        """
        self._requests += 1
        if self._requests > 1 and self._reuse == "safe":
            self.shares = True

    def take_login(self, tried: Collection[UpstreamServer]) -> KeptConnection | None:
        """
        Take out the connection that the client has logged in on; L{None}: there is none.

        @param tried: servers whose connections are not wanted.
        """
        for connection in self.private:
            upstream = connection.upstream
            if connection.login and upstream.may_serve and upstream not in tried:
                self.private.remove(connection)
                return connection
        return None

    def take(self, upstream: UpstreamServer) -> KeptConnection | None:
        """
        Take out a connection to a server, a private one or one that is shared; L{None}:
        there is none, and one is to be made.
        """
        if self.private:
            for connection in self.private:
                if connection.upstream is upstream:
                    self.private.remove(connection)
                    return connection
        return upstream.idle.pop() if upstream.idle and self.shares else None

    def keep(self, connection: KeptConnection) -> None:
        """
        Keep a connection that is free for this client alone; close it, if the client's has
        come to its end.
        """
        if len(self.private) >= MOST_PRIVATE:
            self.private[0].close()
        self.private.append(connection)
        if self._closed:
            connection.close()

    def remove(self, connection: KeptConnection) -> None:
        """
        Stop keeping a connection.
        """
        self.private.remove(connection)

    def close(self) -> None:
        """
        The client's connection comes to its end: close the private ones, and keep none
        from now on.
        """
        self._closed = True
        for connection in tuple(self.private):
            connection.close()
