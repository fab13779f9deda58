"""
The interface of the methods by which a server is chosen.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from alacrity.proxy.upstream.server import UpstreamServer


class Policy(Protocol):
    """
    A choice among a set of servers, each of which has a weight above 0.
    """

    def add(self, upstream: UpstreamServer, weight: float) -> None:
        """
        Put a server into the set, or back into it.
        """

    def remove(self, upstream: UpstreamServer) -> None:
        """
        Take a server out of the set. It may come back.
        """

    def reweigh(self, upstream: UpstreamServer, weight: float) -> None:
        """
        Give a server of the set another weight.
        """

    def forget(self, upstream: UpstreamServer) -> None:
        """
        Forget a server that is not in the set and will not come back.
        """

    def choose(self, tried: Collection[UpstreamServer], key: bytes | None) -> UpstreamServer | None:
        """
        Choose a server.

        @param tried: servers that are not to be chosen.
        @param key: of the request; L{None}: it has none, or the method needs none.
        @return: L{None}: there is none left.
        """
