"""
A leader's log on its way to the followers: entries, and where those are compacted
already, slices of a snapshot; and what the followers reply.
"""

from __future__ import annotations

from abc import abstractmethod

import msgspec

from alacrity.cluster.log.records import Snapshot
from alacrity.cluster.raft.environment import Environment, Peer
from alacrity.cluster.raft.messages import (
    AppendEntries,
    Entry,
    InstallSnapshot,
    Reply,
    SnapshotReply,
)
from alacrity.cluster.raft.raft import LEADER, Raft


class _Transfer(msgspec.Struct):
    """
    A snapshot on its way to a follower.
    """

    snapshot: Snapshot
    offset: int = 0
    resend_at: float = 0.0


class Replication(Raft):
    """
    What a leader knows of its followers, and sends them.
    """

    def __init__(self, around: Environment) -> None:
        self._probes: dict[Peer, int] = {}
        self._probing: set[Peer] = set()
        self._transfers: dict[Peer, _Transfer] = {}
        self._versions: dict[Peer, int] = {}
        super().__init__(around)

    @abstractmethod
    def _counts(self, peer: Peer, term: int) -> bool:
        """G4. Whether a reply is to this leadership, and from whom it asks."""

    # Whom it is for

    def _begin_with(self, peer: Peer) -> None:
        self._SyncObj__raftMatchIndex[peer] = 0
        self._SyncObj__lastResponseTime[peer] = self._now()
        self._probe(peer, self.last_index + 1)

    def _end_with(self, peer: Peer) -> None:
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

    def _SyncObj__onBecomeLeader(self) -> None:
        for peer in self._peers:
            self._SyncObj__raftMatchIndex[peer] = 0
            self._probe(peer, self.last_index + 1)
        self._transfers.clear()
        self._versions.clear()
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

    # Entries

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

    def signs_of_life(self) -> list[tuple[Peer, AppendEntries]]:
        """
        A leader's heartbeats to those whose log is known to agree with its own so far; they
        may be sent at any time as long as what this node has done by now is on disk.
        """
        if self.role != LEADER:
            return []
        log = self._SyncObj__raftLog
        first = log[0][1]
        signs = []
        for peer in self._others():
            match = self._SyncObj__raftMatchIndex[peer]
            if match >= first and peer in self._SyncObj__connectedNodes:
                term = log[match - first][2]
                sign = AppendEntries(
                    self.term, self.commit_index, match, term, [], self._probes[peer]
                )
                signs.append((peer, sign))
        return signs

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

    # Snapshots

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
