"""
Messages between the engines of a cluster, and the dicts that a transport carries them in.

A received dict is checked once, and converted into a typed value. Unknown keys are ignored, so
that a newer version may add some.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec

from alacrity.cluster.log.members import Member
from alacrity.cluster.log.records import LogEntry


class AppendEntries(msgspec.Struct, frozen=True, tag_field="type", tag="append_entries"):
    """
    The leader's entries that follow one at C{prev_index}; without entries, a heartbeat.

    @ivar probe: the number of the leader's search for the last common entry that this message
        belongs to.
    """

    term: int
    commit_index: int
    prev_index: int
    prev_term: int
    entries: list[LogEntry]
    probe: int


class InstallSnapshot(msgspec.Struct, frozen=True, tag_field="type", tag="install_snapshot"):
    """
    A slice of the leader's snapshot; without data, a heartbeat during the transfer.

    @ivar size: the size of the whole state, in bytes.
    @ivar offset: the offset of the slice in it.
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
    A follower's reply to L{AppendEntries} or L{InstallSnapshot}.

    @ivar next_node_idx: on success, the index after the last one up to which the follower's
        log equals the leader's; otherwise the index from which the leader shall try again.
    @ivar version: the newest version of commands that the follower understands.
    """

    term: int
    next_node_idx: int
    success: bool
    probe: int
    version: int = 1


class SnapshotReply(msgspec.Struct, frozen=True, tag_field="type", tag="snapshot_reply"):
    """
    A follower's reply to a slice of a snapshot.

    @ivar offset: the number of bytes of the snapshot that the follower has.
    """

    term: int
    last_index: int
    offset: int


class PreVote(msgspec.Struct, frozen=True, tag_field="type", tag="pre_vote"):
    """
    A request for a pre-vote: whether the receiver would vote for the sender in an election.
    Raft dissertation, section 9.6.

    @ivar term: the term of that election.
    """

    term: int
    last_log_index: int
    last_log_term: int


class PreVoteReply(msgspec.Struct, frozen=True, tag_field="type", tag="pre_vote_reply"):
    """
    A reply to L{PreVote}.

    @ivar term: the term in the request.
    @ivar current: the current term of the node that replies.
    """

    term: int
    current: int
    granted: bool


class RequestVote(msgspec.Struct, frozen=True, tag_field="type", tag="request_vote"):
    """A candidate's request for a vote; PySyncObj's own message."""

    term: int
    last_log_index: int
    last_log_term: int


class ResponseVote(msgspec.Struct, frozen=True, tag_field="type", tag="response_vote"):
    """A vote; PySyncObj's own message."""

    term: int


class TimeoutNow(msgspec.Struct, frozen=True, tag_field="type", tag="timeout_now"):
    """The leader's request to a follower to take over; PySyncObj's own message."""

    term: int


class Propose(msgspec.Struct, frozen=True, tag_field="type", tag="apply_command"):
    """
    A follower's command, for the leader to append.
    """

    request_id: str
    command: bytes


class Denial(msgspec.Struct, frozen=True, tag_field="type", tag="apply_command_response"):
    """
    A reply to L{Propose}: the command was not appended. For an appended command there is no
    reply; it is applied in the end.

    @ivar final: whether another attempt is useless.
    """

    request_id: str
    reason: str
    final: bool


class HandOver(msgspec.Struct, frozen=True, tag_field="type", tag="hand_over"):
    """
    A request to the leader for a leadership transfer.

    @ivar target: the name of the member to transfer to; L{None}: any.
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
    Convert the dict that came from a peer.

    @raise msgspec.ValidationError: the dict is not a valid message.
    """
    parsed: Message = msgspec.convert(message, Message, builtin_types=_PLAIN)
    return parsed


def plain(message: Message) -> dict[str, Any]:
    """
    Convert a message into a dict of plain values.
    """
    built: dict[str, Any] = msgspec.to_builtins(message, builtin_types=_PLAIN)
    return built
