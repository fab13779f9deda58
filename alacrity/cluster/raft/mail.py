"""
Mail: the events that the engine receives and the messages that it sends, as values, with the
numbers of the connections that they belong to.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, TypeAlias

import msgspec

from alacrity.cluster.log.compaction import Compaction
from alacrity.cluster.raft.peer import Peer


class Received(msgspec.Struct, frozen=True):
    """A message from a peer was received."""

    peer: Peer
    message: dict[str, Any]


class Connected(msgspec.Struct, frozen=True):
    """
    A new connection with a peer was made.

    @ivar has_entries: whether the peer's log has more than the beginning of a cluster.
    """

    peer: Peer
    has_entries: bool = False


class Disconnected(msgspec.Struct, frozen=True):
    """The connection with a peer is lost."""

    peer: Peer


class LogCompacted(msgspec.Struct, frozen=True):
    """A file with the compacted log was written, and can replace the log's file."""

    rewrite: Compaction


Mail: TypeAlias = Received | Connected | Disconnected | LogCompacted


class Send(msgspec.Struct, frozen=True):
    """
    Send a message.

    @ivar connection: the number of the connection that the message is for, see
        L{Connections}.
    """

    peer: Peer
    message: dict[str, Any]
    connection: int


class AddPeer(msgspec.Struct, frozen=True):
    """Connect to a peer, and again after each loss."""

    peer: Peer


class DropPeer(msgspec.Struct, frozen=True):
    """Close the connection with a peer, and make no more."""

    peer: Peer


Traffic: TypeAlias = Send | AddPeer | DropPeer


class Connections:
    """
    Numbers of connections: for each peer, how often its connection was made or lost, and how
    many of these changes the engine knows.

    A message for one connection is not sent on a later one, because the engine relies on the
    order of messages within a connection.
    """

    def __init__(self) -> None:
        self._changes: Counter[str] = Counter()
        self._heard: Counter[str] = Counter()

    def note_change(self, name: str) -> None:
        """
        Count a connection that was made or lost. The engine does not know of it yet.
        """
        self._changes[name] += 1

    def note_heard(self, name: str) -> None:
        """
        Count a change that is now reported to the engine.
        """
        self._heard[name] += 1

    def current(self, name: str) -> int:
        """
        The number of the present connection, or of the last one.
        """
        return self._changes[name]

    def heard(self, name: str) -> int:
        """
        The number of the connection that the engine knows of.
        """
        return self._heard[name]
