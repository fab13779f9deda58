"""
The members as a function of the log: what its entries say of them, and with which entries
a cluster begins. No engine runs here.
"""

from __future__ import annotations

from typing import Final

import msgspec

from alacrity.cluster.log.entries import MEMBERSHIP, NO_OP
from alacrity.cluster.log.members import Member
from alacrity.cluster.log.records import Entry, Snapshot
from alacrity.cluster.log.storage import Storage

FIRST_INDEX: Final = 2
"""
Where the log of a new cluster begins. That of a node that is to join one begins before,
so it always gets a snapshot, and with it the state that the cluster began with.
"""


class MemberChange(msgspec.Struct, frozen=True, array_like=True):
    """
    What a proposer asks for: one member more or one less.
    """

    request_id: str
    add: Member | None
    remove: str | None


class Members(msgspec.Struct, frozen=True, array_like=True):
    """
    What stands in the log: all members from here on.
    """

    request_id: str
    members: tuple[Member, ...]


def bootstrap(storage: Storage, members: tuple[Member, ...], state: bytes) -> None:
    """
    Begin a cluster on an empty storage: all its first members with the same arguments.
    """
    storage.replace(*first_snapshot(members, state))


def make_alone(storage: Storage, member: Member) -> None:
    """
    Let a node be the only member of its cluster, under a name and an address, which may
    be new. The engine must not run.

    B{It takes all others' say.} It is right for one that was alone before; and to go on
    when most members are lost for good, and with them, it may be, what was acknowledged
    last.
    """
    term = max(storage.getCurrentTerm(), storage[-1][2])
    member = msgspec.structs.replace(member, incarnation=storage.incarnation)
    command = encode_members(Members("", (member,)))
    storage.add(command, storage[-1][1] + 1, term)


def members_of(storage: Storage) -> tuple[Member, ...]:
    """
    The members by a storage's log, committed or not; none if it is empty.
    """
    return members_at(storage, storage[-1][1]) if len(storage) else ()


def members_at(log: Storage, index: int) -> tuple[Member, ...]:
    """
    The members by a log up to an index: what its last entry about them says.
    """
    snapshot = log.snapshot
    base = 0 if snapshot is None else snapshot.last_index
    first = log[0][1]
    for at in range(min(index, log[-1][1]), max(base, first - 1), -1):
        command = log[at - first][0]
        if command[:1] == MEMBERSHIP:
            return decode_members(command).members
    return () if snapshot is None else snapshot.members


def first_snapshot(members: tuple[Member, ...], state: bytes) -> tuple[Snapshot, list[Entry]]:
    """
    What a cluster begins with.
    """
    snapshot = Snapshot(state, FIRST_INDEX, 0, tuple(sorted(members)))
    return snapshot, [(NO_OP, FIRST_INDEX, 0)]


def encode_members(members: Members) -> bytes:
    """
    An entry's command, with its kind in front.
    """
    return MEMBERSHIP + msgspec.msgpack.encode(members)


def decode_members(command: bytes) -> Members:
    """
    What L{encode_members} has written.

    @raise msgspec.MsgspecError: it was not.
    """
    return msgspec.msgpack.decode(command[1:], type=Members)
