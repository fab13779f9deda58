"""
Messages between the engines of a cluster, and the dicts that a transport carries them in.

A dict is checked once, where it comes in, and is a typed value from then on. Unknown
keys are passed over, so that a newer node may add some.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec

from alacrity.cluster.log.members import Member
from alacrity.cluster.log.records import LogEntry


class AppendEntries(msgspec.Struct, frozen=True, tag_field="type", tag="append_entries"):
    """
    The leader's entries after one that the follower should have; without any, its
    heartbeat.

    @ivar probe: the number of the leader's attempt to find common ground that this belongs to.
    """

    term: int
    commit_index: int
    prev_index: int
    prev_term: int
    entries: list[LogEntry]
    probe: int


class InstallSnapshot(msgspec.Struct, frozen=True, tag_field="type", tag="install_snapshot"):
    """
    A slice of the leader's snapshot; without data, its heartbeat meanwhile.

    @ivar size: of the whole state, in bytes.
    @ivar offset: where the slice begins.
    """

    term: int
    last_index: int
    last_term: int
    members: list[Member]
    size: int
    offset: int
    data: bytes
    probe: int


class Reply(msgspec.Struct, frozen=True, tag_field="type", tag="next_node_idx"):
    """
    A follower's answer to the two above.

    @ivar next_node_idx: if it succeeded: the follower's log equals the leader's up to
        the index before. Otherwise: the same, where the leader shall try again.
    @ivar version: the newest version of commands that the follower understands.
    """

    term: int
    next_node_idx: int
    success: bool
    probe: int
    version: int = 1


class SnapshotReply(msgspec.Struct, frozen=True, tag_field="type", tag="snapshot_reply"):
    """
    A follower's answer to a slice of a snapshot.

    @ivar offset: how many bytes of it the follower has.
    """

    term: int
    last_index: int
    offset: int


class PreVote(msgspec.Struct, frozen=True, tag_field="type", tag="pre_vote"):
    """
    A question before an election: would you vote for me? Raft dissertation, section 9.6.

    @ivar term: the term that the election would be in.
    """

    term: int
    last_log_index: int
    last_log_term: int


class PreVoteReply(msgspec.Struct, frozen=True, tag_field="type", tag="pre_vote_reply"):
    """
    An answer to that question.

    @ivar term: the question's.
    @ivar current: the term of the node that answers.
    """

    term: int
    current: int
    granted: bool


class RequestVote(msgspec.Struct, frozen=True, tag_field="type", tag="request_vote"):
    """PySyncObj's own: a candidate asks for a vote."""

    term: int
    last_log_index: int
    last_log_term: int


class ResponseVote(msgspec.Struct, frozen=True, tag_field="type", tag="response_vote"):
    """PySyncObj's own: a vote."""

    term: int


class TimeoutNow(msgspec.Struct, frozen=True, tag_field="type", tag="timeout_now"):
    """PySyncObj's own: the leader asks a follower to take over."""

    term: int


class Propose(msgspec.Struct, frozen=True, tag_field="type", tag="apply_command"):
    """
    A command for the leader to append.
    """

    request_id: str
    command: bytes


class Denial(msgspec.Struct, frozen=True, tag_field="type", tag="apply_command_response"):
    """
    An answer to a command that was not appended. (One that was is applied in the end.)

    @ivar final: asking again is of no use.
    """

    request_id: str
    reason: str
    final: bool


class HandOver(msgspec.Struct, frozen=True, tag_field="type", tag="hand_over"):
    """
    A request to the leader to hand over, to a member or to any.
    """

    target: str | None


Message: TypeAlias = (
    AppendEntries
    | InstallSnapshot
    | Reply
    | SnapshotReply
    | PreVote
    | PreVoteReply
    | RequestVote
    | ResponseVote
    | TimeoutNow
    | Propose
    | Denial
    | HandOver
)

_PLAIN: Final = (bytes,)


def parse(message: object) -> Message:
    """
    Read the dict that came from a peer.

    @raise msgspec.ValidationError: it is no message.
    """
    parsed: Message = msgspec.convert(message, Message, builtin_types=_PLAIN)
    return parsed


def plain(message: Message) -> dict[str, Any]:
    """
    Write a message as a dict of plain values.
    """
    built: dict[str, Any] = msgspec.to_builtins(message, builtin_types=_PLAIN)
    return built
