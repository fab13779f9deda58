"""
The seam to PySyncObj: its private state, typed, and its methods that are replaced.

No other file spells PySyncObj's private names, those that begin with C{_SyncObj__}. It is
pinned for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from pysyncobj import SyncObj, SyncObjConf, syncobj

from alacrity.cluster.log.entries import NO_OP
from alacrity.cluster.log.records import LogEntry
from alacrity.cluster.log.storage import Storage
from alacrity.cluster.raft.environment import Environment
from alacrity.cluster.raft.messages import (
    Message,
    RequestVote,
    ResponseVote,
    TimeoutNow,
    plain,
)
from alacrity.cluster.raft.peer import Peer, by_name

FOLLOWER: Final = 0
CANDIDATE: Final = 1
LEADER: Final = 2
"""A node's roles: PySyncObj's."""


class Hooks(msgspec.Struct, frozen=True):
    """
    Functions that run in the place of PySyncObj's own methods, or before them.

    @ivar before_new_term: called when the term is about to change.
    @ivar before_leading: called when this node has won an election, and PySyncObj has not
        begun to lead yet.
    @ivar take_commands: appends the commands that wait, or passes them on.
    @ivar apply_committed: applies entries that are committed; says whether followers are to
        be told at once.
    @ivar send_entries: sends each follower the entries that it lacks, or a heartbeat.
    @ivar compact: replaces the beginning of the log by a snapshot, if it is long.
    """

    before_new_term: Callable[[], None]
    before_leading: Callable[[], None]
    take_commands: Callable[[], None]
    apply_committed: Callable[[], bool]
    send_entries: Callable[[], None]
    compact: Callable[[], None]


class _NoPoller:
    """
    A poller without sockets.
    """

    def poll(self, timeout: float) -> None:
        """Nothing."""


class RaftAdapter(SyncObj):  # type: ignore[misc] # it is not annotated
    """
    PySyncObj's Raft with a typed interface. It keeps PySyncObj's elections, its ticks, its
    commit rule and its book-keeping; what is replaced, it asks L{Hooks} for.

    PySyncObj's constructor reads all attributes of its object, properties too: those here
    read nothing but what is set by then.

    This class may be longer than others: it has a line or two for each name of PySyncObj's
    that is used, so that all of them are in one place.

    @ivar halted: why this node does nothing any more, and must not; L{None}: it goes on.
    @ivar log: the entries, and what else is kept on disk.
    @ivar others: the other members, which count in majorities; see L{set_others}.
    @ivar connected: the peers that are connected; changed by whoever hears of connections.
    @ivar next_index: a leader's book-keeping: the entry that each follower is sent next.
    @ivar match_index: how far each follower's log is known to equal the leader's.
    @ivar last_response: when each follower answered last.
    """

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

    _hooks: Hooks

    def __init__(self, environment: Environment) -> None:
        """
        Go on where the storage ends. Its snapshot is taken for applied. Before anything else is
        asked of it, L{set_hooks} is to be called.
        """
        self.halted: str | None = None
        self._outgoing = transport = environment.transport
        self._rng = environment.rng
        timing = environment.timing
        self._election = timing.election
        super().__init__(
            Peer(environment.member),
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
        # Messages come in by the engine, which checks them, and by nothing else.
        transport.setOnMessageReceivedCallback(None)
        transport.setOnNodeConnectedCallback(None)
        transport.setOnNodeDisconnectedCallback(None)
        self._poller = _NoPoller()
        storage = environment.storage
        if len(storage) == 0:
            storage.add(NO_OP, 1, 0)
        snapshot = storage.snapshot
        self.log = self._SyncObj__raftLog = storage
        # PySyncObj changes these in place, and never puts others there.
        self.others = self._SyncObj__otherNodes
        self.connected = self._SyncObj__connectedNodes
        self.next_index = self._SyncObj__raftNextIndex
        self.match_index = self._SyncObj__raftMatchIndex
        self.last_response = self._SyncObj__lastResponseTime
        self._SyncObj__raftCurrentTerm = max(storage.getCurrentTerm(), storage[-1][2])
        self._SyncObj__votedForNodeId = storage.getVotedForNodeId()
        if snapshot is not None:
            self._SyncObj__raftLastApplied = snapshot.last_index
        self._SyncObj__raftCommitIndex = max(
            storage.getRaftCommitIndex(), self._SyncObj__raftLastApplied
        )

    def set_hooks(self, hooks: Hooks) -> None:
        """
        Call these from now on.
        """
        self._hooks = hooks

    # State

    @property
    def term(self) -> int:
        """The current term."""
        return self._SyncObj__raftCurrentTerm

    @property
    def vote(self) -> str | None:
        """The name of the node that was voted for in this term."""
        return self._SyncObj__votedForNodeId

    @property
    def role(self) -> int:
        """L{FOLLOWER}, L{CANDIDATE} or L{LEADER}."""
        return self._SyncObj__raftState

    @property
    def leader(self) -> Peer | None:
        """The leader that this node follows, or itself; L{None}: it knows of none."""
        return self._SyncObj__raftLeader

    @property
    def commit_index(self) -> int:
        """The last entry that is known to be committed."""
        return self._SyncObj__raftCommitIndex

    @property
    def applied_index(self) -> int:
        """The last entry that is applied."""
        return self._SyncObj__raftLastApplied

    @property
    def applied_term(self) -> int:
        """The term of the entry that was applied last."""
        log = self._SyncObj__raftLog
        term: int = log[self.applied_index - log[0][1]][2]
        return term

    @property
    def last_index(self) -> int:
        """The last entry of the log."""
        return self._SyncObj__raftLog[-1][1]

    @property
    def told_commit_index(self) -> int | None:
        """The commit index that the leader told; L{None}: it told none yet."""
        return self._SyncObj__leaderCommitIndex

    @property
    def no_op_index(self) -> int | None:
        """The entry with which this node began to lead last; L{None}: it never did."""
        return self._SyncObj__noopIDx

    @property
    def election_deadline(self) -> float:
        """The time at which this node stands for election, if nobody leads by then."""
        return self._SyncObj__raftElectionDeadline

    @property
    def is_asked_to_lead(self) -> bool:
        """Whether the leader has asked this node to take over, and it has not stood yet."""
        return self._SyncObj__transferInProgress

    @property
    def sorted_others(self) -> list[Peer]:
        """L{others}, in the order of their names."""
        return sorted(self._SyncObj__otherNodes, key=by_name)

    @staticmethod
    def now() -> float:
        """
        The time by PySyncObj's clock, and no other: some deadlines are set here and looked at
        there.
        """
        now: float = syncobj.monotonicTime()
        return now

    # Changes

    def halt(self, reason: str) -> None:
        """Do nothing any more."""
        if self.halted is None:
            self.halted = reason

    def send(self, peer: Peer, message: Message) -> None:
        """Have a message sent, once this step is on disk."""
        self._outgoing.send(peer, plain(message))

    def append(self, command: bytes) -> None:
        """Append an entry of this term."""
        self._SyncObj__raftLog.add(command, self.last_index + 1, self.term)

    def entries_from(self, index: int, size: int) -> list[LogEntry]:
        """Entries of the log from an index on, so many bytes of them, or one."""
        entries: list[LogEntry] = self._SyncObj__getEntries(index, None, size)
        return entries

    def commit(self, index: int) -> None:
        """Take the log for committed up to an index, unless it is further already."""
        if index > self.commit_index:
            self._SyncObj__raftCommitIndex = index
            self._SyncObj__raftLog.setRaftCommitIndex(index)

    def mark_applied(self, index: int) -> None:
        """Take the log for applied up to an index."""
        self._SyncObj__raftLastApplied = index

    def set_term(self, term: int, vote: str | None = None) -> None:
        """Enter a term, with a vote in it or none; it is kept on disk."""
        self._SyncObj__setCurrentTerm(term, vote)

    def become_follower(self) -> None:
        """Lead and stand no more."""
        self._SyncObj__setState(FOLLOWER)

    def set_leader(self, leader: Peer | None) -> None:
        """Take a peer for the leader, or nobody."""
        self._SyncObj__raftLeader = leader

    def set_told_commit_index(self, index: int) -> None:
        """Note the commit index that the leader told."""
        self._SyncObj__leaderCommitIndex = index

    def set_others(self, others: set[Peer]) -> None:
        """Count other members from now on."""
        self.others = self._SyncObj__otherNodes = others

    def set_election_deadline(self, at: float) -> None:
        """Stand for election at a time, if nobody leads by then."""
        self._SyncObj__raftElectionDeadline = at

    def postpone_election(self) -> None:
        """Stand for election after a random time from now, if nobody leads by then."""
        self._SyncObj__raftElectionDeadline = self.now() + self._SyncObj__generateRaftTimeout()

    def forget_request_to_lead(self) -> None:
        """Pass over that a leader has asked this node to take over: another one leads."""
        self._SyncObj__transferInProgress = False

    def set_next_heartbeat(self, at: float) -> None:
        """Have L{Hooks.send_entries} called at a time again, as the leader."""
        self._SyncObj__newAppendEntriesTime = at

    # PySyncObj's own methods

    def run_tick(self) -> None:
        """
        PySyncObj's tick: elections, the commit rule, stepping down, and the hooks.
        """
        self._onTick(0.0)

    def handle(self, peer: Peer, message: RequestVote | ResponseVote | TimeoutNow) -> None:
        """
        PySyncObj's way with a message.
        """
        self._SyncObj__onMessageReceived(peer, plain(message))

    # Its methods that are replaced, or begin with something else

    def _SyncObj__setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:
        if term != self.term:
            self._hooks.before_new_term()
        super()._SyncObj__setCurrentTerm(term, votedForNodeId)

    def _SyncObj__generateRaftTimeout(self) -> float:
        low, high = self._election
        return low + (high - low) * self._rng.random()

    def _SyncObj__onBecomeLeader(self) -> None:
        self._hooks.before_leading()
        super()._SyncObj__onBecomeLeader()

    def _checkCommandsToApply(self) -> None:
        self._hooks.take_commands()

    def _SyncObj__applyLogEntries(self) -> bool:
        return self._hooks.apply_committed()

    def _SyncObj__sendAppendEntries(self) -> None:
        self._hooks.send_entries()

    def _SyncObj__tryLogCompaction(self) -> None:
        self._hooks.compact()

    def __repr__(self) -> str:
        role = ("follower", "candidate", "leader")[self.role]
        return f"<RaftAdapter {role} of term {self.term} at {self.commit_index}/{self.last_index}>"
