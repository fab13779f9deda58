"""
All that a node keeps, in memory, and how records change it. Without I/O.
"""

from __future__ import annotations

from collections.abc import Sequence

from alacrity.cluster.log.records import (
    Append,
    Commit,
    Content,
    Damage,
    Entry,
    Peer,
    Record,
    Snapshot,
    Term,
    TruncateFrom,
    TruncateTo,
)


class Kept:
    """
    All that the file says, in memory.

    @ivar log: the entries; changed by the methods alone.
    @ivar size: bytes of the entries' commands.
    """

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None
        self.log: list[Entry] = []
        self.size = 0
        self.term = 0
        self.vote: str | None = None
        self.commit = 1
        self.peers: dict[str, str] = {}

    def take(self, record: Record) -> None:
        """
        Change as a record says.

        @raise ValueError: it does not fit what is known.
        """
        log = self.log
        match record:
            case Append(index, term, command):
                if log and index != log[-1][1] + 1:
                    raise ValueError(f"entry {index} follows entry {log[-1][1]}")
                log.append((command, index, term))
                self.size += len(command)
            case TruncateFrom(index):
                if log and index > log[-1][1]:
                    raise ValueError(f"there is no entry {index}")
                # A snapshot that was taken meanwhile may have dropped it already.
                self._drop(slice(max(0, index - log[0][1]) if log else 0, None))
            case TruncateTo(index):
                self.drop_before(index)
            case Term(term, vote):
                self.term, self.vote = term, vote
            case Commit(index):
                self.commit = index
            case Peer(name, None):
                self.peers.pop(name, None)
            case Peer(name, incarnation):
                assert incarnation is not None
                self.peers[name] = incarnation
            case Snapshot():
                self.snapshot = record

    def drop_before(self, index: int) -> None:
        """
        Let the log begin at an index, if it begins before.
        """
        self._drop(slice(max(0, index - self.log[0][1]) if self.log else 0))

    def _drop(self, entries: slice) -> None:
        self.size -= sum(len(command) for command, _, _ in self.log[entries])
        del self.log[entries]

    def replace_log(self, entries: Sequence[Entry]) -> None:
        """
        Have other entries.
        """
        self.log = list(entries)
        self.size = sum(len(command) for command, _, _ in entries)

    def records(self, snapshot: Snapshot | None) -> list[Record]:
        """
        What brings an empty file here.

        @param snapshot: taken instead of the one that is known, with the log from
            where it says.
        """
        first = 0 if snapshot is None else snapshot.first_kept
        if snapshot is None:
            snapshot = self.snapshot
        records: list[Record] = [] if snapshot is None else [snapshot]
        records.append(Term(self.term, self.vote))
        records += [
            Append(index, term, command) for command, index, term in self.log if index >= first
        ]
        records.append(Commit(self.commit))
        records += [Peer(name, incarnation) for name, incarnation in self.peers.items()]
        return records


def replay(content: Content) -> Kept:
    """
    What a file says.

    @raise Damage: it contradicts itself.
    """
    kept = Kept()
    for at, records in content.frames:
        try:
            for record in records:
                kept.take(record)
        except ValueError as error:
            raise Damage(at, str(error)) from error
    return kept


def fits(snapshot: Snapshot, log: Sequence[Entry]) -> bool:
    """
    Whether a log has a snapshot's last entry and the one before.
    """
    first = log[0][1] if log else 0
    wanted = [(snapshot.last_index, snapshot.last_term)]
    if snapshot.previous is not None:
        wanted.insert(0, snapshot.previous)
        if snapshot.previous[0] != snapshot.last_index - 1:
            return False
    return all(
        0 <= index - first < len(log) and log[index - first][1:] == (index, term)
        for index, term in wanted
    )
