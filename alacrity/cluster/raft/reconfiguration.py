"""
Changes of the members: which of them an engine counts and talks with, and how one is
taken in or let go. A node that is to be added catches up first, as a learner.
"""

from __future__ import annotations

from abc import abstractmethod

import msgspec

from alacrity.cluster.log.members import Member, Seat
from alacrity.cluster.raft.elections import Elections
from alacrity.cluster.raft.environment import Environment, Peer, by_name
from alacrity.cluster.raft.membership import MemberChange, Members, encode_members, members_at
from alacrity.cluster.raft.messages import Denial
from alacrity.cluster.raft.raft import LEADER
from alacrity.cluster.raft.replication import Replication


class Reconfiguration(Elections, Replication):
    """
    The members, as the log changes, and how a leader changes them.
    """

    def __init__(self, around: Environment) -> None:
        self._learners: dict[Peer, float] = {}
        self._seats: dict[Peer, Seat] = {}
        self._change_index = 0
        super().__init__(around)

    @abstractmethod
    def _settled(self) -> bool:
        """G3. Whether the members may be changed."""

    # From the log

    def _configure(self) -> None:
        """
        Take the members from the log. To be called when it may have changed in that, or
        more of it is applied.

        They count as soon as an entry is in the log, committed or not (Raft, section 6);
        if it is truncated, those before count again, whoever they were. Who is no member
        any more is still talked with until that is committed: it may be elected before.
        """
        try:
            self.configuration = members_at(self._SyncObj__raftLog, self.last_index)
            self.settled_configuration = before = members_at(
                self._SyncObj__raftLog, self.applied_index
            )
        except msgspec.MsgspecError as error:
            self.halt(f"an entry about the members is not understood: {error}")
            return
        own = Peer(self._member)
        self._SyncObj__otherNodes = {Peer(each) for each in self.configuration} - {own}
        for peer in self._SyncObj__otherNodes:
            self._learners.pop(peer, None)
        wanted = self._SyncObj__otherNodes | {Peer(each) for each in before} - {own}
        wanted |= set(self._learners)
        seats = {Peer(each): each.seat for each in (*before, *self.configuration)}
        # Taken in by another entry than before: who is connected may be the former one.
        others = {peer for peer, seat in self._seats.items() if seats.get(peer, seat) != seat}
        self._seats = seats
        for peer in sorted(self._peers - wanted, key=by_name):
            if self.role == LEADER and peer in self._SyncObj__connectedNodes:
                # So that it learns that it was removed.
                self._replicate(peer)
            self._transport.dropNode(peer)
            self._SyncObj__connectedNodes.discard(peer)
            self._end_with(peer)
        for peer in sorted(wanted & self._peers & others, key=by_name):
            self._SyncObj__raftLog.forget_peer(peer.id)
            self._end_with(peer)
            self._peers.discard(peer)
        for peer in sorted(wanted - self._peers, key=by_name):
            self._transport.addNode(peer)
            self._begin_with(peer)
        self._peers = wanted

    # Into the log

    def _change_members(self, origin: Peer | None, change: MemberChange) -> None:
        """
        Append a change of the members, or say why not.
        """
        denial = self._members_after(change)
        if isinstance(denial, tuple):
            members = tuple(map(self._identified, denial))
            self._append(encode_members(Members(change.request_id, members)))
            self._change_index = self.last_index
            self._configure()
        else:
            self._deny(origin, denial)

    def _identified(self, member: Member) -> Member:
        """
        A member as the log has it from now on, for those that have not met it.
        """
        storage = self._SyncObj__raftLog
        if member.incarnation:
            return member
        own = member.name == self._member.name
        incarnation = storage.incarnation if own else storage.peers.get(member.name, "")
        return msgspec.structs.replace(member, incarnation=incarnation)

    def _members_after(self, change: MemberChange) -> tuple[Member, ...] | Denial:
        members = self.configuration
        id = change.request_id
        if not self._settled():
            return Denial(id, "another change of the members is under way", final=False)
        added = change.add
        if added is None:
            left = tuple(each for each in members if each.name != change.remove)
            if not left:
                return Denial(id, "the last member cannot be removed", final=True)
            if change.remove == self._member.name:
                self.hand_over(None)
                return Denial(id, "the leader is to be removed, and hands over first", final=False)
            return left
        for each in members:
            if each.contact == added.contact:
                return members
            if added.name == each.name or added.address == each.address:
                taken = f"{each.name} at {each.address} is a member already"
                return Denial(id, taken, final=True)
        if not self._caught_up(Peer(added)):
            return Denial(id, f"{added.name} has not caught up yet", final=False)
        joined = msgspec.structs.replace(
            added, joined=self.last_index + 1, term=self.term, incarnation=""
        )
        return tuple(sorted((*members, joined)))

    # Learners

    def _caught_up(self, peer: Peer) -> bool:
        """
        Whether a node that is to be added has the log, so that it does not hold up the
        others once it counts. If it has not yet, see that it gets it.
        """
        known = peer in self._learners
        self._learners[peer] = self._now() + self._timing.catch_up
        if not known:
            self._configure()
        match = self._SyncObj__raftMatchIndex[peer]
        return match >= max(self._SyncObj__raftLog[0][1], self.commit_index - self._limits.ahead)

    def _forget_learners(self, *, all_of_them: bool) -> None:
        now = self._now()
        gone = [peer for peer, until in self._learners.items() if all_of_them or until < now]
        if gone:
            for peer in gone:
                del self._learners[peer]
            self._configure()

    def _SyncObj__onNodeDisconnected(self, node: Peer) -> None:
        super()._SyncObj__onNodeDisconnected(node)
        if self._learners.pop(node, None) is not None:
            # It may come back with an empty disk, which is no fault yet, but what it has
            # confirmed would be wrong then. If it is asked for again, it begins anew.
            self._configure()

    # Terms and roles

    def _SyncObj__onBecomeLeader(self) -> None:
        self._change_index = 0
        super()._SyncObj__onBecomeLeader()

    def _stepped_down(self) -> None:
        super()._stepped_down()
        self._forget_learners(all_of_them=True)
