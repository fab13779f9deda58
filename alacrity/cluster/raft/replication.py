"""
Replication by the leader: it sends entries to the followers, or slices of a snapshot if the
entries are compacted already, and handles the followers' replies.
"""

from __future__ import annotations

import msgspec

from alacrity.cluster.log.records import LogEntry, Snapshot
from alacrity.cluster.raft.adapter import LEADER, RaftAdapter
from alacrity.cluster.raft.environment import Environment
from alacrity.cluster.raft.messages import AppendEntries, InstallSnapshot, Reply, SnapshotReply
from alacrity.cluster.raft.peer import Peer, by_name


class SnapshotTransfer(msgspec.Struct):
    """
    A snapshot that is being sent to a follower.

    @ivar offset: the number of bytes that the follower has confirmed.
    @ivar resend_at: the time at which the next slice is sent again.
    """

    snapshot: Snapshot
    offset: int = 0
    resend_at: float = 0.0


class Replication:
    """
    Keeps the state of each peer's log as the leader knows it, and sends what is missing there.

    @ivar peers: peers to connect to: members, learners, and removed members whose removal is
        uncommitted.
    @ivar probes: the number of the latest search for the last common entry, by peer.
    @ivar probing: the peers for which that search has not ended.
    @ivar transfers: the snapshots that are being sent, by peer.
    @ivar versions: the newest version of commands that a peer understands, by peer. Only
        reports to this leadership on the present connection count: an earlier one may have
        come from another version of the peer's program.
    """

    def __init__(self, raft: RaftAdapter, environment: Environment) -> None:
        self.peers: set[Peer] = set()
        self.probes: dict[Peer, int] = {}
        self.probing: set[Peer] = set()
        self.transfers: dict[Peer, SnapshotTransfer] = {}
        self.versions: dict[Peer, int] = {}
        self._raft = raft
        self._timing = environment.timing
        self._limits = environment.limits

    def counts(self, peer: Peer, term: int) -> bool:
        """
        G4. Whether a reply belongs to this leadership, and comes from a present peer.

        PySyncObj's replies carry no term. A late reply to an earlier leadership counts in a
        later one, and commits entries that no majority has.
        """
        raft = self._raft
        return term == raft.term and raft.role == LEADER and peer in self.peers

    # Peers

    def set_peers(self, peers: set[Peer]) -> None:
        """
        Set the peers that the log is sent to. Each must be known by L{track}.
        """
        self.peers = peers

    def track(self, peer: Peer) -> None:
        """
        Begin with a peer, of whose log nothing is known yet.
        """
        self._raft.match_index[peer] = 0
        self._raft.last_response[peer] = self._raft.now()
        self.probe(peer, self._raft.last_index + 1)

    def untrack(self, peer: Peer) -> None:
        """
        Forget everything about a peer's log.
        """
        for table in (
            self._raft.next_index,
            self._raft.match_index,
            self._raft.last_response,
            self.transfers,
            self.versions,
            self.probes,
        ):
            table.pop(peer, None)
        self.probing.discard(peer)

    def begin_leading(self) -> None:
        """
        Begin a leadership: forget all confirmations that were sent to an earlier one.
        """
        for peer in self.peers:
            self._raft.match_index[peer] = 0
            self.probe(peer, self._raft.last_index + 1)
        self.transfers.clear()
        self.versions.clear()

    def connected(self, peer: Peer) -> None:
        """
        Start again with a peer that has a new connection.
        """
        self.transfers.pop(peer, None)
        # The peer may have been restarted with another version of its program.
        self.versions.pop(peer, None)
        if self._raft.role == LEADER and peer in self.peers:
            # Messages on the earlier connection may be lost.
            match = self._raft.match_index[peer]
            self.probe(peer, match + 1 if match else self._raft.last_index + 1)
            self.send_to(peer)

    # Entries

    def send_to_all(self) -> None:
        """
        G8. Send each follower its missing entries, as far ahead of its confirmations as the
        limits allow.

        PySyncObj sends all missing entries at once, and loops without end while its snapshot
        is not ready.
        """
        self._raft.set_next_heartbeat(self._raft.now() + self._timing.heartbeat)
        for peer in sorted(self.peers, key=by_name):
            if peer in self._raft.connected:
                self.send_to(peer)

    def send_to(self, peer: Peer) -> None:
        """
        Send a peer its missing entries, a slice of a snapshot, or a heartbeat.
        """
        raft, log = self._raft, self._raft.log
        first, last = log[0][1], log[-1][1]
        upcoming = raft.next_index[peer]
        if peer in self.transfers or upcoming <= first:
            self._send_slice(peer)
            return
        probing = peer in self.probing
        horizon = raft.match_index[peer] + self._limits.ahead
        while True:
            entries: list[LogEntry] = []
            if upcoming <= last and (probing or upcoming <= horizon):
                entries = raft.entries_from(upcoming, self._limits.batch)
            raft.send(
                peer,
                AppendEntries(
                    raft.term,
                    raft.commit_index,
                    upcoming - 1,
                    log[upcoming - 1 - first][2],
                    entries,
                    self.probes[peer],
                ),
            )
            upcoming += len(entries)
            if probing:
                return
            raft.next_index[peer] = upcoming
            if upcoming > min(last, horizon):
                return

    def heartbeats(self) -> list[tuple[Peer, AppendEntries]]:
        """
        The leader's heartbeats to peers whose log is known to equal the leader's up to some
        index. They may be sent at any time once the changes made so far are on disk.
        """
        raft, log = self._raft, self._raft.log
        if raft.role != LEADER or raft.halted is not None:
            return []
        first = log[0][1]
        heartbeats = []
        for peer in raft.sorted_others:
            match = raft.match_index[peer]
            if match >= first and peer in raft.connected:
                term = log[match - first][2]
                heartbeat = AppendEntries(
                    raft.term, raft.commit_index, match, term, [], self.probes[peer]
                )
                heartbeats.append((peer, heartbeat))
        return heartbeats

    def on_reply(self, peer: Peer, message: Reply) -> None:
        """
        Note up to which index a follower's log equals this one, and send the next entries.
        """
        if not self.counts(peer, message.term):
            return
        raft = self._raft
        raft.last_response[peer] = raft.now()
        self.versions[peer] = message.version
        current = message.probe == self.probes[peer]
        if message.success:
            match = raft.match_index[peer]
            match = raft.match_index[peer] = max(match, message.next_node_idx - 1)
            if raft.next_index[peer] <= match:
                raft.next_index[peer] = match + 1
            transfer = self.transfers.get(peer)
            if transfer is not None and transfer.snapshot.last_index <= match:
                del self.transfers[peer]
            if current and peer in self.probing:
                self.probing.discard(peer)
                raft.next_index[peer] = match + 1
            if peer not in self.probing and raft.next_index[peer] <= raft.last_index:
                self.send_to(peer)
        elif current:
            self.probe(peer, message.next_node_idx)
            self.send_to(peer)

    def probe(self, peer: Peer, index: int) -> None:
        """
        Search for the last common entry, from an index on, with one message at a time.
        Replies to earlier searches are ignored.
        """
        self.probes[peer] = self.probes.get(peer, 0) + 1
        self.probing.add(peer)
        self._raft.next_index[peer] = max(1, min(index, self._raft.last_index + 1))

    # Snapshots

    def _send_slice(self, peer: Peer) -> None:
        """
        Send the next slice of a snapshot if it is due, or else a heartbeat.
        """
        raft = self._raft
        transfer = self.transfers.get(peer)
        if transfer is None:
            snapshot = raft.log.snapshot
            assert snapshot is not None
            transfer = self.transfers[peer] = SnapshotTransfer(snapshot)
        snapshot = transfer.snapshot
        data = b""
        if transfer.resend_at <= raft.now():
            data = snapshot.state[transfer.offset : transfer.offset + self._limits.slice]
            transfer.resend_at = raft.now() + self._timing.resend
        raft.send(
            peer,
            InstallSnapshot(
                raft.term,
                snapshot.last_index,
                snapshot.last_term,
                list(snapshot.members),
                len(snapshot.state),
                transfer.offset,
                data,
                self.probes[peer],
            ),
        )

    def on_snapshot_reply(self, peer: Peer, message: SnapshotReply) -> None:
        """
        Send the slice of a snapshot that comes after the bytes that a follower has.
        """
        if not self.counts(peer, message.term):
            return
        self._raft.last_response[peer] = self._raft.now()
        transfer = self.transfers.get(peer)
        if transfer is None or transfer.snapshot.last_index != message.last_index:
            return
        if message.offset != transfer.offset:
            transfer.offset = min(message.offset, len(transfer.snapshot.state))
            transfer.resend_at = 0.0
            self._send_slice(peer)
