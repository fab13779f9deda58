"""
Members of the cluster as PySyncObj knows them.
"""

from __future__ import annotations

from zlib import crc32

from pysyncobj.node import Node

from alacrity.cluster.log.members import Member


class Peer(Node):  # type: ignore[misc] # it is not annotated
    """
    A node of PySyncObj's, with its member.

    @ivar member: the member as the log or an operator describes it.
    """

    id: str
    address: str

    def __init__(self, member: Member) -> None:
        super().__init__(member.name, address=member.address)
        self.member = member
        # Not the string's: sets of peers have the same order in each process.
        self._hash = crc32(member.name.encode())

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Peer) and self.id == other.id


def by_name(peer: Peer) -> str:
    """
    The key that peers are sorted by, so that all is done in the same order each time.
    """
    return peer.id
