"""
The journal that the engine reads and changes: PySyncObj's interface to the log, term and
vote. Each change is one record. Without I/O.
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
        Change the state as a record says, and have the record go to disk.

        @param urgent: whether it has to be there before anything leaves the node.
        """
        raise NotImplementedError

    @property
    def snapshot(self) -> Snapshot | None:
        """
        The last one that was taken or installed, on disk or on its way there.
        """
        return self._state.snapshot

    @property
    def size(self) -> int:
        """
        Bytes of the log's commands.
        """
        return self._state.size

    @property
    def peers(self) -> dict[str, str]:
        """
        The incarnations of members that the log does not tell, and of nodes that are about
        to be members, as they were first met, by name.
        """
        return dict(self._state.incarnations)

    def remember_peer(self, name: str, incarnation: str) -> None:
        """
        Keep a member's incarnation.
        """
        if self._state.incarnations.get(name) != incarnation:
            self._change(PeerIncarnation(name, incarnation))

    def forget_peer(self, name: str) -> None:
        """
        Forget a member's incarnation.
        """
        if name in self._state.incarnations:
            self._change(PeerIncarnation(name, None))

    # PySyncObj's interface

    def add(self, command: bytes, idx: int, term: int) -> None:
        self._change(Append(idx, term, bytes(command)))

    def clear(self) -> None:
        """
        Drop all entries. A snapshot is installed with L{replace}, not with this.
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
        @raise ValueError: no snapshot stands in for the entries.
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
        The commit index, at most that of the last entry.
        """
        entries = self._state.entries
        return min(self._state.commit, entries[-1][1]) if entries else 1
