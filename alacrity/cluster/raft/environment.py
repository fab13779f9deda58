"""
All that an engine is given: how long it waits, how much it takes on, the state machine that
it drives, the log and the way out.
"""

from __future__ import annotations

from random import Random
from typing import Protocol

import msgspec
from pysyncobj.transport import Transport

from alacrity.cluster.log.members import Member
from alacrity.cluster.log.records import Snapshot
from alacrity.cluster.log.storage import Storage


class RaftTiming(msgspec.Struct, frozen=True):
    """
    The engine's times, in seconds.

    @ivar heartbeat: the leader's interval.
    @ivar election: a follower that has not heard a leader for a time between the two
        stands for election.
    @ivar fallback: a leader that has not heard a majority for so long steps down.
    @ivar resend: a slice of a snapshot that was not confirmed is sent again.
    @ivar catch_up: a new member that has not caught up is given up, unless it is
        asked for again.
    """

    heartbeat: float = 0.1
    election: tuple[float, float] = (0.4, 0.8)
    fallback: float = 1.5
    resend: float = 1.0
    catch_up: float = 10.0


class RaftLimits(msgspec.Struct, frozen=True):
    """
    The engine's bounds.

    @ivar log: entries, beyond which the log is compacted.
    @ivar log_bytes: bytes of commands, beyond which it is; or half of the last snapshot's,
        where that is more.
    @ivar batch: bytes of commands in a message, unless one alone is longer.
    @ivar slice: bytes of a snapshot in a message.
    @ivar ahead: entries sent to a follower that it has not confirmed.
    @ivar backlog: entries appended and not committed, beyond which commands are denied.
    @ivar applied: entries applied in one tick.
    @ivar applied_bytes: bytes of commands after which a step applies no more, so that what
        else is due, heartbeats first, need not wait for them.
    """

    log: int = 5000
    log_bytes: int = 2 << 20
    batch: int = 1 << 16
    slice: int = 1 << 16
    ahead: int = 1024
    backlog: int = 2048
    applied: int = 32
    applied_bytes: int = 1 << 13


class CannotApply(Exception):
    """
    A committed command, or a snapshot, that the state machine does not understand. The
    message is one line.
    """


class StateMachine(Protocol):
    """
    The state that the log's commands are applied to.

    @ivar version: the newest version of commands that it understands.
    """

    version: int

    def apply(self, command: bytes) -> object:
        """
        Change the state as a command says.

        @return: what came of it.
        @raise CannotApply: nothing was changed.
        """

    def encode(self) -> bytes:
        """The state, for a snapshot."""

    def restore(self, state: bytes) -> None:
        """
        Take another state.

        @raise CannotApply: nothing was changed.
        """

    def readable(self, command: bytes, version: int) -> bool:
        """Whether a command can be applied by machines up to a version."""


class Results(Protocol):
    """
    The place where an engine notes what became of commands.
    """

    def command_applied(self, result: object) -> None:
        """A command is applied, with a result of L{StateMachine.apply}."""

    def state_restored(self) -> None:
        """The state was replaced by that of the leader's snapshot."""

    def members_changed(self, request_id: str) -> None:
        """A change of the members is committed."""

    def command_denied(self, request_id: str, reason: str, *, final: bool) -> None:
        """A command of this node was not appended, by this attempt."""

    def snapshot_taken(self, snapshot: Snapshot) -> None:
        """A snapshot is to take the place of the entries up to it, some time."""


class Environment(msgspec.Struct, frozen=True):
    """
    All that an engine is given.

    @ivar member: the engine's own node.
    @ivar storage: its log; if it is empty, the node waits until a cluster takes it in.
    @ivar transport: takes messages for the other members.
    @ivar machine: the state machine that committed commands are applied to.
    @ivar results: is told what became of commands.
    @ivar rng: the chance in election timeouts.
    """

    member: Member
    storage: Storage
    transport: Transport
    machine: StateMachine
    results: Results
    rng: Random
    timing: RaftTiming
    limits: RaftLimits
