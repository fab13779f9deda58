"""
A follower's part: to take the leader's entries and snapshots, and reply.
"""

from __future__ import annotations

from abc import abstractmethod

import msgspec

from alacrity.cluster.raft.environment import Environment, Peer
from alacrity.cluster.raft.messages import AppendEntries, InstallSnapshot, Reply, SnapshotReply
from alacrity.cluster.raft.raft import FOLLOWER, LEADER
from alacrity.cluster.raft.reconfiguration import Reconfiguration


class _Arrival(msgspec.Struct):
    """
    A snapshot on its way from the leader.
    """

    key: tuple[str, int, int, int, int]
    data: bytearray


class Following(Reconfiguration):
    """
    What a follower does with what its leader sends.
    """

    def __init__(self, around: Environment) -> None:
        self._arrival: _Arrival | None = None
        super().__init__(around)

    @abstractmethod
    def _verified(self, index: int) -> int:
        """G1. Up to where a message has proved this log to equal the leader's."""

    @abstractmethod
    def _take(self, message: AppendEntries) -> bool:
        """G2. Have a message's entries in the log."""

    @abstractmethod
    def _on_mismatch(self, peer: Peer, message: AppendEntries) -> None:
        """G5. This log has not the entry that a message's are to follow."""

    @abstractmethod
    def _install(self, message: InstallSnapshot, state: bytes) -> bool:
        """G6. Take a snapshot that is whole."""

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

    def _reply(self, peer: Peer, next_index: int, probe: int, *, success: bool) -> None:
        self._send(peer, Reply(self.term, next_index, success, probe, self._machine.version))
