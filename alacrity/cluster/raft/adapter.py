"""
The adapter of PySyncObj: typed access to its private state, and replacements of some of its
methods.

No other file uses PySyncObj's private names, which begin with C{_SyncObj__}. Because of these
names, the version of PySyncObj is pinned.
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
"""The roles of a node, with PySyncObj's values."""


class Hooks(msgspec.Struct, frozen=True):
    """
    Functions that run instead of PySyncObj's own methods, or before them.

    @ivar before_new_term: called when the term is about to change.
    @ivar before_leading: called when this node has won an election, and is about to become
        the leader.
    @ivar take_commands: appends the waiting commands, or sends them to the leader.
    @ivar apply_committed: applies committed entries; returns whether to send to the followers
        at once.
    @ivar send_entries: sends each follower its missing entries, or a heartbeat.
    @ivar compact: replaces the beginning of the log by a snapshot, if the log is long.
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
        """Do nothing."""


class RaftAdapter(SyncObj):  # type: ignore[misc] # it is not annotated
    """
    PySyncObj's Raft with a typed interface. PySyncObj's elections, ticks, commit rule and
    book-keeping are kept; the replaced parts call L{Hooks}.

    PySyncObj's constructor reads all attributes of its object, properties too. So the
    properties here read only attributes that are set by then.

    This class is longer than others, because it has a line or two for each name of PySyncObj's
    that is used, so that all of them are in one place.

    @ivar halted: the reason why this node has halted, and must do nothing more; L{None}: it
        has not halted.
    @ivar log: the log, with the other persistent state.
    @ivar others: the other members, which count for majorities; see L{set_others}.
    @ivar connected: the connected peers; the engine adds and removes them.
    @ivar next_index: on the leader: the index of the next entry to send, by follower.
    @ivar match_index: on the leader: the last index up to which a follower's log is known to
        equal the leader's, by follower.
    @ivar last_response: on the leader: the time of the last reply, by follower.
    """

    # The attributes of PySyncObj that are used here.
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
        Restore the state from the storage. Its snapshot counts as applied. L{set_hooks} must be
        called before anything else.
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
        # All messages come through the engine, which checks them.
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
        """The name of the node that this node voted for in this term; L{None}: no vote yet."""
        return self._SyncObj__votedForNodeId

    @property
    def role(self) -> int:
        """L{FOLLOWER}, L{CANDIDATE} or L{LEADER}."""
        return self._SyncObj__raftState

    @property
    def leader(self) -> Peer | None:
        """The leader of this term, maybe this node itself; L{None}: unknown."""
        return self._SyncObj__raftLeader

    @property
    def commit_index(self) -> int:
        """The index of the last entry that is known to be committed."""
        return self._SyncObj__raftCommitIndex

    @property
    def applied_index(self) -> int:
        """The index of the last applied entry."""
        return self._SyncObj__raftLastApplied

    @property
    def applied_term(self) -> int:
        """The term of the last applied entry."""
        log = self._SyncObj__raftLog
        term: int = log[self.applied_index - log[0][1]][2]
        return term

    @property
    def last_index(self) -> int:
        """The index of the last entry of the log."""
        return self._SyncObj__raftLog[-1][1]

    @property
    def told_commit_index(self) -> int | None:
        """The leader's commit index, by its last message; L{None}: no message yet."""
        return self._SyncObj__leaderCommitIndex

    @property
    def no_op_index(self) -> int | None:
        """
        The index of the no-op entry with which this node last became the leader; L{None}: it
        has never led.
        """
        return self._SyncObj__noopIDx

    @property
    def election_deadline(self) -> float:
        """The time of the next election, unless a leader is heard before."""
        return self._SyncObj__raftElectionDeadline

    @property
    def is_asked_to_lead(self) -> bool:
        """
        Whether the leader has asked this node to take over, and this node has not started the
        election yet.
        """
        return self._SyncObj__transferInProgress

    @property
    def sorted_others(self) -> list[Peer]:
        """L{others}, sorted by name."""
        return sorted(self._SyncObj__otherNodes, key=by_name)

    @staticmethod
    def now() -> float:
        """
        The time by PySyncObj's clock. No other clock will do, because PySyncObj checks some of
        the deadlines that are set here.
        """
        now: float = syncobj.monotonicTime()
        return now

    # Changes

    def halt(self, reason: str) -> None:
        """Halt: do nothing any more."""
        if self.halted is None:
            self.halted = reason

    def send(self, peer: Peer, message: Message) -> None:
        """Queue a message. It is sent once this step is on disk."""
        self._outgoing.send(peer, plain(message))

    def append(self, command: bytes) -> None:
        """Append an entry of this term."""
        self._SyncObj__raftLog.add(command, self.last_index + 1, self.term)

    def entries_from(self, index: int, size: int) -> list[LogEntry]:
        """The entries from an index on, of about this size in bytes, but at least one."""
        entries: list[LogEntry] = self._SyncObj__getEntries(index, None, size)
        return entries

    def commit(self, index: int) -> None:
        """Raise the commit index; a lower index changes nothing."""
        if index > self.commit_index:
            self._SyncObj__raftCommitIndex = index
            self._SyncObj__raftLog.setRaftCommitIndex(index)

    def mark_applied(self, index: int) -> None:
        """Set the index of the last applied entry."""
        self._SyncObj__raftLastApplied = index

    def set_term(self, term: int, vote: str | None = None) -> None:
        """Enter a term, with a vote or without; both are kept on disk."""
        self._SyncObj__setCurrentTerm(term, vote)

    def become_follower(self) -> None:
        """Become a follower, from whatever role."""
        self._SyncObj__setState(FOLLOWER)

    def set_leader(self, leader: Peer | None) -> None:
        """Set the leader; L{None}: unknown."""
        self._SyncObj__raftLeader = leader

    def set_told_commit_index(self, index: int) -> None:
        """Set the leader's commit index, from its message."""
        self._SyncObj__leaderCommitIndex = index

    def set_others(self, others: set[Peer]) -> None:
        """Set the other members, which count for majorities."""
        self.others = self._SyncObj__otherNodes = others

    def set_election_deadline(self, at: float) -> None:
        """Set the time of the next election, unless a leader is heard before."""
        self._SyncObj__raftElectionDeadline = at

    def postpone_election(self) -> None:
        """Start a new random election timeout now."""
        self._SyncObj__raftElectionDeadline = self.now() + self._SyncObj__generateRaftTimeout()

    def forget_request_to_lead(self) -> None:
        """Ignore an earlier leader's request to take over: another node leads."""
        self._SyncObj__transferInProgress = False

    def set_next_heartbeat(self, at: float) -> None:
        """Set the time of the leader's next call of L{Hooks.send_entries}."""
        self._SyncObj__newAppendEntriesTime = at

    # PySyncObj's own methods

    def run_tick(self) -> None:
        """
        Run PySyncObj's tick: elections, the commit rule, stepping down, and the hooks.
        """
        self._onTick(0.0)

    def handle(self, peer: Peer, message: RequestVote | ResponseVote | TimeoutNow) -> None:
        """
        Let PySyncObj handle a message.
        """
        self._SyncObj__onMessageReceived(peer, plain(message))

    # PySyncObj's methods that are replaced or extended

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
