"""
The Raft engine: PySyncObj's, with guards.

PySyncObj 0.3.17 loses acknowledged writes when its log is compacted, when members
change and when nodes crash. The engine keeps its elections, its ticks, its commit rule
and its book-keeping, behind L{RaftAdapter}, and replaces the unsafe parts. The replacements
are called guards; the docstring of each names its reason:

  - B{G1}, L{Following.verified}: commit only entries that are proved equal to the leader's.
  - B{G2}, L{Following.take}: truncate only on conflict, and never committed entries.
  - B{G3}, L{Reconfiguration.is_settled}: one membership change at a time; the members are a
    function of the log; a leader is followed even if it is not among the pending members.
  - B{G4}, L{Replication.counts}: replies carry the term they belong to.
  - B{G5}, L{Following.on_mismatch}: the last common entry is found in one step, with one
    message at a time.
  - B{G6}, L{Following.install}: snapshot and log change together, or not at all.
  - B{G7}, L{Applying.apply_committed}: applying an entry never raises; an entry that is not
    understood halts the node.
  - B{G8}, L{Replication.send_to_all}: no endless loop of sending; snapshots are sent in
    slices, each after the one before has arrived.

Two more additions: pre-votes, so that a node that hears nobody cannot depose a leader; and a
new member catches up before it counts.

An engine does no I/O. It runs in steps, each a message or a tick. The changes of a step must
be on disk before its messages leave the node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from twisted.logger import Logger

from alacrity.cluster.log.members import Member
from alacrity.cluster.raft.adapter import LEADER, Hooks, RaftAdapter
from alacrity.cluster.raft.applying import Applying
from alacrity.cluster.raft.commands import Commands
from alacrity.cluster.raft.compaction import Compaction
from alacrity.cluster.raft.elections import Elections
from alacrity.cluster.raft.environment import Environment
from alacrity.cluster.raft.following import Following
from alacrity.cluster.raft.messages import (
    AppendEntries,
    Denial,
    HandOver,
    InstallSnapshot,
    PreVote,
    PreVoteReply,
    Propose,
    Reply,
    RequestVote,
    ResponseVote,
    SnapshotReply,
    TimeoutNow,
    parse,
)
from alacrity.cluster.raft.peer import Peer, by_name
from alacrity.cluster.raft.reconfiguration import Reconfiguration
from alacrity.cluster.raft.replication import Replication
from alacrity.cluster.raft.transfer import LeadershipTransfer


class Rooms(msgspec.Struct, frozen=True):
    """
    The classes of an engine's parts; tests replace some.
    """

    adapter: type[RaftAdapter] = RaftAdapter
    replication: type[Replication] = Replication
    reconfiguration: type[Reconfiguration] = Reconfiguration
    elections: type[Elections] = Elections
    following: type[Following] = Following
    applying: type[Applying] = Applying
    commands: type[Commands] = Commands


class Engine:
    """
    One node's Raft: passes messages and ticks to the parts that handle them.

    @ivar raft: terms, roles, log and indexes.
    """

    _log = Logger()

    def __init__(self, environment: Environment, rooms: Rooms | None = None) -> None:
        """
        @raise CannotApply: the snapshot in the storage is not understood.
        """
        rooms = rooms or Rooms()
        if environment.storage.snapshot is not None:
            environment.machine.restore(environment.storage.snapshot.state)
        self.raft = raft = rooms.adapter(environment)
        self.transfer = LeadershipTransfer(raft, environment)
        self.replication = rooms.replication(raft, environment)
        self.reconfiguration = rooms.reconfiguration(
            raft, environment, self.replication, self.transfer.hand_over
        )
        self.elections = rooms.elections(raft, environment, self.reconfiguration)
        self.compaction = Compaction(raft, environment, self.replication)
        self.following = rooms.following(
            raft, environment, self.elections, self.reconfiguration, self.compaction
        )
        self.applying = rooms.applying(raft, environment, self.reconfiguration)
        self.commands = rooms.commands(raft, environment, self.replication, self.reconfiguration)
        raft.set_hooks(
            Hooks(
                before_new_term=self.elections.forget_votes,
                before_leading=self._begin_leading,
                take_commands=self.commands.take_waiting,
                apply_committed=self.applying.apply_committed,
                send_entries=self.replication.send_to_all,
                compact=self.compaction.compact,
            )
        )
        self.reconfiguration.configure()
        if len(self.configuration) == 1 and self.is_member:
            # The only member starts its election at once.
            raft.set_election_deadline(float("-inf"))

    def __repr__(self) -> str:
        return f"<Engine {self.halted or self.raft}>"

    # Events

    def receive(self, peer: Peer, message: dict[str, Any]) -> None:
        """
        Handle a message from a peer. An invalid message is logged and ignored.
        """
        if self.raft.halted is not None:
            return
        try:
            parsed = parse(message)
        except msgspec.ValidationError as error:
            self._log.warn(
                "{name} has sent an invalid message: {fault}", name=peer.id, fault=str(error)
            )
            return
        match parsed:
            case AppendEntries():
                self.following.on_append_entries(peer, parsed)
            case InstallSnapshot():
                self.following.on_install_snapshot(peer, parsed)
            case Reply():
                self._enter_later_term(parsed.term)
                self.replication.on_reply(peer, parsed)
            case SnapshotReply():
                self._enter_later_term(parsed.term)
                self.replication.on_snapshot_reply(peer, parsed)
            case PreVote():
                self.elections.on_pre_vote(peer, parsed)
            case PreVoteReply():
                self.elections.on_pre_vote_reply(peer, parsed)
            case RequestVote():
                self.elections.on_request_vote(peer, parsed)
            case ResponseVote():
                self.elections.on_response_vote(peer, parsed)
            case TimeoutNow():
                self.raft.handle(peer, parsed)
            case Propose(request_id, command):
                self.commands.submit(peer, request_id, command)
            case Denial():
                self.commands.on_denial(parsed)
            case HandOver(target):
                if self.raft.role == LEADER:
                    self.transfer.hand_over(target)

    def _enter_later_term(self, term: int) -> None:
        if term > self.raft.term:
            self.elections.enter_later_term(term)

    def connected(self, peer: Peer, *, has_entries: bool = False) -> None:
        """
        Note that a new connection with a peer was made.

        @param has_entries: whether the peer's log has more than the beginning of a cluster.
        """
        self.raft.connected.add(peer)
        self.elections.beginning.connected(peer, has_entries=has_entries)
        self.replication.connected(peer)

    def disconnected(self, peer: Peer) -> None:
        """
        Note that the connection with a peer is lost.
        """
        self.raft.connected.discard(peer)
        self.elections.beginning.disconnected(peer)
        self.reconfiguration.disconnected(peer)

    def tick(self) -> None:
        """
        Run one tick: start an election, commit, apply, send or step down, as is due.
        """
        raft = self.raft
        if raft.halted is not None:
            return
        was_leader = raft.role == LEADER
        if not was_leader:
            self.elections.maybe_ask_for_pre_votes()
        raft.run_tick()
        self.elections.end_tick()
        if raft.role == LEADER:
            self.reconfiguration.forget_late_learners()
            self.transfer.proceed()
        elif was_leader or self.reconfiguration.has_learners:
            self.elections.step_down()

    # Requests of this node

    def submit(self, request_id: str, command: bytes) -> None:
        """
        Propose a command of this node, see L{Commands.submit}.
        """
        self.commands.submit(None, request_id, command)

    def hand_over(self, target: str | None) -> None:
        """
        Ask for a leadership transfer, see L{LeadershipTransfer.hand_over}.
        """
        self.transfer.hand_over(target)

    def discount_stall(self, stalled: float) -> None:
        """
        Discount a stall of this process, see L{Elections.discount_stall}.
        """
        self.elections.discount_stall(stalled)

    def halt(self, reason: str) -> None:
        """
        Halt: do nothing any more.
        """
        self.raft.halt(reason)

    def begin_step(self) -> None:
        """
        Begin a step, which may consist of several ticks.
        """
        self.applying.begin_step()

    def replay(self, between: Callable[[], object] = lambda: None) -> None:
        """
        Apply all entries that are known to be committed when the node starts, without a tick.

        @param between: called after each part of the entries.
        """
        while self.halted is None and self.applied_index < self.commit_index:
            self.applying.begin_step()
            self.applying.apply_committed()
            between()
        self.applying.end_steps()

    def _begin_leading(self) -> None:
        """
        Forget the state of an earlier leadership.
        """
        self.reconfiguration.begin_leading()
        self.transfer.forget()
        self.replication.begin_leading()

    # State for this node

    @property
    def halted(self) -> str | None:
        """The reason why this node has halted; L{None}: it has not."""
        return self.raft.halted

    @property
    def term(self) -> int:
        """The current term."""
        return self.raft.term

    @property
    def role(self) -> int:
        """See L{RaftAdapter.role}."""
        return self.raft.role

    @property
    def leader(self) -> Peer | None:
        """See L{RaftAdapter.leader}."""
        return self.raft.leader

    @property
    def commit_index(self) -> int:
        """See L{RaftAdapter.commit_index}."""
        return self.raft.commit_index

    @property
    def applied_index(self) -> int:
        """See L{RaftAdapter.applied_index}."""
        return self.raft.applied_index

    @property
    def last_index(self) -> int:
        """See L{RaftAdapter.last_index}."""
        return self.raft.last_index

    @property
    def configuration(self) -> tuple[Member, ...]:
        """See L{Reconfiguration}."""
        return self.reconfiguration.configuration

    @property
    def settled_configuration(self) -> tuple[Member, ...]:
        """See L{Reconfiguration}."""
        return self.reconfiguration.settled_configuration

    @property
    def is_member(self) -> bool:
        """Whether this node is a member, by its log."""
        return self.reconfiguration.is_member

    @property
    def peers(self) -> list[Peer]:
        """The peers to connect to, see L{Replication}, sorted by name."""
        return sorted(self.replication.peers, key=by_name)

    @property
    def is_leader(self) -> bool:
        """
        Whether this node is the leader, and has applied all entries that were committed before
        it was elected.
        """
        raft = self.raft
        first = raft.no_op_index
        return raft.role == LEADER and first is not None and raft.applied_index >= first

    @property
    def has_quorum(self) -> bool:
        """See L{Elections.has_quorum}."""
        return self.elections.has_quorum

    @property
    def matches(self) -> dict[str, int]:
        """
        On the leader: the last index up to which a member's log is known to equal the
        leader's, by the names of the other members.
        """
        return {peer.id: self.raft.match_index[peer] for peer in self.raft.sorted_others}

    @property
    def awaited(self) -> tuple[str, ...]:
        """See L{Beginning.missing<alacrity.cluster.raft.beginning.Beginning.missing>}."""
        return self.elections.beginning.missing

    def all_heard(self) -> bool:
        """See L{Commands.all_heard}."""
        return self.commands.all_heard()

    def version_of_all(self) -> int:
        """See L{Commands.version_of_all}."""
        return self.commands.version_of_all()

    @property
    def progress(self) -> tuple[int, int, int]:
        """Values that change in a tick if the next tick has more to do."""
        raft = self.raft
        return raft.last_index, raft.commit_index, raft.role
