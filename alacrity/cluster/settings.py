"""
The configuration of a node's part in the cluster.
"""

from __future__ import annotations

import msgspec

from alacrity.cluster.log.members import Member


class NodeSettings(msgspec.Struct, frozen=True):
    """
    The configuration of a node's part in the cluster.

    @ivar me: this node.
    @ivar members: the nodes that begin a new cluster, including this one; empty: this node
        alone.
    @ivar listen: endpoint strings for the connections of other nodes; empty: a standalone
        node.
    @ivar fsync: whether a change must be on disk before it counts as persisted.
    @ivar ipv6_only: those of C{listen} that leave IPv4 to another socket of this process.
    """

    me: Member
    members: tuple[Member, ...] = ()
    listen: tuple[str, ...] = ()
    fsync: bool = True
    ipv6_only: frozenset[str] = frozenset()
