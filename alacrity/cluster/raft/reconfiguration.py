"""
Membership changes: the members that an engine counts and communicates with, and how one is
added or removed. A node that is to be added catches up first, as a learner.
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


class Learner(msgspec.Struct, frozen=True):
    """
    The times of a node that is to be added.

    @ivar since: the time at which it became a learner.
    @ivar until: the time by which it must have caught up.
    """

    since: float
    until: float


class Reconfiguration:
    """
    Keeps the members as the log changes, and changes them on the leader.

    @ivar configuration: the members by the log, committed or not.
    @ivar settled_configuration: the members by the applied part of the log.
    """

    def __init__(
        self,
        raft: RaftAdapter,
        environment: Environment,
        replication: Replication,
        hand_over: Callable[[str | None], None],
    ) -> None:
        """
        @param hand_over: begins a leadership transfer to the member of a name; L{None}: to
            any member.
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
        self._fault = environment.fault
        self._learners: dict[Peer, Learner] = {}
        self._seats: dict[Peer, Seat] = {}
        self._change_index = 0

    @property
    def is_member(self) -> bool:
        """Whether this node is a member, by its log."""
        return any(member.name == self._member.name for member in self.configuration)

    @property
    def has_learners(self) -> bool:
        """Whether there are learners."""
        return bool(self._learners)

    # Members by the log

    def configure(self) -> None:
        """
        Read the members from the log. Called when the membership entries may have changed, or
        when more of the log is applied.

        The members of an entry count as soon as it is in the log, committed or not (Raft,
        section 6). If the entry is truncated, the members of the entry before it count again.
        The connection with a removed member is kept until its removal is committed, because
        it may be elected before.
        """
        raft = self._raft
        try:
            self.configuration = members_at(raft.log, raft.last_index)
            self.settled_configuration = before = members_at(raft.log, raft.applied_index)
        except msgspec.MsgspecError as error:
            raft.halt(f"a membership entry cannot be decoded: {error}")
            return
        own = Peer(self._member)
        raft.set_others({Peer(each) for each in self.configuration} - {own})
        for peer in raft.others:
            self._learners.pop(peer, None)
        wanted = raft.others | {Peer(each) for each in before} - {own}
        wanted |= set(self._learners)
        seats = {Peer(each): each.seat for each in (*before, *self.configuration)}
        # Members that were added again by another entry: the connected node may be the former
        # member of that name.
        others = {peer for peer, seat in self._seats.items() if seats.get(peer, seat) != seat}
        self._seats = seats
        self._tell_moved(raft.others)
        self._update_peers(wanted, others)

    def _tell_moved(self, members: set[Peer]) -> None:
        """
        Tell the transport of members that have another address than before.
        """
        before = {peer: peer.address for peer in self._replication.peers}
        for peer in sorted(members, key=by_name):
            if before.get(peer, peer.address) != peer.address:
                self._transport.addNode(peer)

    def _update_peers(self, wanted: set[Peer], others: set[Peer]) -> None:
        """
        Connect to new peers, and drop those that are not wanted any more.

        @param others: peers that may be other nodes by now; all that is known of them is
            forgotten.
        """
        raft, replication = self._raft, self._replication
        known = replication.peers
        for peer in sorted(known - wanted, key=by_name):
            if raft.role == LEADER and peer in raft.connected:
                # This message tells the peer that it was removed.
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
        # Peers that stay are replaced, too: the log may say more about them than before.
        replication.set_peers(wanted)

    # Changes by the leader

    def change_members(self, change: MemberChange) -> Denial | None:
        """
        Append a membership change.

        @return: why the change was not appended; L{None}: it was appended.
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
        G3. Whether the members may be changed now: no other change is pending, and no change
        of an earlier leader can come back.

        Two changes at once, by two leaders, can make two majorities that have no member in
        common. An entry that is committed in this term is in the logs of all later leaders.
        (PySyncObj never sets the variable by which it would detect a pending change.)
        """
        first = self._raft.no_op_index
        applied = self._raft.applied_index
        return first is not None and applied >= first and applied >= self._change_index

    def begin_leading(self) -> None:
        """
        Begin a leadership: it has not appended a membership change yet.
        """
        self._change_index = 0

    def _identified(self, member: Member) -> Member:
        """
        A member with its incarnation, if this node knows that. The log then tells it to nodes
        that have not met the member yet.
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
            return Denial(id, "another membership change is pending", final=False)
        added = change.add
        if added is None:
            left = tuple(each for each in members if each.name != change.remove)
            if not left:
                return Denial(id, "the last member cannot be removed", final=True)
            if change.remove == self._member.name:
                self._hand_over(None)
                return Denial(id, "the leader hands over before it is removed", final=False)
            return left
        if change.remove == added.name:
            return self._moved(id, added)
        for each in members:
            if each.contact == added.contact:
                return members
            if added.name == each.name or added.address == each.address:
                taken = f"{each.name} at {each.address} is a member already"
                return Denial(id, taken, final=True)
        if not self._has_caught_up(Peer(added)):
            return self._not_caught_up(id, added)
        joined = msgspec.structs.replace(
            added, joined=self._raft.last_index + 1, term=self._raft.term, incarnation=""
        )
        return tuple(sorted((*members, joined)))

    def _moved(self, id: str, moved: Member) -> tuple[Member, ...] | Denial:
        """
        The members after one has got another address. It stays the same member, with its seat.
        """
        members = self.configuration
        if all(each.name != moved.name for each in members):
            return Denial(id, f"there is no member {moved.name}", final=True)
        for each in members:
            if each.address == moved.address and each.name != moved.name:
                return Denial(id, f"{moved.address} is the address of {each.name}", final=True)
        return tuple(
            msgspec.structs.replace(each, address=moved.address)
            if each.name == moved.name
            else each
            for each in members
        )

    # Learners

    def _has_caught_up(self, peer: Peer) -> bool:
        """
        Whether a node that is to be added has nearly all of the log, so that it does not delay
        commits once it counts. Makes the node a learner, which gets the log.
        """
        raft = self._raft
        known = self._learners.get(peer)
        now = raft.now()
        since = now if known is None else known.since
        self._learners[peer] = Learner(since, now + self._timing.catch_up)
        if known is None:
            self.configure()
        match = raft.match_index[peer]
        return match >= max(raft.log[0][1], raft.commit_index - self._limits.ahead)

    def _not_caught_up(self, id: str, added: Member) -> Denial:
        """
        The denial of the addition of a learner, for now; or for good, if there has been a reason
        why it is not connected for a while.
        """
        peer = Peer(added)
        fault = None if peer in self._raft.connected else self._fault(added.name)
        if fault is None:
            return Denial(id, f"{added.name} has not caught up yet", final=False)
        waited = self._raft.now() - self._learners[peer].since
        reason = f"{added} is not added: {fault}"
        if waited < self._timing.unreachable:
            return Denial(id, reason, final=False)
        self._forget([peer])
        return Denial(id, reason, final=True)

    def forget_late_learners(self) -> None:
        """
        Drop the learners that have not caught up in time.
        """
        now = self._raft.now()
        self._forget([peer for peer, each in self._learners.items() if each.until < now])

    def forget_learners(self) -> None:
        """
        Drop all learners: this node is not the leader.
        """
        self._forget(list(self._learners))

    def _forget(self, gone: list[Peer]) -> None:
        if gone:
            for peer in gone:
                del self._learners[peer]
            self.configure()

    def disconnected(self, peer: Peer) -> None:
        """
        Drop a learner whose connection is lost.

        A learner is allowed to come back with an empty disk, but then the entries that it has
        confirmed are lost. A new request to add the node starts from the beginning.
        """
        if self._learners.pop(peer, None) is not None:
            self.configure()
