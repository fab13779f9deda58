"""
Peers: the other nodes of the cluster, in the form that PySyncObj uses.
"""

from __future__ import annotations

from zlib import crc32

from pysyncobj.node import Node

from alacrity.cluster.log.members import Member


class Peer(Node):  # type: ignore[misc] # it is not annotated
    """
    A node in PySyncObj's sense, with its member.

    @ivar member: the member as it is in the log, or as an operator has given it.
    """

    id: str
    address: str

    def __init__(self, member: Member) -> None:
        super().__init__(member.name, address=member.address)
        self.member = member
        # Not the hash of the string, which differs between processes: sets of peers must have
        # the same order in each process.
        self._hash = crc32(member.name.encode())

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Peer) and self.id == other.id


def by_name(peer: Peer) -> str:
    """
    The sort key of peers, so that work is done in the same order each time.
    """
    return peer.id
