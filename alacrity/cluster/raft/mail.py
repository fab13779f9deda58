"""
Mail: what comes in for the engine, and what it sends, as values; and the connections that both
belong to.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, TypeAlias

import msgspec

from alacrity.cluster.log.compaction import Compaction
from alacrity.cluster.raft.peer import Peer


class Received(msgspec.Struct, frozen=True):
    """A message of a peer has come in."""

    peer: Peer
    message: dict[str, Any]


class Connected(msgspec.Struct, frozen=True):
    """There is a connection with a peer, another one than before."""

    peer: Peer


class Disconnected(msgspec.Struct, frozen=True):
    """The connection with a peer is lost."""

    peer: Peer


class LogCompacted(msgspec.Struct, frozen=True):
    """A file with the compacted log is written, and may take the old one's place."""

    rewrite: Compaction


Mail: TypeAlias = Received | Connected | Disconnected | LogCompacted


class Send(msgspec.Struct, frozen=True):
    """
    Send a message.

    @ivar connection: the number of the connection that it is for, see L{Connections}.
    """

    peer: Peer
    message: dict[str, Any]
    connection: int


class AddPeer(msgspec.Struct, frozen=True):
    """Keep a connection with a peer from now on."""

    peer: Peer


class DropPeer(msgspec.Struct, frozen=True):
    """Keep no connection with a peer any more."""

    peer: Peer


Traffic: TypeAlias = Send | AddPeer | DropPeer


class Connections:
    """
    Numbers of connections: how often those with each peer have changed, and how many of
    these changes the engine has heard of.

    What was sent on one connection is not delivered on a later one: the engine relies
    on the order that a connection keeps.
    """

    def __init__(self) -> None:
        self._changes: Counter[str] = Counter()
        self._heard: Counter[str] = Counter()

    def note_change(self, name: str) -> None:
        """
        A connection has come or gone. The engine does not know yet.
        """
        self._changes[name] += 1

    def note_heard(self, name: str) -> None:
        """
        The engine hears of the next change.
        """
        self._heard[name] += 1

    def current(self, name: str) -> int:
        """
        The number of the connection that there is, or was last.
        """
        return self._changes[name]

    def heard(self, name: str) -> int:
        """
        The number of the connection that the engine knows of.
        """
        return self._heard[name]
