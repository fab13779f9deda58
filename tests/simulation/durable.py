"""
The content of a node's C{raft.log} as a loss of power at this moment would leave it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from alacrity.cluster.log import records
from alacrity.cluster.log.entries import MEMBERSHIP
from alacrity.cluster.log.records import Append, Snapshot, Term, TruncateFrom, TruncateTo
from alacrity.cluster.log.storage import NAME
from alacrity.cluster.raft.membership import decode_members
from tests.support.fake_files import FakeFiles

Names: TypeAlias = tuple[str, ...]

OnAppend: TypeAlias = Callable[["Durable", int, int, bytes], None]
OnTruncate: TypeAlias = Callable[["Durable", int], None]


class Durable:
    """
    The synced part of a log, read frame by frame as it grows. It shares the format with
    the storage under test, and none of its state.

    @ivar term: the latest on disk.
    @ivar vote: in that term.
    @ivar snapshot_members: the members by the snapshot.
    @ivar snapshot: index and term of the last entry in it; C{(0, 0)}: there is none.
    """

    def __init__(self, on_append: OnAppend, on_truncate: OnTruncate) -> None:
        self._on_append = on_append
        self._on_truncate = on_truncate
        self._source: object = None
        self._bytes = b""
        self._clear()

    def _clear(self) -> None:
        self._at = 0
        self._seed = 0
        self.incarnation = ""
        self.term = 0
        self.vote: str | None = None
        self.snapshot = (0, 0)
        self.snapshot_members: Names = ()
        self._first = 1
        self._terms: list[int] = []
        self._changes: list[tuple[int, Names]] = []

    def refresh(self, files: FakeFiles) -> bool:
        """
        Read what was synced since the last call.

        @return: whether the file was replaced by another one.
        """
        source = files._synced_names.get(NAME)
        if source is self._source and (source is None or source.synced is self._bytes):
            return False
        anew = source is not self._source
        if anew:
            self._source = source
            self._clear()
        if source is None:
            self._bytes = b""
            return anew
        content = self._bytes = source.synced
        if not self._at:
            if len(content) < records.HEADER_SIZE:
                return anew
            self.incarnation = records._incarnation(content)
            self._seed = records._seed(self.incarnation)
            self._at = records.HEADER_SIZE
        while (found := records._payload(content, self._at, self._seed)) is not None:
            payload = found[1]
            for record in records._decoder.decode(payload):
                self._take(record)
            self._at += records._FRAME.size + len(payload)
        return anew

    def _take(self, record: records.Record) -> None:
        match record:
            case Append(index, term, command):
                if not self._terms:
                    self._first = index
                self._on_append(self, index, term, command)
                self._terms.append(term)
                if command[:1] == MEMBERSHIP:
                    names = tuple(each.name for each in decode_members(command).members)
                    self._changes.append((index, names))
            case TruncateFrom(index):
                self._on_truncate(self, index)
                del self._terms[max(0, index - self._first) :]
                while self._changes and self._changes[-1][0] >= index:
                    self._changes.pop()
            case TruncateTo(index):
                dropped = max(0, index - self._first)
                del self._terms[:dropped]
                self._first += dropped
            case Term(term, vote):
                self.term, self.vote = term, vote
            case Snapshot():
                self.snapshot = record.last_index, record.last_term
                self.snapshot_members = tuple(each.name for each in record.members)

    @property
    def last_index(self) -> int:
        """
        The index of the last entry.
        """
        return self._first + len(self._terms) - 1 if self._terms else self.snapshot[0]

    @property
    def last_term(self) -> int:
        """
        The term of the last entry.
        """
        return self._terms[-1] if self._terms else self.snapshot[1]

    def term_at(self, index: int) -> int | None:
        """
        The term of an entry; L{None}: it is not on disk, or in the snapshot only.
        """
        at = index - self._first
        if 0 <= at < len(self._terms):
            return self._terms[at]
        return self.snapshot[1] if index == self.snapshot[0] else None

    def has(self, index: int, term: int) -> bool:
        """
        Whether an entry is on disk, in the log or in the snapshot.
        """
        known = self.term_at(index)
        return known == term if known is not None else index < self.snapshot[0]

    def members_at(self, index: int) -> Names:
        """
        The members by the log up to an index.
        """
        for at, names in reversed(self._changes):
            if at <= index:
                return names
        return self.snapshot_members

    def changes_between(self, start: int, end: int) -> list[tuple[int, Names]]:
        """
        The changes of the members after an index, up to another.
        """
        return [each for each in self._changes if start < each[0] <= end]
