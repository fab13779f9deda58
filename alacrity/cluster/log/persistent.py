"""
The persistent state of a node, in memory: term, vote, entries, snapshot. Without I/O.
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
    The state that the records of a log's file add up to.

    @ivar entries: the entries of the log; changed by the methods alone.
    @ivar size: bytes of the entries' commands.
    @ivar vote: the node that got this one's vote in the term; L{None}: none did.
    @ivar commit: how far the entries are known to be committed.
    @ivar incarnations: those of other nodes, by name, as they were first met.
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
        Change as a record says.

        @raise ValueError: it contradicts the state.
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
                # A snapshot that was taken meanwhile may have dropped it already.
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
        Take a snapshot of entries of this log, and drop those that it replaces.
        """
        self.snapshot = snapshot
        self.drop_before(snapshot.first_kept)

    def replace(self, snapshot: Snapshot, entries: Sequence[LogEntry]) -> None:
        """
        Take another snapshot, and other entries. What the snapshot contains is committed.
        """
        self.snapshot = snapshot
        self.entries = list(entries)
        self.size = sum(len(command) for command, _, _ in entries)
        self.commit = max(self.commit, snapshot.last_index)

    def to_records(self, snapshot: Snapshot | None = None) -> list[Record]:
        """
        Records that recreate this state from nothing.

        @param snapshot: recorded instead of the present one, without the entries that
            it replaces.
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
    The state that a log's file holds.

    @raise MalformedLog: its records contradict each other.
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
    Whether a log has a snapshot's last entry and the one before.
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
