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

    @ivar result: the state machine's.
    """

    result: object


class StateRestored(msgspec.Struct, frozen=True):
    """The state was replaced by that of the leader's snapshot."""


class MembersChanged(msgspec.Struct, frozen=True):
    """A change of the members is committed."""

    request_id: str


class CommandDenied(msgspec.Struct, frozen=True):
    """
    A command of this node was not appended, by one attempt.

    @ivar final: asking again is of no use.
    """

    request_id: str
    reason: str
    final: bool


StepResult: TypeAlias = CommandApplied | StateRestored | MembersChanged | CommandDenied


class StepEffects(msgspec.Struct, frozen=True):
    """
    All that a step asks of its node. The entries, the term and the vote to persist are in the
    storage already.

    @ivar persist: whether the storage is to be synced before anything else below.
    @ivar traffic: messages, and changes of the peers, in the order in which they were made.
    @ivar results: what became of commands, in the order in which it did.
    @ivar heartbeats: heartbeats that may be sent from then on, until the next step is
        persisted.
    @ivar snapshot: a snapshot to put in the place of the log's beginning, some time.
    """

    persist: bool
    traffic: tuple[Traffic, ...] = ()
    results: tuple[StepResult, ...] = ()
    heartbeats: tuple[tuple[Peer, AppendEntries], ...] = ()
    snapshot: Snapshot | None = None

    def without_messages(self) -> StepEffects:
        """
        The same, and nothing is sent: the step could not be persisted in time.
        """
        kept = tuple(each for each in self.traffic if not isinstance(each, Send))
        return msgspec.structs.replace(self, traffic=kept)
