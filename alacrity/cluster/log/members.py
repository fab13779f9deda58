"""
Members of the cluster.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

Seat: TypeAlias = tuple[int, int]
"""The term and the index of the entry that took a member in; zeros: the member was there from
the beginning."""


class Member(msgspec.Struct, frozen=True, array_like=True, order=True):
    """
    One node of the cluster.

    @ivar name: its identity; no two members share one, and it never changes.
    @ivar address: where its peers reach it, C{host:port}.
    @ivar joined: the index of the entry that took it in, which tells it from a member of
        the same name that was removed before; 0: it was there from the beginning.
    @ivar incarnation: the id of its files; empty: each other member takes the id of the
        node that it meets first.
    @ivar term: of the entry that took it in.
    """

    name: str
    address: str
    joined: int = 0
    incarnation: str = ""
    term: int = 0

    @property
    def seat(self) -> Seat:
        """
        The entry that took it in. Seats of one name are ordered by the term first: of two
        entries, one committed and the other not, either may have the lower index.
        """
        return self.term, self.joined

    @property
    def contact(self) -> tuple[str, str]:
        """
        Name and address, by which operators know a member.
        """
        return self.name, self.address
