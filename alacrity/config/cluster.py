"""
The table C{[cluster]}.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from alacrity.config.endpoints import endpoints
from alacrity.config.readers import (
    address,
    boolean,
    choice,
    file,
    node_name,
    nodes,
)
from alacrity.net.addresses import NodeAddress

STANDALONE: Final = "standalone"
"""The name of a node that is alone and has been given no other."""

Serve: TypeAlias = Literal["all", "leader"]


class ClusterSettings(msgspec.Struct, frozen=True):
    """
    C{[cluster]}

    @ivar listen: endpoint strings, for the other nodes; empty: this node is alone.
    @ivar advertise: where the other nodes reach this one, C{host:port}; empty: nowhere.
    @ivar name: the node's, if it was given one; see L{me}.
    @ivar members: the nodes that begin a new cluster, this one among them; empty: this
        node alone. A cluster goes by the members that it has agreed on later.
    @ivar secret_file: the file with the secret that all nodes share; empty: there is
        none, and everybody who can connect may be a member.
    @ivar serve: the nodes that take requests for the servers: all, or the leader alone.
    @ivar fsync: whether a change waits for the disk before it counts as kept. A change that
        does not, survives the death of the process, not that of the machine.
    """

    listen: Annotated[tuple[str, ...], endpoints] = ()
    advertise: Annotated[str, address] = ""
    name: Annotated[str, node_name] = ""
    members: Annotated[tuple[NodeAddress, ...], nodes] = ()
    secret_file: Annotated[str, file] = ""
    serve: Annotated[Serve, choice(Serve)] = "all"
    fsync: Annotated[bool, boolean] = True

    @property
    def me(self) -> NodeAddress:
        """
        This node. Its name is by default the address that it advertises.
        """
        return NodeAddress(self.name or self.advertise or STANDALONE, self.advertise)
