"""
The members as a function of the log, and the entries with which a cluster begins. These
functions need no running engine.
"""

from __future__ import annotations

from typing import Final

import msgspec

from alacrity.cluster.log.entries import MEMBERSHIP, NO_OP
from alacrity.cluster.log.members import Member
from alacrity.cluster.log.records import LogEntry, Snapshot
from alacrity.cluster.log.storage import Storage

FIRST_INDEX: Final = 2
"""
The index of a new cluster's first entry. The log of a joining node begins before this index.
So it always gets a snapshot, which has the state that the cluster began with.
"""


class MemberChange(msgspec.Struct, frozen=True, array_like=True):
    """
    A proposed membership change: one member to add or to remove. To remove a member and to add one
    of the same name is to change its address.
    """

    request_id: str
    add: Member | None
    remove: str | None


class Members(msgspec.Struct, frozen=True, array_like=True):
    """
    The content of a membership entry: all members from this entry on.
    """

    request_id: str
    members: tuple[Member, ...]


def bootstrap(storage: Storage, members: tuple[Member, ...], state: bytes) -> None:
    """
    Begin a cluster on an empty storage. All its first members need the same arguments.
    """
    storage.replace(*first_snapshot(members, state))


def make_alone(storage: Storage, member: Member, *commands: bytes) -> None:
    """
    Make a node the only member of its cluster. Its name and its address may be new. The
    engine must not run.

    B{All other members are removed without a vote.} This is right for a node that was alone
    before. It is also the last resort when most members are lost for good; the writes that
    were acknowledged last may then be lost with them.

    @param commands: commands of further entries, to be applied next.
    """
    term = max(storage.getCurrentTerm(), storage[-1][2])
    member = msgspec.structs.replace(member, incarnation=storage.incarnation)
    command = encode_members(Members("", (member,)))
    for each in (command, *commands):
        storage.add(each, storage[-1][1] + 1, term)


def members_of(storage: Storage) -> tuple[Member, ...]:
    """
    The members by a storage's log, committed or not; none if the log is empty.
    """
    return members_at(storage, storage[-1][1]) if len(storage) else ()


def members_at(log: Storage, index: int) -> tuple[Member, ...]:
    """
    The members by the last membership entry of a log up to an index.
    """
    snapshot = log.snapshot
    base = 0 if snapshot is None else snapshot.last_index
    first = log[0][1]
    for at in range(min(index, log[-1][1]), max(base, first - 1), -1):
        command = log[at - first][0]
        if command[:1] == MEMBERSHIP:
            return decode_members(command).members
    return () if snapshot is None else snapshot.members


def first_snapshot(members: tuple[Member, ...], state: bytes) -> tuple[Snapshot, list[LogEntry]]:
    """
    The snapshot and the entries that a cluster begins with.
    """
    snapshot = Snapshot(state, FIRST_INDEX, 0, tuple(sorted(members)))
    return snapshot, [(NO_OP, FIRST_INDEX, 0)]


def encode_members(members: Members) -> bytes:
    """
    Encode the command of a membership entry, which begins with its kind.
    """
    return MEMBERSHIP + msgspec.msgpack.encode(members)


def decode_members(command: bytes) -> Members:
    """
    Decode the command of a membership entry.

    @raise msgspec.MsgspecError: the command was not made by L{encode_members}.
    """
    return msgspec.msgpack.decode(command[1:], type=Members)
