"""
The environment of an engine: its times and bounds, the state machine, the log and the
transport.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Protocol, TypeAlias

import msgspec
from pysyncobj.transport import Transport

from alacrity.cluster.log.members import Member
from alacrity.cluster.log.records import Snapshot
from alacrity.cluster.log.storage import Storage


class RaftTiming(msgspec.Struct, frozen=True):
    """
    The engine's times, in seconds.

    @ivar heartbeat: the interval between a leader's heartbeats.
    @ivar election: the least and the greatest election timeout: a follower that has not heard
        a leader for that time starts an election.
    @ivar fallback: the time after which a leader that has not heard a majority steps down.
    @ivar resend: the time after which a slice of a snapshot that was not confirmed is sent
        again.
    @ivar catch_up: the time that a learner has to catch up. A later request to add the node
        starts the time again.
    @ivar unreachable: the time after which a node that cannot be reached, or refuses, is not
        added.
    """

    heartbeat: float = 0.1
    election: tuple[float, float] = (0.4, 0.8)
    fallback: float = 1.5
    resend: float = 1.0
    catch_up: float = 10.0
    unreachable: float = 3.0


class RaftLimits(msgspec.Struct, frozen=True):
    """
    The engine's bounds.

    @ivar log: entries in the log; with more, the log is compacted.
    @ivar log_bytes: bytes of commands in the log, or half of the last snapshot's bytes, if
        that is more; with more, the log is compacted.
    @ivar batch: bytes of commands in a message, unless one alone is longer.
    @ivar slice: bytes of a snapshot in a message.
    @ivar ahead: entries sent to a follower that it has not confirmed.
    @ivar backlog: entries appended and not committed; with more, commands are denied.
    @ivar applied: entries applied in one tick.
    @ivar applied_bytes: bytes of commands applied in one step, so that other work, heartbeats
        first, need not wait.
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

    @ivar version: the newest version of commands that the machine understands.
    """

    version: int

    def apply(self, command: bytes) -> object:
        """
        Apply a command to the state.

        @return: the command's result.
        @raise CannotApply: nothing was changed.
        """

    def encode(self) -> bytes:
        """The state, for a snapshot."""

    def restore(self, state: bytes) -> None:
        """
        Replace the state by the one in a snapshot.

        @raise CannotApply: nothing was changed.
        """

    def readable(self, command: bytes, version: int) -> bool:
        """Whether a machine of a version can apply a command."""


class Results(Protocol):
    """
    The receiver of the results of commands.
    """

    def command_applied(self, result: object) -> None:
        """A command is applied, with a result of L{StateMachine.apply}."""

    def state_restored(self) -> None:
        """The state was replaced by the state in the leader's snapshot."""

    def members_changed(self, request_id: str) -> None:
        """A membership change is committed."""

    def command_denied(self, request_id: str, reason: str, *, final: bool) -> None:
        """One attempt to append a command of this node was denied."""

    def snapshot_taken(self, snapshot: Snapshot) -> None:
        """A snapshot was taken, with which the log can be compacted later."""


LinkFault: TypeAlias = Callable[[str], str | None]
"""Gives the reason why there is no connection with the peer of a name; L{None}: none is known."""


def no_fault(name: str) -> None:
    """
    The L{LinkFault} of a transport that knows none.
    """


class Environment(msgspec.Struct, frozen=True):
    """
    The environment of an engine.

    @ivar member: this node.
    @ivar storage: the log of this node; if it is empty, the node waits to be added to a
        cluster.
    @ivar transport: takes messages for the other members.
    @ivar machine: the state machine that committed commands are applied to.
    @ivar results: receives the results of commands.
    @ivar rng: the random numbers for election timeouts.
    @ivar fault: gives the reason why there is no connection with a peer.
    """

    member: Member
    storage: Storage
    transport: Transport
    machine: StateMachine
    results: Results
    rng: Random
    timing: RaftTiming
    limits: RaftLimits
    fault: LinkFault = no_fault
