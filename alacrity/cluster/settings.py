"""
The part of a node in its cluster, as it is configured.
"""

from __future__ import annotations

import msgspec

from alacrity.cluster.log.members import Member


class NodeSettings(msgspec.Struct, frozen=True):
    """
    The part of a node in its cluster, as it is configured.

    @ivar me: this node.
    @ivar members: the nodes that begin a new cluster, this one among them; empty: this
        node alone.
    @ivar listen: endpoint strings, for the other nodes; empty: this node is alone.
    @ivar fsync: whether a change waits for the disk before it counts as kept.
    """

    me: Member
    members: tuple[Member, ...] = ()
    listen: tuple[str, ...] = ()
    fsync: bool = True
