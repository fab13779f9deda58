"""
The follower's side of replication: it takes the leader's entries and snapshots, and replies.
"""

from __future__ import annotations

import msgspec
from twisted.logger import Logger

from alacrity.cluster.log.entries import MEMBERSHIP, NO_OP
from alacrity.cluster.log.records import LogEntry, Snapshot
from alacrity.cluster.raft.adapter import LEADER, RaftAdapter
from alacrity.cluster.raft.compaction import Compaction
from alacrity.cluster.raft.elections import Elections
from alacrity.cluster.raft.environment import CannotApply, Environment
from alacrity.cluster.raft.messages import AppendEntries, InstallSnapshot, Reply, SnapshotReply
from alacrity.cluster.raft.peer import Peer
from alacrity.cluster.raft.reconfiguration import Reconfiguration


class SnapshotArrival(msgspec.Struct):
    """
    A snapshot that is being received from the leader.

    @ivar key: the leader's name and term, the snapshot's last index and term, and its size.
    @ivar data: the bytes received so far.
    """

    key: tuple[str, int, int, int, int]
    data: bytearray


class Following:
    """
    Handles the leader's messages on a follower.
    """

    _log = Logger()

    def __init__(
        self,
        raft: RaftAdapter,
        environment: Environment,
        elections: Elections,
        reconfiguration: Reconfiguration,
        compaction: Compaction,
    ) -> None:
        self._raft = raft
        self._machine = environment.machine
        self._results = environment.results
        self._elections = elections
        self._reconfiguration = reconfiguration
        self._compaction = compaction
        self._arrival: SnapshotArrival | None = None

    def follow(self, peer: Peer, term: int, probe: int) -> bool:
        """
        Follow the sender of a leader's message, even if it is not among the pending members
        (G3: the removal of a member may not be committed, and that member may be elected; a
        follower that refused it would be stranded).

        @return: whether to handle the message; not if its sender is no longer the leader. The
            sender is told so, because with pre-votes nobody else tells it.
        """
        raft = self._raft
        if term < raft.term:
            self.reply(peer, 0, probe, success=False)
            return False
        if term == raft.term and raft.role == LEADER:
            raft.halt(f"there are two leaders in term {term}: this node and {peer.id}")
            return False
        if term > raft.term:
            raft.forget_request_to_lead()
            raft.set_term(term)
            self._reconfiguration.forget_learners()
        self._elections.hear_leader(peer)
        return True

    # Entries

    def on_append_entries(self, peer: Peer, message: AppendEntries) -> None:
        """
        Handle a leader's entries: append them, or reply which entry is needed first.
        """
        if any(entry[1] != message.prev_index + 1 + at for at, entry in enumerate(message.entries)):
            self._log.warn("{name} has sent entries with a gap", name=peer.id)
            return
        if not self.follow(peer, message.term, message.probe):
            return
        raft, log = self._raft, self._raft.log
        first, last = log[0][1], log[-1][1]
        prev, entries = message.prev_index, message.entries
        raft.set_told_commit_index(message.commit_index)
        if prev >= first and (prev > last or log[prev - first][2] != message.prev_term):
            self.on_mismatch(peer, message)
            return
        if not self.take(message):
            return
        verified = self.verified(prev + len(entries))
        raft.commit(min(message.commit_index, verified))
        self.reply(peer, max(verified, raft.commit_index) + 1, message.probe, success=True)

    def verified(self, index: int) -> int:
        """
        G1. The index up to which a message has proved that this log equals the leader's: that
        of the last entry in the message, or without entries, of the entry before them.

        PySyncObj takes the whole log as proved by any message, even by a slice of a snapshot
        or an empty one. A leader that was isolated and comes back would then apply entries
        that nobody else has.

        @param index: the index of that entry.
        """
        return index

    def take(self, message: AppendEntries) -> bool:
        """
        G2. Add a message's entries to the log. Entries that are in the log already stay, and
        so do all that follow them. The first entry with another term is removed, with all that
        follow it.

        PySyncObj truncates the log at each message, and so loses acknowledged entries.

        @return: whether this was possible; if not, the node has halted.
        """
        raft, log = self._raft, self._raft.log
        changed = False
        for command, index, term in message.entries:
            first, last = log[0][1], log[-1][1]
            if index < first:
                continue
            if index <= last:
                if log[index - first][2] == term:
                    continue
                if index <= raft.commit_index:
                    raft.halt(
                        f"entry {index} is committed here, but the leader of term "
                        f"{message.term} has sent a different one"
                    )
                    return False
                log.deleteEntriesFrom(index - first)
                changed = True
            log.add(command, index, term)
            changed = changed or command[:1] == MEMBERSHIP
        if changed:
            self._reconfiguration.configure()
        return True

    def on_mismatch(self, peer: Peer, message: AppendEntries) -> None:
        """
        G5. Reply to a message whose entries do not fit: this log lacks the entry before them.
        All entries that are committed here are in the leader's log. So the leader's next
        attempt, after the last of them, succeeds, or shows that a snapshot is needed.

        PySyncObj replies with the end of the log, or goes back by one entry, and uses the
        last of many replies: under load, it may never find the last common entry.
        """
        raft = self._raft
        if message.prev_index <= raft.commit_index:
            raft.halt(
                f"entry {message.prev_index} is committed here, but {peer.id}, the leader of "
                f"term {message.term}, has a different one"
            )
            return
        self.reply(peer, raft.commit_index + 1, message.probe, success=False)

    # Snapshots

    def on_install_snapshot(self, peer: Peer, message: InstallSnapshot) -> None:
        """
        Collect the slices of a snapshot, and install it once it is complete.
        """
        if not self.follow(peer, message.term, message.probe):
            return
        raft = self._raft
        if message.last_index <= raft.commit_index:
            # The snapshot has nothing new: all entries that are committed here are in the
            # leader's log.
            self._arrival = None
            self.reply(peer, raft.commit_index + 1, message.probe, success=True)
            return
        key = (peer.id, message.term, message.last_index, message.last_term, message.size)
        if self._arrival is None or self._arrival.key != key:
            self._arrival = SnapshotArrival(key, bytearray())
        data = self._arrival.data
        if message.offset == len(data) and len(data) + len(message.data) <= message.size:
            data += message.data
        if len(data) < message.size:
            raft.send(peer, SnapshotReply(raft.term, message.last_index, len(data)))
            return
        self._arrival = None
        if self.install(message, bytes(data)):
            self.reply(peer, message.last_index + 1, message.probe, success=True)

    def install(self, message: InstallSnapshot, state: bytes) -> bool:
        """
        G6. Install a complete snapshot. If the log contains the snapshot's last entry, the
        entries after it are kept: they may have been acknowledged. Snapshot and log change
        together, or not at all, see L{Storage.replace}.

        PySyncObj writes them to two files, one after the other, and drops the whole log if
        they disagree after a crash.

        @return: whether this was possible; if not, the node has halted.
        """
        raft, log = self._raft, self._raft.log
        try:
            self._machine.restore(state)
        except CannotApply as error:
            raft.halt(f"the leader's snapshot cannot be installed: {error}")
            return False
        self._results.state_restored()
        index, term = message.last_index, message.last_term
        at = index - log[0][1]
        entries: list[LogEntry] = [(NO_OP, index, term)]
        if at < len(log) and log[at][2] == term:
            entries = log[at:]
        log.replace(Snapshot(state, index, term, tuple(message.members)), entries)
        raft.mark_applied(index)
        self._compaction.installed(index)
        raft.commit(index)
        self._reconfiguration.configure()
        return True

    def reply(self, peer: Peer, next_index: int, probe: int, *, success: bool) -> None:
        """
        Reply to the leader.

        @param next_index: on success, the index after the last one up to which the logs are
            known to be equal; otherwise the index from which the leader shall try again.
        """
        version = self._machine.version
        self._raft.send(peer, Reply(self._raft.term, next_index, success, probe, version))
