"""
The persistent state of a node, in memory: term, vote, entries, snapshot. There is no I/O here.
"""

from __future__ import annotations

from collections.abc import Sequence

from alacrity.cluster.log.records import (
    Append,
    Commit,
    LogEntry,
    MalformedLog,
    ParsedLog,
    PeerIncarnation,
    Record,
    Snapshot,
    Term,
    TruncateFrom,
    TruncateTo,
)


class PersistentState:
    """
    The state that results from the records of a log's file.

    @ivar entries: the entries of the log; only the methods change this list.
    @ivar size: the size of the entries' commands, in bytes.
    @ivar vote: the name of the node that this node voted for in the term; L{None}: no vote.
    @ivar commit: the commit index.
    @ivar incarnations: the incarnations of other nodes at the first contact, by name.
    """

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None
        self.entries: list[LogEntry] = []
        self.size = 0
        self.term = 0
        self.vote: str | None = None
        self.commit = 1
        self.incarnations: dict[str, str] = {}

    def apply_record(self, record: Record) -> None:
        """
        Apply a record.

        @raise ValueError: the record contradicts the state.
        """
        entries = self.entries
        match record:
            case Append(index, term, command):
                if entries and index != entries[-1][1] + 1:
                    raise ValueError(f"entry {index} follows entry {entries[-1][1]}")
                entries.append((command, index, term))
                self.size += len(command)
            case TruncateFrom(index):
                if entries and index > entries[-1][1]:
                    raise ValueError(f"there is no entry {index}")
                # A snapshot that was taken meanwhile may have dropped the entry already.
                self._drop(slice(max(0, index - entries[0][1]) if entries else 0, None))
            case TruncateTo(index):
                self.drop_before(index)
            case Term(term, vote):
                self.term, self.vote = term, vote
            case Commit(index):
                self.commit = index
            case PeerIncarnation(name, None):
                self.incarnations.pop(name, None)
            case PeerIncarnation(name, incarnation):
                assert incarnation is not None
                self.incarnations[name] = incarnation
            case Snapshot():
                self.snapshot = record

    def drop_before(self, index: int) -> None:
        """
        Drop the entries before an index, if there are any.
        """
        self._drop(slice(max(0, index - self.entries[0][1]) if self.entries else 0))

    def _drop(self, dropped: slice) -> None:
        self.size -= sum(len(command) for command, _, _ in self.entries[dropped])
        del self.entries[dropped]

    def compact(self, snapshot: Snapshot) -> None:
        """
        Set a snapshot of entries in this log, and drop the entries that it replaces.
        """
        self.snapshot = snapshot
        self.drop_before(snapshot.first_kept)

    def replace(self, snapshot: Snapshot, entries: Sequence[LogEntry]) -> None:
        """
        Set another snapshot and other entries. The entries in the snapshot are committed.
        """
        self.snapshot = snapshot
        self.entries = list(entries)
        self.size = sum(len(command) for command, _, _ in entries)
        self.commit = max(self.commit, snapshot.last_index)

    def to_records(self, snapshot: Snapshot | None = None) -> list[Record]:
        """
        Records that recreate this state from nothing.

        @param snapshot: a snapshot to record instead of the present one, without the entries
            that it replaces.
        """
        first = 0 if snapshot is None else snapshot.first_kept
        if snapshot is None:
            snapshot = self.snapshot
        records: list[Record] = [] if snapshot is None else [snapshot]
        records.append(Term(self.term, self.vote))
        records += [
            Append(index, term, command) for command, index, term in self.entries if index >= first
        ]
        records.append(Commit(self.commit))
        records += [
            PeerIncarnation(name, incarnation) for name, incarnation in self.incarnations.items()
        ]
        return records


def replay(parsed: ParsedLog) -> PersistentState:
    """
    The state by the records of a log's file.

    @raise MalformedLog: the records contradict each other.
    """
    state = PersistentState()
    for at, records in parsed.frames:
        try:
            for record in records:
                state.apply_record(record)
        except ValueError as error:
            raise MalformedLog(at, str(error)) from error
    return state


def fits(snapshot: Snapshot, entries: Sequence[LogEntry]) -> bool:
    """
    Whether a log has the last entry of a snapshot, and the entry before it.
    """
    first = entries[0][1] if entries else 0
    wanted = [(snapshot.last_index, snapshot.last_term)]
    if snapshot.previous is not None:
        wanted.insert(0, snapshot.previous)
        if snapshot.previous[0] != snapshot.last_index - 1:
            return False
    return all(
        0 <= index - first < len(entries) and entries[index - first][1:] == (index, term)
        for index, term in wanted
    )
