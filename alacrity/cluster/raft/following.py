"""
A follower's part: to take the leader's entries and snapshots, and reply.
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
    A snapshot on its way from the leader.
    """

    key: tuple[str, int, int, int, int]
    data: bytearray


class Following:
    """
    A follower's answers to its leader's messages.
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
        Take a leader's message as a sign of its life, whatever the pending members are (G3:
        an uncommitted removal of the node that leads then would strand this one).

        @return: whether to go on; not if the leader is one no more. It is told, since
            with pre-votes nobody else tells it.
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
        Have the leader's entries in the log, or say from where on they are needed.
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
        G1. Up to where a message has proved this log to equal the leader's: to the last
        entry that it carries, or refers to, and no further.

        PySyncObj takes the whole log for proved by any message, also by one that carries
        a part of a snapshot or nothing: an isolated leader that comes back then applies
        entries that nobody else has.

        @param index: of that entry.
        """
        return index

    def take(self, message: AppendEntries) -> bool:
        """
        G2. Have a message's entries in the log: those that are there already stay, with
        all that follow. The first one of another term goes, with all that follow.

        PySyncObj truncates at each message, and so forgets what it has acknowledged.

        @return: whether that was possible.
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
                    raft.halt(f"the leader of term {message.term} contradicts entry {index}")
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
        G5. This log has not the entry that a message's are to follow. What is committed here
        is in the leader's log, so the next attempt from there succeeds, or finds that a
        snapshot is needed.

        PySyncObj answers with the end of the log or goes back by one entry, and takes
        the last answer of many: under load, the two never meet.
        """
        raft = self._raft
        if message.prev_index <= raft.commit_index:
            raft.halt(
                f"entry {message.prev_index} is committed here, and {peer.id}, who leads "
                f"term {message.term}, has another"
            )
            return
        self.reply(peer, raft.commit_index + 1, message.probe, success=False)

    # Snapshots

    def on_install_snapshot(self, peer: Peer, message: InstallSnapshot) -> None:
        """
        Gather the slices of a snapshot, and install it once it is whole.
        """
        if not self.follow(peer, message.term, message.probe):
            return
        raft = self._raft
        if message.last_index <= raft.commit_index:
            # It says nothing new. What is committed here is in the leader's log.
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
        G6. Take a snapshot that is whole, and keep what the log has beyond it, if it does: it
        may have been acknowledged. Both change as one, see L{Storage.replace}.

        PySyncObj writes them to two files, one after the other, and throws the whole log
        away when they disagree after a crash.
        """
        raft, log = self._raft, self._raft.log
        try:
            self._machine.restore(state)
        except CannotApply as error:
            raft.halt(f"the leader's snapshot: {error}")
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
        Tell the leader up to where the logs are equal, or from where on it shall try again.
        """
        version = self._machine.version
        self._raft.send(peer, Reply(self._raft.term, next_index, success, probe, version))
