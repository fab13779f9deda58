"""
The effects of a step of the engine, as a value.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from alacrity.cluster.log.records import Snapshot
from alacrity.cluster.raft.mail import Send, Traffic
from alacrity.cluster.raft.messages import AppendEntries
from alacrity.cluster.raft.peer import Peer


class CommandApplied(msgspec.Struct, frozen=True):
    """
    A command is applied.

    @ivar result: the result that the state machine returned.
    """

    result: object


class StateRestored(msgspec.Struct, frozen=True):
    """The state was replaced by the state in the leader's snapshot."""


class MembersChanged(msgspec.Struct, frozen=True):
    """A membership change is committed."""

    request_id: str


class CommandDenied(msgspec.Struct, frozen=True):
    """
    One attempt to append a command of this node was denied.

    @ivar final: whether another attempt is useless.
    """

    request_id: str
    reason: str
    final: bool


StepResult: TypeAlias = CommandApplied | StateRestored | MembersChanged | CommandDenied


class StepEffects(msgspec.Struct, frozen=True):
    """
    Everything that the node has to do for a step. The entries, the term and the vote to
    persist are in the storage already.

    @ivar persist: whether the storage must be synced before the other effects take place.
    @ivar traffic: messages, and changes of the peers, in the order in which they were made.
    @ivar results: the results of commands, in order.
    @ivar heartbeats: heartbeats that may be sent from then on, until the next step is
        persisted.
    @ivar snapshot: a snapshot with which to compact the log later.
    """

    persist: bool
    traffic: tuple[Traffic, ...] = ()
    results: tuple[StepResult, ...] = ()
    heartbeats: tuple[tuple[Peer, AppendEntries], ...] = ()
    snapshot: Snapshot | None = None

    def without_messages(self) -> StepEffects:
        """
        The same effects without the messages: the step could not be persisted in time.
        """
        kept = tuple(each for each in self.traffic if not isinstance(each, Send))
        return msgspec.structs.replace(self, traffic=kept)
