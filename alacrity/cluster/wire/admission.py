"""
Admission of nodes that have proven that they have the secret.
"""

from __future__ import annotations

from collections.abc import Callable

from alacrity.cluster.log.formats import GREETING_FORMAT
from alacrity.cluster.log.members import Member
from alacrity.cluster.log.storage import Storage
from alacrity.cluster.wire.greeting import Greeting
from alacrity.cluster.wire.handshake import Identity


class PeerAdmission:
    """
    The rule that decides which nodes are accepted, first by their identity, in the handshake, and
    then by their greeting (see L{greeted}):

      - A member is accepted if its incarnation is the one that is known for it: from the log,
        or for a member that began the cluster, from the first contact.
      - A member without an address may in fact be another node. It is accepted, and its
        incarnation is not remembered.
      - A node whose program does not understand the format of the log is refused. It could not
        apply the log, but would vote.
      - A node of another cluster is refused, by the cluster's id. A member without an id is
        accepted if its incarnation is known: its log does not have the entry with the id yet.
        Otherwise it may have lost its files, and is refused.
      - A node that is no member is refused.
      - As long as both nodes begin a cluster, their lists of members must be equal.
    """

    def __init__(
        self,
        known: Callable[[str], Member | None],
        storage: Storage,
        format: Callable[[], int] = lambda: 1,
        own: Callable[[], Greeting] = Greeting,
        is_learner: Callable[[str], bool] = lambda name: False,
    ) -> None:
        """
        @param known: gives the member of a name; L{None}: there is none.
        @param storage: remembers the incarnations of accepted nodes.
        @param format: gives the version of commands that all nodes must understand.
        @param own: gives the greeting of this node.
        @param is_learner: says whether a node is to be added to the cluster.
        """
        self._known = known
        self._storage = storage
        self._format = format
        self._own = own
        self._is_learner = is_learner

    def __call__(self, peer: Identity) -> str | None:
        """
        Accept or refuse a node that has the secret, by its identity.

        @return: the reason to refuse the node; L{None}: it is accepted.
        """
        if peer.format < self._format():
            return (
                f"{peer.name!a} understands commands up to version {peer.format}, but this "
                f"cluster uses version {self._format()}: upgrade its program"
            )
        member = self._known(peer.name)
        if member is None:
            # A node that greets first says more, and is told more.
            return None if peer.format >= GREETING_FORMAT else _not_a_member(peer)
        if not member.address:
            return None
        expected = self._expected(member)
        if expected is None:
            if not self._own().cluster_id:
                self._remember(peer)
        elif expected != peer.incarnation and peer.seat <= member.seat:
            return (
                f"{peer.name!a} came back with an empty disk, or two nodes have this name: "
                f"remove it from the cluster and add it again"
            )
        # Otherwise the peer was added again, by an entry that this node does not have yet, and
        # may get from no other node.
        return None

    def greeted(self, peer: Identity, greeting: Greeting | None) -> str | None:
        """
        Accept or refuse a node that was accepted by its identity, by its greeting.

        @param greeting: L{None}: its program does not know greetings.
        @return: the reason to refuse the node; L{None}: it is accepted.
        """
        own = self._own()
        said = greeting or Greeting()
        if own.cluster_id and said.cluster_id and own.cluster_id != said.cluster_id:
            return (
                f"{peer.name!a} belongs to another cluster, {said.cluster_id}; this one is "
                f"{own.cluster_id}. To move a node here, let it join with an empty state directory"
            )
        differ = greeting is not None and _lists_differ(own, said)
        members = (
            f"its cluster.members are {', '.join(said.members)}, and those of "
            f"{own.name!a} {', '.join(own.members)}"
        )
        member = self._known(peer.name)
        if member is None:
            return f"{_not_a_member(peer)}{f': {members}' if differ else ''}"
        if differ and not own.has_entries and not said.has_entries:
            return f"{members}: give all nodes of a new cluster the same list"
        if member.address and self._expected(member) is None:
            is_behind = own.cluster_id != said.cluster_id and not self._is_learner(peer.name)
            if own.cluster_id and is_behind and peer.seat <= member.seat:
                return (
                    f"{peer.name!a} does not know the id of this cluster, {own.cluster_id}, and "
                    f"was not met before: it may have lost its files. Remove it from the cluster, "
                    f"and let it join with an empty state directory"
                )
            self._remember(peer)
        return None

    def _remember(self, peer: Identity) -> None:
        self._storage.remember_peer(peer.name, peer.incarnation)

    def _expected(self, member: Member) -> str | None:
        """
        The incarnation that a member must have; L{None}: any.
        """
        return member.incarnation or self._storage.peers.get(member.name)


def _not_a_member(peer: Identity) -> str:
    return f"{peer.name!a} is not a member of the cluster"


def _lists_differ(own: Greeting, other: Greeting) -> bool:
    """
    Whether two nodes have different lists of members, of which one is that of a new cluster.
    """
    if own.waits or other.waits or (own.has_entries and other.has_entries):
        return False
    return own.members != other.members
