"""
Compaction: when the beginning of the log is replaced by a snapshot.
"""

from __future__ import annotations

from alacrity.cluster.log.records import Snapshot
from alacrity.cluster.raft.adapter import RaftAdapter
from alacrity.cluster.raft.environment import Environment
from alacrity.cluster.raft.membership import members_at
from alacrity.cluster.raft.replication import Replication


class Compaction:
    """
    The size of the log, and what it was when a snapshot was taken last.
    """

    def __init__(
        self,
        raft: RaftAdapter,
        environment: Environment,
        replication: Replication,
    ) -> None:
        self._raft = raft
        self._machine = environment.machine
        self._results = environment.results
        self._limits = environment.limits
        self._replication = replication
        snapshot = raft.log.snapshot
        self._compacted = 0 if snapshot is None else snapshot.last_index
        self._compacted_size = 0

    def installed(self, index: int) -> None:
        """
        Note that a snapshot has come from the leader.
        """
        self._compacted = index

    def compact(self) -> None:
        """
        Take a snapshot, if the log is long or large.
        """
        raft, log = self._raft, self._raft.log
        applied = raft.applied_index
        # Not while a follower gets a snapshot: it would be too old once it is there.
        patience = 4 if self._replication.transfers else 1
        many = (
            len(log) > self._limits.log * patience
            and applied - self._compacted >= self._limits.log // 2
        )
        if not many and not self._is_large(patience):
            return
        self._compacted = applied
        self._compacted_size = log.size
        term = log[applied - log[0][1]][2]
        self._results.snapshot_taken(
            Snapshot(self._machine.encode(), applied, term, members_at(log, applied))
        )

    def _is_large(self, patience: int) -> bool:
        """
        Whether the log has too many bytes, half of them since it was compacted last.
        """
        log = self._raft.log
        snapshot = log.snapshot
        limit = self._limits.log_bytes
        if snapshot is not None:
            limit = max(limit, len(snapshot.state) // 2)
        # That it is smaller than it was means that the snapshot has taken its place.
        self._compacted_size = min(self._compacted_size, log.size)
        return (
            log.size > limit * min(patience, 2)
            and log.size - self._compacted_size > limit // 2
            and self._raft.applied_index > self._compacted
        )
