"""
Commands: to the leader, into its log, and, once they are applied, out of it into a
snapshot.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf

import msgspec

from alacrity.cluster.log.entries import MEMBERSHIP, REGULAR
from alacrity.cluster.log.records import Snapshot
from alacrity.cluster.raft.environment import Environment, Peer
from alacrity.cluster.raft.membership import MemberChange, members_at
from alacrity.cluster.raft.messages import Denial, Propose
from alacrity.cluster.raft.raft import LEADER
from alacrity.cluster.raft.reconfiguration import Reconfiguration


class Commands(Reconfiguration):
    """
    What becomes of commands.

    @ivar allowance: bytes of commands that may be applied in this step.
    """

    def __init__(self, around: Environment) -> None:
        self.allowance: float = inf
        self._submitted: deque[tuple[Peer | None, str, bytes]] = deque()
        snapshot = around.storage.snapshot
        self._compacted = 0 if snapshot is None else snapshot.last_index
        self._compacted_size = 0
        super().__init__(around)

    def submit(self, request_id: str, command: bytes) -> None:
        """
        Have a command appended by the leader, if there is one. That it was, its
        application says; that it was not, may be told by L{Machine.denied}.
        """
        self._submitted.append((None, request_id, command))

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

    def apply_kept(self, between: Callable[[], object] = lambda: None) -> None:
        """
        Apply what is known to be committed, without a tick.

        @param between: called after each part of it.
        """
        while self.halted is None and self.applied_index < self.commit_index:
            self.begin_step()
            self._SyncObj__applyLogEntries()
            between()
        self.allowance = inf

    def begin_step(self) -> None:
        """
        Some ticks follow that are one step.
        """
        self.allowance = self._limits.applied_bytes

    def _is_enough(self, applied: int, more: int) -> bool:
        """
        Whether a step has applied so many bytes of commands that it applies no more.
        """
        # One that is longer by itself is applied as the first one of a step.
        whole = self._limits.applied_bytes
        return applied + more > self.allowance and (applied > 0 or self.allowance < whole)

    @property
    def all_speak(self) -> int:
        """
        The newest version of commands that all members are known to understand.
        """
        return self._common_version() if self._all_heard() else 1

    def _SyncObj__tryLogCompaction(self) -> None:
        log = self._SyncObj__raftLog
        applied = self.applied_index
        # Not while a follower gets a snapshot: it would be too old once it is there.
        patience = 4 if self._transfers else 1
        many = (
            len(log) > self._limits.log * patience
            and applied - self._compacted >= self._limits.log // 2
        )
        if not many and not self._is_large(patience):
            return
        self._compacted = applied
        self._compacted_size = log.size
        term = log[applied - log[0][1]][2]
        self._machine.compact(
            Snapshot(
                self._machine.encode(), applied, term, members_at(self._SyncObj__raftLog, applied)
            )
        )

    def _is_large(self, patience: int) -> bool:
        """
        Whether the log has too many bytes, half of them since it was compacted last.
        """
        log = self._SyncObj__raftLog
        snapshot = log.snapshot
        limit = self._limits.log_bytes
        if snapshot is not None:
            limit = max(limit, len(snapshot.state) // 2)
        # That it is smaller than it was means that the snapshot has taken its place.
        self._compacted_size = min(self._compacted_size, log.size)
        return (
            log.size > limit * min(patience, 2)
            and log.size - self._compacted_size > limit // 2
            and self.applied_index > self._compacted
        )
