"""
Changes of the members: the members that an engine counts and talks with, and how one is
taken in or let go. A node that is to be added catches up first, as a learner.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from alacrity.cluster.log.members import Member, Seat
from alacrity.cluster.raft.adapter import LEADER, RaftAdapter
from alacrity.cluster.raft.environment import Environment
from alacrity.cluster.raft.membership import MemberChange, Members, encode_members, members_at
from alacrity.cluster.raft.messages import Denial
from alacrity.cluster.raft.peer import Peer, by_name
from alacrity.cluster.raft.replication import Replication


class Reconfiguration:
    """
    The members, as the log changes, and how a leader changes them.

    @ivar configuration: the members by the log, committed or not.
    @ivar settled_configuration: the members by the part of it that is applied.
    """

    def __init__(
        self,
        raft: RaftAdapter,
        environment: Environment,
        replication: Replication,
        hand_over: Callable[[str | None], None],
    ) -> None:
        """
        @param hand_over: has the leader hand over, to a member or to whom it likes.
        """
        self.configuration: tuple[Member, ...] = ()
        self.settled_configuration: tuple[Member, ...] = ()
        self._raft = raft
        self._member = environment.member
        self._transport = environment.transport
        self._timing = environment.timing
        self._limits = environment.limits
        self._replication = replication
        self._hand_over = hand_over
        # Each learner, and until when it is waited for.
        self._learners: dict[Peer, float] = {}
        self._seats: dict[Peer, Seat] = {}
        self._change_index = 0

    @property
    def is_member(self) -> bool:
        """Whether this node is in the cluster, as far as its log says."""
        return any(member.name == self._member.name for member in self.configuration)

    @property
    def has_learners(self) -> bool:
        """Whether a node is catching up, to be added."""
        return bool(self._learners)

    # From the log

    def configure(self) -> None:
        """
        Take the members from the log. To be called when it may have changed in that, or
        more of it is applied.

        They count as soon as an entry is in the log, committed or not (Raft, section 6);
        if it is truncated, those before count again, whoever they were. Who is no member
        any more is still talked with until that is committed: it may be elected before.
        """
        raft = self._raft
        try:
            self.configuration = members_at(raft.log, raft.last_index)
            self.settled_configuration = before = members_at(raft.log, raft.applied_index)
        except msgspec.MsgspecError as error:
            raft.halt(f"an entry about the members is not understood: {error}")
            return
        own = Peer(self._member)
        raft.set_others({Peer(each) for each in self.configuration} - {own})
        for peer in raft.others:
            self._learners.pop(peer, None)
        wanted = raft.others | {Peer(each) for each in before} - {own}
        wanted |= set(self._learners)
        seats = {Peer(each): each.seat for each in (*before, *self.configuration)}
        # Taken in by another entry than before: who is connected may be the former one.
        others = {peer for peer, seat in self._seats.items() if seats.get(peer, seat) != seat}
        self._seats = seats
        self._update_peers(wanted, others)

    def _update_peers(self, wanted: set[Peer], others: set[Peer]) -> None:
        """
        Begin with the peers that are new, and end with those that are wanted no more.

        @param others: those that are begun with anew, since they may be other nodes by now.
        """
        raft, replication = self._raft, self._replication
        known = replication.peers
        for peer in sorted(known - wanted, key=by_name):
            if raft.role == LEADER and peer in raft.connected:
                # So that it learns that it was removed.
                replication.send_to(peer)
            raft.log.forget_peer(peer.id)
            self._transport.dropNode(peer)
            raft.connected.discard(peer)
            replication.untrack(peer)
        again = wanted & known & others
        for peer in sorted(again, key=by_name):
            raft.log.forget_peer(peer.id)
            replication.untrack(peer)
        for peer in sorted(wanted - (known - again), key=by_name):
            self._transport.addNode(peer)
            replication.track(peer)
        # Those that stay, too: the log may say more of them than before.
        replication.set_peers(wanted)

    # Into the log

    def change_members(self, change: MemberChange) -> Denial | None:
        """
        Append a change of the members.

        @return: why it was not appended; L{None}: it was.
        """
        members = self._members_after(change)
        if isinstance(members, Denial):
            return members
        members = tuple(map(self._identified, members))
        self._raft.append(encode_members(Members(change.request_id, members)))
        self._change_index = self._raft.last_index
        self.configure()
        return None

    def is_settled(self) -> bool:
        """
        G3. Whether the members may be changed: no other change is under way, nor can one
        of an earlier leader come back.

        Two changes at once, by two leaders, can make two majorities that do not meet.
        What is committed in this term stands on all later leaders' logs. (PySyncObj
        never sets what it would tell a pending change by.)
        """
        first = self._raft.no_op_index
        applied = self._raft.applied_index
        return first is not None and applied >= first and applied >= self._change_index

    def begin_leading(self) -> None:
        """
        Know of no change that this leadership has appended.
        """
        self._change_index = 0

    def _identified(self, member: Member) -> Member:
        """
        A member as the log has it from now on, for those that have not met it.
        """
        storage = self._raft.log
        if member.incarnation:
            return member
        own = member.name == self._member.name
        incarnation = storage.incarnation if own else storage.peers.get(member.name, "")
        return msgspec.structs.replace(member, incarnation=incarnation)

    def _members_after(self, change: MemberChange) -> tuple[Member, ...] | Denial:
        members = self.configuration
        id = change.request_id
        if not self.is_settled():
            return Denial(id, "another change of the members is under way", final=False)
        added = change.add
        if added is None:
            left = tuple(each for each in members if each.name != change.remove)
            if not left:
                return Denial(id, "the last member cannot be removed", final=True)
            if change.remove == self._member.name:
                self._hand_over(None)
                return Denial(id, "the leader is to be removed, and hands over first", final=False)
            return left
        for each in members:
            if each.contact == added.contact:
                return members
            if added.name == each.name or added.address == each.address:
                taken = f"{each.name} at {each.address} is a member already"
                return Denial(id, taken, final=True)
        if not self._has_caught_up(Peer(added)):
            return Denial(id, f"{added.name} has not caught up yet", final=False)
        joined = msgspec.structs.replace(
            added, joined=self._raft.last_index + 1, term=self._raft.term, incarnation=""
        )
        return tuple(sorted((*members, joined)))

    # Learners

    def _has_caught_up(self, peer: Peer) -> bool:
        """
        Whether a node that is to be added has the log, so that it does not hold up the
        others once it counts. If it has not yet, see that it gets it.
        """
        raft = self._raft
        known = peer in self._learners
        self._learners[peer] = raft.now() + self._timing.catch_up
        if not known:
            self.configure()
        match = raft.match_index[peer]
        return match >= max(raft.log[0][1], raft.commit_index - self._limits.ahead)

    def forget_late_learners(self) -> None:
        """
        Give up the learners that have not caught up in time.
        """
        now = self._raft.now()
        self._forget([peer for peer, until in self._learners.items() if until < now])

    def forget_learners(self) -> None:
        """
        Give up all learners: this node does not lead.
        """
        self._forget(list(self._learners))

    def _forget(self, gone: list[Peer]) -> None:
        if gone:
            for peer in gone:
                del self._learners[peer]
            self.configure()

    def disconnected(self, peer: Peer) -> None:
        """
        Give up a learner whose connection is lost.

        It may come back with an empty disk, which is no fault yet, but what it has
        confirmed would be wrong then. If it is asked for again, it begins anew.
        """
        if self._learners.pop(peer, None) is not None:
            self.configure()
