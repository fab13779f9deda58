"""
The documents about removed servers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
from msgspec import UNSET

from alacrity.management.documents.schemas import DrainDocument, DrainNodeDocument


class NodeDrain(msgspec.Struct, frozen=True):
    """
    A node's part in the end of a removed server.

    @ivar name: the node.
    @ivar in_flight: requests of the server in flight there; L{None}: the node did not tell.
    @ivar applied: whether the node has applied the removal, as far as is known.
    """

    name: str
    in_flight: int | None = None
    applied: bool = False

    @property
    def done(self) -> bool:
        """Whether the server gets no request there any more, and has none."""
        return self.applied and self.in_flight == 0


class Removal(msgspec.Struct, frozen=True):
    """
    The removal of a server.

    @ivar index: the pool's index with which a node has applied it.
    @ivar version: of the server when it was removed; L{None}: that is not known any more.
    """

    index: int
    version: int | None = None


class RegisteredAgain(Exception):
    """
    A removed server was registered again while a caller waited for its requests.
    """


class CannotWait(Exception):
    """
    No further call can wait for requests of removed servers. The message is the reason.
    """


class Drains(Protocol):
    """
    The removed servers, and their requests in flight on all nodes.
    """

    def removal(self, id: str) -> Removal | None:
        """A server's latest removal, as this node remembers it."""

    async def find(self, id: str) -> Removal | None:
        """A server's latest removal, as any node remembers it, or drains it still."""

    async def wait(self, id: str, removal: Removal, seconds: float) -> Sequence[NodeDrain]:
        """
        Wait until all nodes have applied a removal and finished the server's requests; or some
        have, and the others are unreachable; or until the time is over.

        @return: the nodes.
        @raise RegisteredAgain: the server is in the pool again.
        @raise CannotWait: too many callers wait already, or the node stops.
        """


def drain_document(nodes: Sequence[NodeDrain]) -> DrainDocument:
    """
    The answer to a removal that has waited for requests in flight.

    @param nodes: all nodes of the cluster.
    """
    in_flight = sum(each.in_flight or 0 for each in nodes)
    drained = all(each.done for each in nodes)
    return DrainDocument(
        drained=drained,
        in_flight=in_flight,
        nodes=UNSET
        if drained
        else [
            DrainNodeDocument(each.name, each.in_flight, each.applied, each.in_flight is not None)
            for each in nodes
        ],
    )
