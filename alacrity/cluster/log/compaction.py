"""
Compaction: a new file with a snapshot in the place of the entries that it contains.
"""

from __future__ import annotations

from enum import Enum

from alacrity.cluster.log.files import File, Files
from alacrity.cluster.log.newfile import COMPACTED, make_current, write_new_file
from alacrity.cluster.log.records import Record, Snapshot, TruncateFrom, encode_frame


class CompactionPhase(Enum):
    """
    How far a compaction is.
    """

    PREPARED = "prepared"
    """Its records are gathered; its file is not on disk."""
    WRITTEN = "written"
    """Its file is on disk, under a temporary name."""
    DISCARDED = "discarded"
    """It comes to nothing."""


class Compaction:
    """
    A file with a new snapshot, until it takes the log's place; see L{Storage.prepare
    <alacrity.cluster.log.storage.Storage.prepare>}.

    @ivar snapshot: the new one.
    """

    def __init__(self, files: Files, incarnation: str, records: list[Record]) -> None:
        """
        @param records: of the whole file; the first is the snapshot.
        """
        snapshot = records[0]
        assert isinstance(snapshot, Snapshot)
        self.snapshot: Snapshot = snapshot
        self._files = files
        self._incarnation = incarnation
        self._records = records
        self._later: list[Record] = []
        self._file: File | None = None
        self._discarded = False

    @property
    def phase(self) -> CompactionPhase:
        """
        How far it is. (Not a variable, since L{write} runs in another thread than the
        one that discards it.)
        """
        if self._discarded:
            return CompactionPhase.DISCARDED
        return CompactionPhase.PREPARED if self._file is None else CompactionPhase.WRITTEN

    def __repr__(self) -> str:
        return f"<Compaction up to {self.snapshot.last_index}: {self.phase.value}>"

    def write(self) -> None:
        """
        Write the file, and have it on disk. For a thread: it blocks, while the storage
        may be used and synced.

        @raise OSError: it could not be written; nothing has changed.
        """
        records, self._records = self._records, []
        self._file = write_new_file(self._files, COMPACTED, self._incarnation, records)

    def add(self, record: Record) -> None:
        """
        Add a change that was made since the compaction was prepared. One that truncates
        what the snapshot contains discards the compaction: other entries may come in
        their place.
        """
        self._later.append(record)
        if isinstance(record, TruncateFrom) and record.index <= self.snapshot.last_index:
            self._discarded = True

    def finish(self) -> tuple[File, int]:
        """
        Write the changes that were added, and have the file be the log's.

        @return: the file, and how many frames it has.
        """
        file = self._file
        assert file is not None
        try:
            if self._later:
                file.write(encode_frame(self._incarnation, 2, self._later))
                file.sync()
            make_current(self._files, COMPACTED)
        except BaseException:
            file.close()
            raise
        return file, 2 if self._later else 1

    def discard(self) -> None:
        """
        Have it come to nothing. It may be written meanwhile, and wants L{close} then.
        """
        self._discarded = True

    def close(self) -> None:
        """
        Discard it, and close its file; not while it is written.
        """
        self._discarded = True
        file, self._file = self._file, None
        if file is not None:
            file.close()
