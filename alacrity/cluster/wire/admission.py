"""
Admission of the nodes that have proven to have the secret.
"""

from __future__ import annotations

from collections.abc import Callable

from alacrity.cluster.log.members import Member
from alacrity.cluster.log.storage import Storage
from alacrity.cluster.wire.handshake import Identity


class PeerAdmission:
    """
    The rule by which nodes may talk to this one: members, each under the incarnation in
    which it was taken in, or, of those that began the cluster, first met. One without an
    address may be a member or not: it is let in, and not remembered. Nobody is let in
    whose program does not understand what is in the log: it could take nothing of it, and
    vote.
    """

    def __init__(
        self,
        known: Callable[[str], Member | None],
        storage: Storage,
        format: Callable[[], int] = lambda: 1,
    ) -> None:
        """
        @param known: the member of a name; L{None}: there is none.
        @param storage: remembers the incarnations of the nodes that are let in.
        @param format: the version of the log's commands that all have to understand.
        """
        self._known = known
        self._storage = storage
        self._format = format

    def __call__(self, peer: Identity) -> str | None:
        """
        Let a node in that has the secret, or say why it is refused.

        @return: the reason; L{None}: it is let in.
        """
        if peer.format < self._format():
            return (
                f"{peer.name!a} understands commands up to version {peer.format}, and this "
                f"cluster has had some of version {self._format()}: upgrade its program"
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
        # Else it was taken in again, by an entry that this node does not have yet, and
        # may get from nobody else.
        return None
