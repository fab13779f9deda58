"""
The beginning of a cluster: when a node with an empty log may take part in elections.
"""

from __future__ import annotations

from alacrity.cluster.raft.adapter import RaftAdapter
from alacrity.cluster.raft.membership import FIRST_INDEX
from alacrity.cluster.raft.peer import Peer
from alacrity.cluster.raft.reconfiguration import Reconfiguration


class Beginning:
    """
    Keeps a node from elections as long as it may have lost its files.

    Such a node cannot know whether it begins a cluster, or was a member of one and has lost all
    that it knew, its votes included. If most members lose their files at once, they would elect a
    leader among themselves, without any acknowledged write. So a node with an empty log counts
    only once it has been connected with all other members at the same time, and each of them has
    an empty log as well. Connections are made by mutual consent, and a member that has met this
    node before refuses it if its files are others. A node that receives the log of a leader
    counts, too: that leader was elected by nodes that count.
    """

    def __init__(self, raft: RaftAdapter, reconfiguration: Reconfiguration) -> None:
        self._raft = raft
        self._reconfiguration = reconfiguration
        self._heard: set[Peer] = set()
        self._is_over = False

    def connected(self, peer: Peer, *, has_entries: bool) -> None:
        """
        Note a new connection.

        @param has_entries: whether the peer's log has more than the beginning of a cluster.
        """
        if has_entries:
            self._heard.discard(peer)
        else:
            self._heard.add(peer)

    def disconnected(self, peer: Peer) -> None:
        """
        Note that the connection with a peer is lost.
        """
        self._heard.discard(peer)

    @property
    def is_over(self) -> bool:
        """
        Whether this node may take part in elections.
        """
        if not self._is_over:
            has_entries = self._raft.last_index > FIRST_INDEX
            self._is_over = has_entries or (
                self._reconfiguration.configuration != () and self._raft.others <= self._heard
            )
        return self._is_over

    @property
    def missing(self) -> tuple[str, ...]:
        """
        The names of the members that this node has to hear before it may take part.
        """
        if self.is_over:
            return ()
        return tuple(peer.id for peer in self._raft.sorted_others if peer not in self._heard)
