"""
The decision when to compact: to replace the beginning of the log by a snapshot.
"""

from __future__ import annotations

from alacrity.cluster.log.records import Snapshot
from alacrity.cluster.raft.adapter import RaftAdapter
from alacrity.cluster.raft.environment import Environment
from alacrity.cluster.raft.membership import members_at
from alacrity.cluster.raft.replication import Replication


class Compaction:
    """
    The size of the log, compared with its size when the last snapshot was taken.
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
        Note that the leader's snapshot up to an index was installed.
        """
        self._compacted = index

    def compact(self) -> None:
        """
        Take a snapshot, if the log is long or large.
        """
        raft, log = self._raft, self._raft.log
        applied = raft.applied_index
        # While a follower receives a snapshot, wait longer: with a newer snapshot here, the
        # one on its way would be too old.
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
        Whether the log has too many bytes, half of the limit since the last compaction.
        """
        log = self._raft.log
        snapshot = log.snapshot
        limit = self._limits.log_bytes
        if snapshot is not None:
            limit = max(limit, len(snapshot.state) // 2)
        # A log that has become smaller was compacted meanwhile.
        self._compacted_size = min(self._compacted_size, log.size)
        return (
            log.size > limit * min(patience, 2)
            and log.size - self._compacted_size > limit // 2
            and self._raft.applied_index > self._compacted
        )
