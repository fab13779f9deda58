"""
Who is in the cluster.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

Seat: TypeAlias = tuple[int, int]
"""The term and the index of an entry that took a member in; zeros: none did."""


class Member(msgspec.Struct, frozen=True, array_like=True, order=True):
    """
    One node of the cluster.

    @ivar name: its identity; no two members share one, and it never changes.
    @ivar address: where its peers reach it, C{host:port}.
    @ivar joined: the index of the entry that took it in, which tells it from one of the
        same name that was removed before; 0: it was there from the beginning.
    @ivar incarnation: of its files; empty: of the files of the node that each other
        member meets first.
    @ivar term: that of the entry that took it in.
    """

    name: str
    address: str
    joined: int = 0
    incarnation: str = ""
    term: int = 0

    @property
    def seat(self) -> Seat:
        """
        By which entry it is a member. Those of one name are ordered: of two, one
        committed and the other not, either may have the lower index.
        """
        return self.term, self.joined

    @property
    def contact(self) -> tuple[str, str]:
        """
        Name and address: what an operator knows of it.
        """
        return self.name, self.address
