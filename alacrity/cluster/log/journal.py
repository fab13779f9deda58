"""
The journal that the engine reads and changes: PySyncObj's interface to the log, the term and
the vote. Each change is one record. There is no I/O here.
"""

from __future__ import annotations

from typing import SupportsIndex, overload

from pysyncobj.journal import Journal

from alacrity.cluster.log.persistent import PersistentState
from alacrity.cluster.log.records import (
    Append,
    Commit,
    LogEntry,
    PeerIncarnation,
    Record,
    Snapshot,
    Term,
    TruncateFrom,
    TruncateTo,
)


class StateJournal(Journal):  # type: ignore[misc] # it is not annotated
    """
    The engine's journal, and the node's other persistent state, in memory.
    """

    def __init__(self, state: PersistentState) -> None:
        self._state = state

    def _change(self, record: Record, *, urgent: bool = True) -> None:
        """
        Apply a record to the state, and write it to disk later.

        @param urgent: whether the record must be on disk before any message leaves the node.
        """
        raise NotImplementedError

    @property
    def snapshot(self) -> Snapshot | None:
        """
        The last snapshot that was taken or installed, whether it is on disk yet or not.
        """
        return self._state.snapshot

    @property
    def size(self) -> int:
        """
        The size of the log's commands, in bytes.
        """
        return self._state.size

    @property
    def peers(self) -> dict[str, str]:
        """
        The incarnations of other nodes at the first contact, by name: of members whose
        incarnation is not in the log, and of learners.
        """
        return dict(self._state.incarnations)

    def remember_peer(self, name: str, incarnation: str) -> None:
        """
        Remember another node's incarnation.
        """
        if self._state.incarnations.get(name) != incarnation:
            self._change(PeerIncarnation(name, incarnation))

    def forget_peer(self, name: str) -> None:
        """
        Forget another node's incarnation.
        """
        if name in self._state.incarnations:
            self._change(PeerIncarnation(name, None))

    # PySyncObj's interface

    def add(self, command: bytes, idx: int, term: int) -> None:
        self._change(Append(idx, term, bytes(command)))

    def clear(self) -> None:
        """
        Drop all entries. (A snapshot is installed with L{replace} instead.)
        """
        self.deleteEntriesFrom(0)

    def deleteEntriesFrom(self, entryFrom: int) -> None:
        """
        @param entryFrom: a position, not an index.
        """
        entries = self._state.entries
        if entryFrom < len(entries):
            self._change(TruncateFrom(entries[entryFrom][1]))

    def deleteEntriesTo(self, entryTo: int) -> None:
        """
        @param entryTo: a position, not an index.
        @raise ValueError: no snapshot contains the entries.
        """
        entries = self._state.entries
        if entryTo <= 0 or not entries:
            return
        index = entries[0][1] + min(entryTo, len(entries))
        if self.snapshot is None or index > self.snapshot.last_index:
            raise ValueError(f"no snapshot contains the entries before {index}")
        self._change(TruncateTo(index))

    @overload
    def __getitem__(self, item: SupportsIndex) -> LogEntry: ...
    @overload
    def __getitem__(self, item: slice) -> list[LogEntry]: ...
    def __getitem__(self, item: SupportsIndex | slice) -> LogEntry | list[LogEntry]:
        return self._state.entries[item]

    def __len__(self) -> int:
        return len(self._state.entries)

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:
        if (term, votedForNodeId) != (self._state.term, self._state.vote):
            self._change(Term(term, votedForNodeId))

    def getCurrentTerm(self) -> int:
        return self._state.term

    def getVotedForNodeId(self) -> str | None:
        return self._state.vote

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:
        if raftCommitIndex != self._state.commit:
            self._change(Commit(raftCommitIndex), urgent=False)

    def getRaftCommitIndex(self) -> int:
        """
        The commit index, which is at most the index of the last entry.
        """
        entries = self._state.entries
        return min(self._state.commit, entries[-1][1]) if entries else 1
