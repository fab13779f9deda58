"""
PySyncObj's Raft, as all rooms of the engine see it: its private state, declared and
typed, its clock, and what the engine's owner may ask.

The names with C{_SyncObj__} are PySyncObj's private ones. It is pinned for them.
"""

from __future__ import annotations

from abc import ABCMeta
from typing import Final

from pysyncobj import SyncObj, SyncObjConf, syncobj
from twisted.logger import Logger

from alacrity.cluster.log.entries import NO_OP
from alacrity.cluster.log.members import Member
from alacrity.cluster.log.storage import Storage
from alacrity.cluster.raft.environment import Environment, Peer, by_name
from alacrity.cluster.raft.messages import Denial, Message, plain

FOLLOWER: Final = 0
CANDIDATE: Final = 1
LEADER: Final = 2
"""A node's roles: PySyncObj's."""


class _NoPoller:
    """
    There are no sockets to poll.
    """

    def poll(self, timeout: float) -> None:
        """Nothing."""


class Raft(SyncObj, metaclass=ABCMeta):  # type: ignore[misc] # it is not annotated
    """
    What all rooms of the engine share.

    They are classes upon this one, each with a state of its own, which must be there
    before L{Raft.__init__} runs: PySyncObj's looks at all attributes of its object.

    @ivar halted: why it does nothing any more, and must not; L{None}: it goes on.
    @ivar configuration: the members by the log, committed or not.
    @ivar settled_configuration: the members by what is applied of it.
    """

    _log = Logger()

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

    def __init__(self, around: Environment) -> None:
        """
        @raise CannotApply: the storage's snapshot is not understood.
        """
        self.halted: str | None = None
        self.configuration: tuple[Member, ...] = ()
        self.settled_configuration: tuple[Member, ...] = ()
        self._member = around.member
        self._transport = around.transport
        self._machine = around.machine
        self._rng = around.rng
        self._timing = around.timing
        self._limits = around.limits
        # Whom it talks with: see Reconfiguration.
        self._peers: set[Peer] = set()
        # When a leader was heard last.
        self._heard = float("-inf")
        super().__init__(
            Peer(around.member),
            [],
            SyncObjConf(
                autoTick=False,
                raftMinTimeout=around.timing.election[0],
                raftMaxTimeout=around.timing.election[1],
                appendEntriesPeriod=around.timing.heartbeat,
                leaderFallbackTimeout=around.timing.fallback,
                connectionTimeout=max(around.timing.election[1], around.timing.fallback),
                commandsWaitLeader=False,
                useFork=False,
                pollerType="select",
            ),
            transport=around.transport,
        )
        self._poller = _NoPoller()
        storage = around.storage
        if len(storage) == 0:
            storage.add(NO_OP, 1, 0)
        snapshot = storage.snapshot
        self._SyncObj__raftLog = storage
        self._SyncObj__raftCurrentTerm = max(storage.getCurrentTerm(), storage[-1][2])
        self._SyncObj__votedForNodeId = storage.getVotedForNodeId()
        if snapshot is not None:
            around.machine.restore(snapshot.state)
            self._SyncObj__raftLastApplied = snapshot.last_index
        self._SyncObj__raftCommitIndex = max(
            storage.getRaftCommitIndex(), self._SyncObj__raftLastApplied
        )

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
    def applied_term(self) -> int:
        """The term of the entry that was applied last."""
        log = self._SyncObj__raftLog
        term: int = log[self.applied_index - log[0][1]][2]
        return term

    @property
    def told_commit_index(self) -> int | None:
        """How far the leader said that the log is committed; L{None}: it said nothing yet."""
        return self._SyncObj__leaderCommitIndex

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
        return sorted(self._peers, key=by_name)

    @property
    def is_leader(self) -> bool:
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

    @property
    def progress(self) -> tuple[int, int, int]:
        """
        Values that a tick changes when there is more to do in the next one.
        """
        return self.last_index, self.commit_index, self.role

    def excuse(self, stalled: float) -> None:
        """
        Hold nobody's silence against him, nor stand for election for it, while this
        process did not run. Others may have elected somebody meanwhile if that was long.

        @param stalled: for so many seconds.
        """
        now = self._now()
        stalled = min(stalled, self._timing.fallback)
        deadline = self._SyncObj__raftElectionDeadline
        latest = max(deadline, now + self._timing.election[1])
        self._SyncObj__raftElectionDeadline = min(latest, deadline + stalled)
        for peer, heard in self._SyncObj__lastResponseTime.items():
            self._SyncObj__lastResponseTime[peer] = max(heard, min(now, heard + stalled))

    def halt(self, reason: str) -> None:
        """
        Do nothing any more.
        """
        if self.halted is None:
            self.halted = reason

    # What all rooms need

    @staticmethod
    def _now() -> float:
        """
        PySyncObj's clock, and no other: some deadlines are set here and looked at there.
        """
        now: float = syncobj.monotonicTime()
        return now

    def _others(self) -> list[Peer]:
        return sorted(self._SyncObj__otherNodes, key=by_name)

    def _send(self, peer: Peer, message: Message) -> None:
        self._transport.send(peer, plain(message))

    def _append(self, command: bytes) -> None:
        self._SyncObj__raftLog.add(command, self.last_index + 1, self.term)

    def _deny(self, origin: Peer | None, denial: Denial) -> None:
        if origin is None:
            self._machine.denied(denial.request_id, denial.reason, final=denial.final)
        else:
            self._send(origin, denial)

    def _commit(self, index: int) -> None:
        if index > self.commit_index:
            self._SyncObj__raftCommitIndex = index
            self._SyncObj__raftLog.setRaftCommitIndex(index)
