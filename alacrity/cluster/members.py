"""
Who is in the cluster.
"""

from __future__ import annotations

import msgspec


class Member(msgspec.Struct, frozen=True, array_like=True, order=True):
    """
    One node of the cluster.

    @ivar name: its identity; no two members share one, and it never changes.
    @ivar address: where its peers reach it, C{host:port}.
    @ivar joined: the index of the entry that took it in, which tells it from one of the
        same name that was removed before; 0: it was there from the beginning.
    @ivar incarnation: of its files then; empty: those of the node that each other
        member meets first.
    """

    name: str
    address: str
    joined: int = 0
    incarnation: str = ""

    @property
    def contact(self) -> tuple[str, str]:
        """
        Name and address: what an operator knows of it.
        """
        return self.name, self.address
