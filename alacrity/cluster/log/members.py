"""
Members of the cluster.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

Seat: TypeAlias = tuple[int, int]
"""The term and the index of the entry that added a member; zeros: the member began the
cluster."""


class Member(msgspec.Struct, frozen=True, array_like=True, order=True):
    """
    One node of the cluster.

    @ivar name: the name, which is unique in the cluster and never changes.
    @ivar address: the address for its peers, C{host:port}.
    @ivar joined: the index of the entry that added the member, which distinguishes it from a
        removed member of the same name; 0: the member began the cluster.
    @ivar incarnation: the id of the member's files; empty: each other member remembers the id
        of the first node that connects under this name.
    @ivar term: the term of the entry that added the member.
    """

    name: str
    address: str
    joined: int = 0
    incarnation: str = ""
    term: int = 0

    def __str__(self) -> str:
        """
        The member as in C{cluster.members}.
        """
        return self.address if self.name == self.address else f"{self.name}={self.address}"

    @property
    def seat(self) -> Seat:
        """
        The term and the index of the entry that added the member. Seats of one name are
        compared by the term first: of a committed and an uncommitted entry, either may have
        the lower index.
        """
        return self.term, self.joined

    @property
    def contact(self) -> tuple[str, str]:
        """
        The name and the address, as operators give them.
        """
        return self.name, self.address
