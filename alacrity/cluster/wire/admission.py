"""
Admission of nodes that have proven that they have the secret.
"""

from __future__ import annotations

from collections.abc import Callable

from alacrity.cluster.log.members import Member
from alacrity.cluster.log.storage import Storage
from alacrity.cluster.wire.handshake import Identity


class PeerAdmission:
    """
    The rule that decides which nodes are accepted:

      - A member is accepted if its incarnation is the one that is known for it: from the log,
        or for a member that began the cluster, from the first contact.
      - A member without an address may in fact be another node. It is accepted, and its
        incarnation is not remembered.
      - A node whose program does not understand the format of the log is refused. It could not
        apply the log, but would vote.
    """

    def __init__(
        self,
        known: Callable[[str], Member | None],
        storage: Storage,
        format: Callable[[], int] = lambda: 1,
    ) -> None:
        """
        @param known: gives the member of a name; L{None}: there is none.
        @param storage: remembers the incarnations of accepted nodes.
        @param format: gives the version of commands that all nodes must understand.
        """
        self._known = known
        self._storage = storage
        self._format = format

    def __call__(self, peer: Identity) -> str | None:
        """
        Accept or refuse a node that has the secret.

        @return: the reason to refuse the node; L{None}: it is accepted.
        """
        if peer.format < self._format():
            return (
                f"{peer.name!a} understands commands up to version {peer.format}, but this "
                f"cluster uses version {self._format()}: upgrade its program"
            )
        member = self._known(peer.name)
        if member is None:
            return f"{peer.name!a} is not a member of the cluster"
        if not member.address:
            return None
        expected = member.incarnation or self._storage.peers.get(peer.name)
        if expected is None:
            self._storage.remember_peer(peer.name, peer.incarnation)
        elif expected != peer.incarnation and peer.seat <= member.seat:
            return (
                f"{peer.name!a} came back with an empty disk, or two nodes have this name: "
                f"remove it from the cluster and add it again"
            )
        # Otherwise the peer was added again, by an entry that this node does not have yet, and
        # may get from no other node.
        return None
