"""
The Raft engine: PySyncObj's, with guards.

PySyncObj 0.3.17 loses acknowledged writes when its log is compacted, when members
change and when nodes crash. L{Engine} keeps its elections, its ticks, its commit rule
and its book-keeping, and replaces, one method each, what is not safe. The guards:

  - B{G1}, L{Engine._verified}: commit only what is proved equal to the leader's log.
  - B{G2}, L{Engine._take}: truncate only on conflict, and never what is committed.
  - B{G3}, L{Engine._settled}: one change of the members at a time; the members are a
    function of the log; leaders are followed whatever the pending members are.
  - B{G4}, L{Engine._counts}: replies carry the term they belong to.
  - B{G5}, L{Engine._on_mismatch}: common ground is found in one step, and looked for one
    message at a time.
  - B{G6}, L{Engine._install}: snapshot and log change as one.
  - B{G7}, L{Engine._SyncObj__applyLogEntries}: nothing that is applied raises; what
    cannot be understood halts the node.
  - B{G8}, L{Engine._SyncObj__sendAppendEntries}: nothing is sent in an endless loop;
    snapshots go in slices, each when the one before has arrived.

and beyond those: a pre-vote, so that a node that hears nobody cannot depose a leader;
a new member catches up before it counts.

The names with C{_SyncObj__} are PySyncObj's private ones. It is pinned for them.

An engine does no I/O. It runs in steps, a message or a tick each, and what a step has
changed must be on disk before anything that it has sent leaves the node.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any, Final, Protocol
from zlib import crc32

import msgspec
from pysyncobj import SyncObj, SyncObjConf, syncobj
from pysyncobj.node import Node
from pysyncobj.transport import Transport
from twisted.logger import Logger

from alacrity.cluster.members import Member
from alacrity.cluster.messages import (
    AppendEntries,
    Denial,
    Entry,
    HandOver,
    InstallSnapshot,
    Message,
    PreVote,
    PreVoteReply,
    Propose,
    Reply,
    RequestVote,
    ResponseVote,
    SnapshotReply,
    TimeoutNow,
    parse,
    plain,
)
from alacrity.cluster.records import Snapshot
from alacrity.cluster.storage import Storage

REGULAR: Final = b"\0"
NO_OP: Final = b"\1"
MEMBERSHIP: Final = b"\2"
"""The first byte of an entry's command: PySyncObj's types."""

FOLLOWER: Final = 0
CANDIDATE: Final = 1
LEADER: Final = 2

FIRST_INDEX: Final = 2
"""
Where the log of a new cluster begins. That of a node that is to join one begins before,
so it always gets a snapshot, and with it the state that the cluster began with.
"""


class Timing(msgspec.Struct, frozen=True):
    """
    How long the engine waits, in seconds.

    @ivar heartbeat: the leader's interval.
    @ivar election: a follower that has not heard a leader for a time between the two
        stands for election.
    @ivar fallback: a leader that has not heard a majority for so long steps down.
    @ivar resend: a slice of a snapshot that was not confirmed is sent again.
    @ivar catch_up: a new member that has not caught up is given up, unless it is
        asked for again.
    """

    heartbeat: float = 0.1
    election: tuple[float, float] = (0.4, 0.8)
    fallback: float = 1.5
    resend: float = 1.0
    catch_up: float = 10.0


class Limits(msgspec.Struct, frozen=True):
    """
    How much the engine takes on.

    @ivar log: entries, beyond which the log is compacted.
    @ivar batch: bytes of commands in a message, unless one alone is longer.
    @ivar slice: bytes of a snapshot in a message.
    @ivar ahead: entries sent to a follower that it has not confirmed.
    @ivar backlog: entries appended and not committed, beyond which commands are denied.
    @ivar applied: entries applied in one tick.
    """

    log: int = 5000
    batch: int = 1 << 16
    slice: int = 1 << 16
    ahead: int = 1024
    backlog: int = 2048
    applied: int = 256


class MemberChange(msgspec.Struct, frozen=True, array_like=True):
    """
    What a proposer asks for: one member more or one less.
    """

    request_id: str
    add: Member | None
    remove: str | None


class Members(msgspec.Struct, frozen=True, array_like=True):
    """
    What stands in the log: all members from here on.
    """

    request_id: str
    members: tuple[Member, ...]


class CannotApply(Exception):
    """
    The machine does not understand a committed command, or a snapshot. The message
    is one line.
    """


class Machine(Protocol):
    """
    What the log's commands are applied to, and who hears of it.

    @ivar version: the newest version of commands that it understands.
    """

    version: int

    def apply(self, command: bytes) -> None:
        """
        @raise CannotApply: nothing was changed.
        """

    def encode(self) -> bytes:
        """The state, for a snapshot."""

    def restore(self, state: bytes) -> None:
        """
        Take a snapshot's state.

        @raise CannotApply: nothing was changed.
        """

    def readable(self, command: bytes, version: int) -> bool:
        """Whether nodes that understand commands up to a version understand this one."""

    def members_applied(self, request_id: str | None, members: tuple[Member, ...]) -> None:
        """
        These are the members for certain.

        @param request_id: who asked for it; L{None}: a snapshot says so.
        """

    def denied(self, request_id: str, reason: str, *, final: bool) -> None:
        """A command of this node was not appended, by this attempt."""

    def compact(self, snapshot: Snapshot) -> None:
        """Put a snapshot in the place of the entries up to it, some time."""


class Peer(Node):  # type: ignore[misc] # it is not annotated
    """
    A member as PySyncObj knows it.
    """

    id: str
    address: str

    def __init__(self, member: Member) -> None:
        super().__init__(member.name, address=member.address)
        # Not the string's: sets of peers have the same order in each process.
        self._hash = crc32(member.name.encode())

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Peer) and self.id == other.id

    @property
    def member(self) -> Member:
        """As it is written down."""
        return Member(self.id, self.address)


class _Transfer(msgspec.Struct):
    """
    A snapshot on its way to a follower.
    """

    snapshot: Snapshot
    offset: int = 0
    resend_at: float = 0.0


class _Arrival(msgspec.Struct):
    """
    A snapshot on its way from the leader.
    """

    key: tuple[str, int, int, int, int]
    data: bytearray


class _NoPoller:
    """
    There are no sockets to poll.
    """

    def poll(self, timeout: float) -> None:
        """Nothing."""


def bootstrap(storage: Storage, members: tuple[Member, ...], state: bytes) -> None:
    """
    Begin a cluster on an empty storage: all its first members with the same arguments.
    """
    storage.replace(*first_snapshot(members, state))


def make_alone(storage: Storage, member: Member) -> None:
    """
    Let a node be the only member of its cluster, under a name and an address, which may
    be new. The engine must not run.

    B{It takes all others' say.} It is right for one that was alone before; and to go on
    when most members are lost for good, and with them, it may be, what was acknowledged
    last.
    """
    term = max(storage.getCurrentTerm(), storage[-1][2])
    command = MEMBERSHIP + msgspec.msgpack.encode(Members("", (member,)))
    storage.add(command, storage[-1][1] + 1, term)


def members_of(storage: Storage) -> tuple[Member, ...]:
    """
    The members by a storage's log, committed or not; none if it is empty.
    """
    return _members_at(storage, storage[-1][1]) if len(storage) else ()


def first_snapshot(members: tuple[Member, ...], state: bytes) -> tuple[Snapshot, list[Entry]]:
    """
    What a cluster begins with.
    """
    snapshot = Snapshot(state, FIRST_INDEX, 0, tuple(sorted(members)))
    return snapshot, [(NO_OP, FIRST_INDEX, 0)]


class Engine(SyncObj):  # type: ignore[misc] # it is not annotated
    """
    One node's part in Raft.

    @ivar halted: why it does nothing any more, and must not; L{None}: it goes on.
    @ivar configuration: the members by the log, committed or not.
    """

    _log = Logger()

    configuration: tuple[Member, ...]

    # PySyncObj's own, as far as they are used here.
    _SyncObj__raftLog: Storage
    _SyncObj__raftState: int
    _SyncObj__raftCurrentTerm: int
    _SyncObj__votedForNodeId: str | None
    _SyncObj__raftCommitIndex: int
    _SyncObj__raftLastApplied: int
    _SyncObj__raftLeader: Peer | None
    _SyncObj__leaderCommitIndex: int | None
    _SyncObj__raftElectionDeadline: float
    _SyncObj__transferInProgress: bool
    _SyncObj__raftNextIndex: dict[Peer, int]
    _SyncObj__raftMatchIndex: dict[Peer, int]
    _SyncObj__lastResponseTime: dict[Peer, float]
    _SyncObj__otherNodes: set[Peer]
    _SyncObj__connectedNodes: set[Peer]
    _SyncObj__newAppendEntriesTime: float
    _SyncObj__noopIDx: int | None

    def __init__(
        self,
        member: Member,
        storage: Storage,
        transport: Transport,
        machine: Machine,
        rng: Random,
        timing: Timing,
        limits: Limits,
    ) -> None:
        """
        @param storage: if it is empty, this node waits until a cluster takes it in.
        @raise CannotApply: the storage's snapshot is not understood.
        """
        self.halted: str | None = None
        self.configuration = ()
        self._member = member
        self._transport = transport
        self._machine = machine
        self._rng = rng
        self._timing = timing
        self._limits = limits
        self._submitted: deque[tuple[Peer | None, str, bytes]] = deque()
        self._peers: set[Peer] = set()
        self._learners: dict[Peer, float] = {}
        self._probes: dict[Peer, int] = {}
        self._probing: set[Peer] = set()
        self._transfers: dict[Peer, _Transfer] = {}
        self._versions: dict[Peer, int] = {}
        self._arrival: _Arrival | None = None
        self._votes: set[Peer] = set()
        self._canvass: set[Peer] = set()
        self._canvass_term = 0
        self._standing = False
        self._wanted: tuple[str | None, float] | None = None
        self._heard = float("-inf")
        self._change_index = 0
        self._compacted = 0
        super().__init__(
            Peer(member),
            [],
            SyncObjConf(
                autoTick=False,
                raftMinTimeout=timing.election[0],
                raftMaxTimeout=timing.election[1],
                appendEntriesPeriod=timing.heartbeat,
                leaderFallbackTimeout=timing.fallback,
                connectionTimeout=max(timing.election[1], timing.fallback),
                commandsWaitLeader=False,
                useFork=False,
                pollerType="select",
            ),
            transport=transport,
        )
        self._poller = _NoPoller()
        if len(storage) == 0:
            storage.add(NO_OP, 1, 0)
        snapshot = storage.snapshot
        self._SyncObj__raftLog = storage
        self._SyncObj__raftCurrentTerm = max(storage.getCurrentTerm(), storage[-1][2])
        self._SyncObj__votedForNodeId = storage.getVotedForNodeId()
        if snapshot is not None:
            machine.restore(snapshot.state)
            self._SyncObj__raftLastApplied = snapshot.last_index
            self._compacted = snapshot.last_index
        self._SyncObj__raftCommitIndex = max(
            storage.getRaftCommitIndex(), self._SyncObj__raftLastApplied
        )
        self._configure()
        if len(self.configuration) == 1 and self.is_member:
            # It need not wait for anybody.
            self._SyncObj__raftElectionDeadline = float("-inf")

    # What the replica asks

    @property
    def term(self) -> int:
        """The current one."""
        return self._SyncObj__raftCurrentTerm

    @property
    def commit_index(self) -> int:
        """How far the log is known to be committed."""
        return self._SyncObj__raftCommitIndex

    @property
    def applied_index(self) -> int:
        """How far the log is applied."""
        return self._SyncObj__raftLastApplied

    @property
    def last_index(self) -> int:
        """Where the log ends."""
        return self._SyncObj__raftLog[-1][1]

    @property
    def role(self) -> int:
        """L{FOLLOWER}, L{CANDIDATE} or L{LEADER}."""
        return self._SyncObj__raftState

    @property
    def leader(self) -> Peer | None:
        """Whom this node follows, or itself."""
        return self._SyncObj__raftLeader

    @property
    def is_member(self) -> bool:
        """Whether this node is in the cluster, as far as its log says."""
        return any(member.name == self._member.name for member in self.configuration)

    @property
    def peers(self) -> list[Peer]:
        """
        Whom to be connected with: the members, who is about to be one, and who was one
        until that is certain.
        """
        return sorted(self._peers, key=_name)

    @property
    def leading(self) -> bool:
        """
        Whether it is the leader, and has applied all that was committed before.
        """
        first = self._SyncObj__noopIDx
        return self.role == LEADER and first is not None and self.applied_index >= first

    @property
    def matches(self) -> dict[str, int]:
        """
        On the leader: how far each other member's log is known to equal its own.
        """
        return {peer.id: self._SyncObj__raftMatchIndex[peer] for peer in self._others()}

    @property
    def has_quorum(self) -> bool:
        """
        Whether a leader with a majority was heard of lately.
        """
        since = self._now() - self._timing.fallback
        if self.role == LEADER:
            heard = self._SyncObj__lastResponseTime
            count = 1 + sum(1 for peer in self._SyncObj__otherNodes if heard[peer] > since)
            return count > (len(self._SyncObj__otherNodes) + 1) / 2
        return self.leader is not None and self._heard > since

    def apply_kept(self) -> None:
        """
        Apply what is known to be committed, without a tick.
        """
        while self.halted is None and self.applied_index < self.commit_index:
            self._SyncObj__applyLogEntries()

    def submit(self, request_id: str, command: bytes) -> None:
        """
        Have a command appended by the leader, if there is one. That it was, its
        application says; that it was not, may be told by L{Machine.denied}.
        """
        self._submitted.append((None, request_id, command))

    def hand_over(self, target: str | None) -> None:
        """
        Have the leader hand over to a member, or to whom it likes, as soon as that one
        has the whole log. It may not succeed.
        """
        leader = self.leader
        if self.role == LEADER:
            self._wanted = target, self._now() + self._timing.election[1]
            self._maybe_hand_over()
        elif leader is not None:
            self._send(leader, HandOver(target))

    def _maybe_hand_over(self) -> None:
        if self._wanted is None:
            return
        target, until = self._wanted
        connected = self._SyncObj__connectedNodes
        able = [
            peer
            for peer in self._others()
            if peer in connected
            and target in {None, peer.id}
            and self._SyncObj__raftMatchIndex[peer] == self.last_index
        ]
        if able:
            self._send(able[0], TimeoutNow(self.term))
        if able or until < self._now():
            self._wanted = None

    @staticmethod
    def _now() -> float:
        """
        PySyncObj's clock, and no other: some deadlines are set here and looked at there.
        """
        now: float = syncobj.monotonicTime()
        return now

    # Members. G3.

    def _others(self) -> list[Peer]:
        return sorted(self._SyncObj__otherNodes, key=_name)

    def _configure(self) -> None:
        """
        Take the members from the log. To be called when it may have changed in that, or
        more of it is applied.

        They count as soon as an entry is in the log, committed or not (Raft, section 6);
        if it is truncated, those before count again, whoever they were. Who is no member
        any more is still talked with until that is committed: it may be elected before.
        """
        try:
            self.configuration = _members_at(self._SyncObj__raftLog, self.last_index)
            before = _members_at(self._SyncObj__raftLog, self.applied_index)
        except msgspec.MsgspecError as error:
            self.halt(f"an entry about the members is not understood: {error}")
            return
        own = Peer(self._member)
        self._SyncObj__otherNodes = {Peer(each) for each in self.configuration} - {own}
        for peer in self._SyncObj__otherNodes:
            self._learners.pop(peer, None)
        wanted = self._SyncObj__otherNodes | {Peer(each) for each in before} - {own}
        wanted |= set(self._learners)
        for peer in sorted(wanted - self._peers, key=_name):
            self._transport.addNode(peer)
            self._SyncObj__raftMatchIndex[peer] = 0
            self._SyncObj__lastResponseTime[peer] = self._now()
            self._probe(peer, self.last_index + 1)
        for peer in sorted(self._peers - wanted, key=_name):
            if self.role == LEADER and peer in self._SyncObj__connectedNodes:
                # So that it learns that it was removed.
                self._replicate(peer)
            self._transport.dropNode(peer)
            self._SyncObj__connectedNodes.discard(peer)
            for table in (
                self._SyncObj__raftNextIndex,
                self._SyncObj__raftMatchIndex,
                self._SyncObj__lastResponseTime,
                self._transfers,
                self._versions,
                self._probes,
            ):
                table.pop(peer, None)
            self._probing.discard(peer)
        self._peers = wanted

    def _settled(self) -> bool:
        """
        Whether the members may be changed: no other change is under way, nor can one
        of an earlier leader come back.

        Two changes at once, by two leaders, can make two majorities that do not meet.
        What is committed in this term stands on all later leaders' logs. (PySyncObj
        never sets what it would tell a pending change by.)
        """
        first = self._SyncObj__noopIDx
        applied = self.applied_index
        return first is not None and applied >= first and applied >= self._change_index

    def _change_members(self, origin: Peer | None, change: MemberChange) -> None:
        """
        Append a change of the members, or say why not.
        """
        denial = self._members_after(change)
        if isinstance(denial, tuple):
            members = Members(change.request_id, denial)
            self._append(MEMBERSHIP + msgspec.msgpack.encode(members))
            self._change_index = self.last_index
            self._configure()
        else:
            self._deny(origin, denial)

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
            if (each.name, each.address) == (added.name, added.address):
                return members
            if added.name == each.name or added.address == each.address:
                taken = f"{each.name} at {each.address} is a member already"
                return Denial(id, taken, final=True)
        if not self._caught_up(Peer(added)):
            return Denial(id, f"{added.name} has not caught up yet", final=False)
        joined = msgspec.structs.replace(added, joined=self.last_index + 1)
        return tuple(sorted((*members, joined)))

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

    # Ticks and elections

    def _onTick(self, timeToWait: float = 0.0) -> None:
        if self.halted is not None:
            return
        led = self.role == LEADER
        if not led:
            self._maybe_canvass()
        super()._onTick(timeToWait)
        if self._standing:
            self._postpone()
        if self.role == LEADER:
            self._forget_learners(all_of_them=False)
            self._maybe_hand_over()
        elif led or self._learners:
            self._stepped_down()

    def _maybe_canvass(self) -> None:
        """
        Before it stands for election, a node asks whether it would be elected.

        An election raises the term, and with it deposes the leader. A node that hears
        nobody, or was removed, would do so again and again.
        """
        if self._standing or (self._SyncObj__transferInProgress and self.is_member):
            return
        if self._SyncObj__raftElectionDeadline >= self._now():
            return
        self._postpone()
        # Whoever led is silent. Nothing more is sent there, until it is heard again.
        self._SyncObj__raftLeader = None
        if not self.is_member:
            return
        self._canvass = set()
        self._canvass_term = self.term + 1
        log = self._SyncObj__raftLog
        question = PreVote(self._canvass_term, log[-1][1], log[-1][2])
        for peer in self._others():
            self._send(peer, question)
        self._maybe_stand()

    def _maybe_stand(self) -> None:
        if len(self._canvass) + 1 > (len(self._SyncObj__otherNodes) + 1) / 2:
            self._canvass = set()
            self._canvass_term = 0
            self._standing = True
            self._SyncObj__raftElectionDeadline = float("-inf")

    def _on_pre_vote(self, peer: Peer, message: PreVote) -> None:
        log = self._SyncObj__raftLog
        followed = self.role == LEADER or (
            self.leader is not None
            and self.leader in self._SyncObj__connectedNodes
            and self._heard + self._timing.election[0] > self._now()
        )
        granted = (
            message.term > self.term
            and not followed
            and (message.last_log_term, message.last_log_index) >= (log[-1][2], log[-1][1])
        )
        self._send(peer, PreVoteReply(message.term, self.term, granted))

    def _on_pre_vote_reply(self, peer: Peer, message: PreVoteReply) -> None:
        if message.current > self.term:
            self._see_term(message.current)
        elif (
            message.granted
            and message.term == self._canvass_term == self.term + 1
            and self.role != LEADER
            and peer in self._SyncObj__otherNodes
        ):
            self._canvass.add(peer)
            self._maybe_stand()

    def _postpone(self) -> None:
        self._standing = False
        self._SyncObj__raftElectionDeadline = self._now() + self._SyncObj__generateRaftTimeout()

    def _see_term(self, term: int) -> None:
        """
        Follow into a later term, whose leader is not known.
        """
        self._SyncObj__setCurrentTerm(term, None)
        self._SyncObj__setState(FOLLOWER)
        self._SyncObj__raftLeader = None
        self._stepped_down()

    def _stepped_down(self) -> None:
        # PySyncObj leaves the deadline where it was before this node led: it would
        # stand again at once, against who has just been elected.
        self._postpone()
        self._forget_learners(all_of_them=True)

    def _SyncObj__setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:
        if term != self.term:
            self._votes = set()
            self._canvass = set()
            self._canvass_term = 0
        super()._SyncObj__setCurrentTerm(term, votedForNodeId)

    def _SyncObj__generateRaftTimeout(self) -> float:
        low, high = self._timing.election
        return low + (high - low) * self._rng.random()

    def _SyncObj__onBecomeLeader(self) -> None:
        for peer in self._peers:
            self._SyncObj__raftMatchIndex[peer] = 0
            self._probe(peer, self.last_index + 1)
        self._transfers.clear()
        self._versions.clear()
        self._change_index = 0
        self._wanted = None
        super()._SyncObj__onBecomeLeader()

    def _SyncObj__onNodeConnected(self, node: Peer) -> None:
        super()._SyncObj__onNodeConnected(node)
        self._transfers.pop(node, None)
        # It may have been restarted as another version.
        self._versions.pop(node, None)
        if self.role == LEADER and node in self._peers:
            # What was sent on the connection before may be lost.
            match = self._SyncObj__raftMatchIndex[node]
            self._probe(node, match + 1 if match else self.last_index + 1)
            self._replicate(node)

    def _SyncObj__onNodeDisconnected(self, node: Peer) -> None:
        super()._SyncObj__onNodeDisconnected(node)
        if self._learners.pop(node, None) is not None:
            # It may come back with an empty disk, which is no fault yet, but what it has
            # confirmed would be wrong then. If it is asked for again, it begins anew.
            self._configure()

    # Messages

    def _SyncObj__onMessageReceived(self, node: Peer, message: dict[str, Any]) -> None:
        if self.halted is not None:
            return
        try:
            parsed = parse(message)
        except msgspec.ValidationError as error:
            self._log.warn(
                "{name} has sent what is no message: {fault}", name=node.id, fault=str(error)
            )
            return
        match parsed:
            case AppendEntries():
                self._on_append_entries(node, parsed)
            case InstallSnapshot():
                self._on_install_snapshot(node, parsed)
            case Reply():
                self._on_reply(node, parsed)
            case SnapshotReply():
                self._on_snapshot_reply(node, parsed)
            case PreVote():
                self._on_pre_vote(node, parsed)
            case PreVoteReply():
                self._on_pre_vote_reply(node, parsed)
            case RequestVote():
                led = self.role == LEADER
                super()._SyncObj__onMessageReceived(node, message)
                if led and self.role != LEADER:
                    self._stepped_down()
            case ResponseVote(term):
                # Each member's vote counts once, and nobody else's.
                if term == self.term and node in self._SyncObj__otherNodes - self._votes:
                    self._votes.add(node)
                    super()._SyncObj__onMessageReceived(node, message)
            case TimeoutNow():
                super()._SyncObj__onMessageReceived(node, message)
            case Propose(request_id, command):
                self._submitted.append((node, request_id, command))
            case Denial(request_id, reason, final):
                self._machine.denied(request_id, reason, final=final)
            case HandOver(target):
                if self.role == LEADER:
                    self.hand_over(target)

    def _send(self, peer: Peer, message: Message) -> None:
        self._transport.send(peer, plain(message))

    # Following

    def _follow(self, peer: Peer, term: int, probe: int) -> bool:
        """
        Take a leader's message as a sign of its life, whatever the pending members are.

        @return: whether to go on; not if the leader is one no more. It is told, since
            with pre-votes nobody else tells it.
        """
        if term < self.term:
            self._reply(peer, 0, probe, success=False)
            return False
        if term == self.term and self.role == LEADER:
            self.halt(f"there are two leaders in term {term}: this node and {peer.id}")
            return False
        if term > self.term:
            self._SyncObj__transferInProgress = False
            self._SyncObj__setCurrentTerm(term, None)
            self._forget_learners(all_of_them=True)
        if not self._SyncObj__transferInProgress:
            self._postpone()
        self._SyncObj__setState(FOLLOWER)
        self._SyncObj__raftLeader = peer
        self._heard = self._now()
        return True

    def _on_append_entries(self, peer: Peer, message: AppendEntries) -> None:
        if any(entry[1] != message.prev_index + 1 + at for at, entry in enumerate(message.entries)):
            self._log.warn("{name} has sent entries with a gap", name=peer.id)
            return
        if not self._follow(peer, message.term, message.probe):
            return
        log = self._SyncObj__raftLog
        first, last = log[0][1], log[-1][1]
        prev, entries = message.prev_index, message.entries
        self._SyncObj__leaderCommitIndex = message.commit_index
        if prev >= first and (prev > last or log[prev - first][2] != message.prev_term):
            self._on_mismatch(peer, message)
            return
        if not self._take(message):
            return
        verified = self._verified(prev + len(entries))
        self._commit(min(message.commit_index, verified))
        self._reply(peer, max(verified, self.commit_index) + 1, message.probe, success=True)

    def _on_mismatch(self, peer: Peer, message: AppendEntries) -> None:
        """
        G5. What is committed here is in the leader's log, so the next attempt from there
        succeeds, or finds that a snapshot is needed.

        PySyncObj answers with the end of the log or goes back by one entry, and takes
        the last answer of many: under load, the two never meet.
        """
        if message.prev_index <= self.commit_index:
            self.halt(
                f"entry {message.prev_index} is committed here, and {peer.id}, who leads "
                f"term {message.term}, has another"
            )
            return
        self._reply(peer, self.commit_index + 1, message.probe, success=False)

    def _verified(self, index: int) -> int:
        """
        G1. Up to where a message has proved this log to equal the leader's: to the last
        entry that it carries, or refers to, and no further.

        PySyncObj takes the whole log for proved by any message, also by one that carries
        a part of a snapshot or nothing: an isolated leader that comes back then applies
        entries that nobody else has.

        @param index: of that entry.
        """
        return index

    def _commit(self, index: int) -> None:
        if index > self.commit_index:
            self._SyncObj__raftCommitIndex = index
            self._SyncObj__raftLog.setRaftCommitIndex(index)

    def _take(self, message: AppendEntries) -> bool:
        """
        G2. Have a message's entries in the log: those that are there already stay, with
        all that follow. The first one of another term goes, with all that follow.

        PySyncObj truncates at each message, and so forgets what it has acknowledged.

        @return: whether that was possible.
        """
        log = self._SyncObj__raftLog
        changed = False
        for command, index, term in message.entries:
            first, last = log[0][1], log[-1][1]
            if index < first:
                continue
            if index <= last:
                if log[index - first][2] == term:
                    continue
                if index <= self.commit_index:
                    self.halt(f"the leader of term {message.term} contradicts entry {index}")
                    return False
                log.deleteEntriesFrom(index - first)
                changed = True
            log.add(command, index, term)
            changed = changed or command[:1] == MEMBERSHIP
        if changed:
            self._configure()
        return True

    def _reply(self, peer: Peer, next_index: int, probe: int, *, success: bool) -> None:
        self._send(peer, Reply(self.term, next_index, success, probe, self._machine.version))

    def _on_install_snapshot(self, peer: Peer, message: InstallSnapshot) -> None:
        if not self._follow(peer, message.term, message.probe):
            return
        if message.last_index <= self.commit_index:
            # It says nothing new. What is committed here is in the leader's log.
            self._arrival = None
            self._reply(peer, self.commit_index + 1, message.probe, success=True)
            return
        key = (peer.id, message.term, message.last_index, message.last_term, message.size)
        if self._arrival is None or self._arrival.key != key:
            self._arrival = _Arrival(key, bytearray())
        data = self._arrival.data
        if message.offset == len(data) and len(data) + len(message.data) <= message.size:
            data += message.data
        if len(data) < message.size:
            self._send(peer, SnapshotReply(self.term, message.last_index, len(data)))
            return
        self._arrival = None
        if self._install(message, bytes(data)):
            self._reply(peer, message.last_index + 1, message.probe, success=True)

    def _install(self, message: InstallSnapshot, state: bytes) -> bool:
        """
        G6. Take a snapshot, and keep what the log has beyond it, if it does: it may have
        been acknowledged. Both change as one, see L{Storage.replace}.

        PySyncObj writes them to two files, one after the other, and throws the whole log
        away when they disagree after a crash.
        """
        try:
            self._machine.restore(state)
        except CannotApply as error:
            self.halt(f"the leader's snapshot: {error}")
            return False
        log = self._SyncObj__raftLog
        index, term = message.last_index, message.last_term
        at = index - log[0][1]
        entries: list[Entry] = [(NO_OP, index, term)]
        if at < len(log) and log[at][2] == term:
            entries = log[at:]
        log.replace(Snapshot(state, index, term, tuple(message.members)), entries)
        self._SyncObj__raftLastApplied = index
        self._compacted = index
        self._commit(index)
        self._configure()
        self._machine.members_applied(None, tuple(message.members))
        return True

    # Leading

    def _counts(self, peer: Peer, term: int) -> bool:
        """
        G4. Whether a reply is to this leadership, and from whom it asks.

        PySyncObj's replies carry no term: a late one, to an earlier leadership, counts
        in a later one, and commits what no majority has.
        """
        if term > self.term:
            self._see_term(term)
        return term == self.term and self.role == LEADER and peer in self._peers

    def _on_reply(self, peer: Peer, message: Reply) -> None:
        if not self._counts(peer, message.term):
            return
        self._SyncObj__lastResponseTime[peer] = self._now()
        self._versions[peer] = message.version
        current = message.probe == self._probes[peer]
        if message.success:
            match = self._SyncObj__raftMatchIndex[peer]
            match = self._SyncObj__raftMatchIndex[peer] = max(match, message.next_node_idx - 1)
            if self._SyncObj__raftNextIndex[peer] <= match:
                self._SyncObj__raftNextIndex[peer] = match + 1
            transfer = self._transfers.get(peer)
            if transfer is not None and transfer.snapshot.last_index <= match:
                del self._transfers[peer]
            if current and peer in self._probing:
                self._probing.discard(peer)
                self._SyncObj__raftNextIndex[peer] = match + 1
            if peer not in self._probing and self._SyncObj__raftNextIndex[peer] <= self.last_index:
                self._replicate(peer)
        elif current:
            self._probe(peer, message.next_node_idx)
            self._replicate(peer)

    def _probe(self, peer: Peer, index: int) -> None:
        """
        Look for common ground, from an index on, one message at a time. Replies to
        earlier attempts say nothing about this one.
        """
        self._probes[peer] = self._probes.get(peer, 0) + 1
        self._probing.add(peer)
        self._SyncObj__raftNextIndex[peer] = max(1, min(index, self.last_index + 1))

    def _SyncObj__sendAppendEntries(self) -> None:
        """
        G8. Send each follower what it lacks, as far ahead as is good.

        PySyncObj sends until the follower has all, in one go, and turns round and round
        while its snapshot is not ready.
        """
        self._SyncObj__newAppendEntriesTime = self._now() + self._timing.heartbeat
        for peer in sorted(self._peers, key=_name):
            if peer in self._SyncObj__connectedNodes:
                self._replicate(peer)

    def _replicate(self, peer: Peer) -> None:
        log = self._SyncObj__raftLog
        first, last = log[0][1], log[-1][1]
        upcoming = self._SyncObj__raftNextIndex[peer]
        if peer in self._transfers or upcoming <= first:
            self._send_slice(peer)
            return
        probing = peer in self._probing
        horizon = self._SyncObj__raftMatchIndex[peer] + self._limits.ahead
        while True:
            entries: list[Entry] = []
            if upcoming <= last and (probing or upcoming <= horizon):
                entries = self._SyncObj__getEntries(upcoming, None, self._limits.batch)
            self._send(
                peer,
                AppendEntries(
                    self.term,
                    self.commit_index,
                    upcoming - 1,
                    log[upcoming - 1 - first][2],
                    entries,
                    self._probes[peer],
                ),
            )
            upcoming += len(entries)
            if probing:
                return
            self._SyncObj__raftNextIndex[peer] = upcoming
            if upcoming > min(last, horizon):
                return

    def _send_slice(self, peer: Peer) -> None:
        """
        Send the slice of a snapshot that is due, or a heartbeat.
        """
        transfer = self._transfers.get(peer)
        if transfer is None:
            snapshot = self._SyncObj__raftLog.snapshot
            assert snapshot is not None
            transfer = self._transfers[peer] = _Transfer(snapshot)
        snapshot = transfer.snapshot
        data = b""
        if transfer.resend_at <= self._now():
            data = snapshot.state[transfer.offset : transfer.offset + self._limits.slice]
            transfer.resend_at = self._now() + self._timing.resend
        self._send(
            peer,
            InstallSnapshot(
                self.term,
                snapshot.last_index,
                snapshot.last_term,
                list(snapshot.members),
                len(snapshot.state),
                transfer.offset,
                data,
                self._probes[peer],
            ),
        )

    def _on_snapshot_reply(self, peer: Peer, message: SnapshotReply) -> None:
        if not self._counts(peer, message.term):
            return
        self._SyncObj__lastResponseTime[peer] = self._now()
        transfer = self._transfers.get(peer)
        if transfer is None or transfer.snapshot.last_index != message.last_index:
            return
        if message.offset != transfer.offset:
            transfer.offset = min(message.offset, len(transfer.snapshot.state))
            transfer.resend_at = 0.0
            self._send_slice(peer)

    # Commands

    def _checkCommandsToApply(self) -> None:
        appended = self.last_index
        while self._submitted:
            origin, request_id, command = self._submitted.popleft()
            if self.role == LEADER:
                self._lead(origin, request_id, command)
            elif origin is not None:
                self._deny(origin, Denial(request_id, "this node does not lead", final=False))
            elif self.leader is not None and self.leader in self._SyncObj__connectedNodes:
                self._send(self.leader, Propose(request_id, command))
            else:
                self._deny(None, Denial(request_id, "there is no leader", final=False))
        if self.last_index > appended:
            self._SyncObj__sendAppendEntries()

    def _lead(self, origin: Peer | None, request_id: str, command: bytes) -> None:
        kind = command[:1]
        if self.last_index - self.commit_index > self._limits.backlog:
            self._deny(origin, Denial(request_id, "too many commands wait", final=False))
        elif kind == MEMBERSHIP:
            try:
                change = msgspec.msgpack.decode(command[1:], type=MemberChange)
            except msgspec.MsgspecError:
                self._deny(origin, Denial(request_id, "it is not understood", final=True))
            else:
                self._change_members(origin, change)
        elif kind != REGULAR or not self._machine.readable(command[1:], self._common_version()):
            self._deny(origin, Denial(request_id, "not all members understand it", final=True))
        elif not (self._all_heard() or self._machine.readable(command[1:], 1)):
            unheard = "not all members have said yet whether they understand it"
            self._deny(origin, Denial(request_id, unheard, final=False))
        else:
            self._append(command)

    def _common_version(self) -> int:
        """
        The newest version of commands that all members understand that have said so: to
        this leadership, on the present connection. What they said before may have been
        said by another program.
        """
        others = self._SyncObj__otherNodes
        return min(
            (self._versions[peer] for peer in others if peer in self._versions),
            default=self._machine.version,
        )

    def _all_heard(self) -> bool:
        return self._SyncObj__otherNodes <= self._versions.keys()

    def _append(self, command: bytes) -> None:
        self._SyncObj__raftLog.add(command, self.last_index + 1, self.term)

    def _deny(self, origin: Peer | None, denial: Denial) -> None:
        if origin is None:
            self._machine.denied(denial.request_id, denial.reason, final=denial.final)
        else:
            self._send(origin, denial)

    def _SyncObj__applyLogEntries(self) -> bool:
        """
        G7. Apply what is committed, each entry once.

        PySyncObj applies an entry again at each tick if it, or a callback of a caller,
        raises, and shifts all that follow if it skips one. Here nobody is called back but
        the machine, which is total; what it cannot understand halts the node.
        """
        log = self._SyncObj__raftLog
        before = self.applied_index
        for index in range(before + 1, min(self.commit_index, before + self._limits.applied) + 1):
            command = log[index - log[0][1]][0]
            kind = command[:1]
            try:
                if kind == REGULAR:
                    self._machine.apply(command[1:])
                elif kind not in {NO_OP, MEMBERSHIP}:
                    raise CannotApply(f"it is of kind {command[:1]!r}")
            except CannotApply as error:
                self.halt(f"entry {index} is committed, and not understood: {error}")
                return False
            self._SyncObj__raftLastApplied = index
            if kind == MEMBERSHIP:
                self._configure()
                change = _decode_members(command)
                self._machine.members_applied(change.request_id, change.members)
        return self.role == LEADER and self.applied_index > before

    def _SyncObj__tryLogCompaction(self) -> None:
        log = self._SyncObj__raftLog
        applied = self.applied_index
        # Not while a follower gets a snapshot: it would be too old once it is there.
        limit = self._limits.log * (4 if self._transfers else 1)
        if len(log) <= limit or applied - self._compacted < self._limits.log // 2:
            return
        self._compacted = applied
        term = log[applied - log[0][1]][2]
        self._machine.compact(
            Snapshot(
                self._machine.encode(), applied, term, _members_at(self._SyncObj__raftLog, applied)
            )
        )

    def halt(self, reason: str) -> None:
        """
        Do nothing any more.
        """
        if self.halted is None:
            self.halted = reason


def _members_at(log: Storage, index: int) -> tuple[Member, ...]:
    """
    The members by a log up to an index: what its last entry about them says.
    """
    snapshot = log.snapshot
    base = 0 if snapshot is None else snapshot.last_index
    first = log[0][1]
    for at in range(min(index, log[-1][1]), max(base, first - 1), -1):
        command = log[at - first][0]
        if command[:1] == MEMBERSHIP:
            return _decode_members(command).members
    return () if snapshot is None else snapshot.members


def _decode_members(command: bytes) -> Members:
    return msgspec.msgpack.decode(command[1:], type=Members)


def _name(peer: Peer) -> str:
    return peer.id
