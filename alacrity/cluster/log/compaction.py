"""
Compaction: a new file for the log, with a snapshot instead of the entries that it contains.
"""

from __future__ import annotations

from enum import Enum

from alacrity.cluster.log.files import File, Files
from alacrity.cluster.log.newfile import COMPACTED, make_current, write_new_file
from alacrity.cluster.log.records import Record, Snapshot, TruncateFrom, encode_frame


class CompactionPhase(Enum):
    """
    Phases of a compaction.
    """

    PREPARED = "prepared"
    """Its records are collected; its file is not on disk."""
    WRITTEN = "written"
    """Its file is on disk, under a temporary name."""
    DISCARDED = "discarded"
    """Its file will not be used."""


class Compaction:
    """
    A file with a new snapshot, until it replaces the log's file; see L{Storage.prepare
    <alacrity.cluster.log.storage.Storage.prepare>}.

    @ivar snapshot: the new snapshot.
    """

    def __init__(self, files: Files, incarnation: str, records: list[Record]) -> None:
        """
        @param records: the records of the whole file; the first is the snapshot.
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
        The phase. (This is computed, because L{write} and L{discard} run in different
        threads.)
        """
        if self._discarded:
            return CompactionPhase.DISCARDED
        return CompactionPhase.PREPARED if self._file is None else CompactionPhase.WRITTEN

    def __repr__(self) -> str:
        return f"<Compaction up to {self.snapshot.last_index}: {self.phase.value}>"

    def write(self) -> None:
        """
        Write the file, and sync it to disk. This blocks, so it runs in a thread; meanwhile
        the storage may be used and synced.

        @raise OSError: the file could not be written; nothing has changed.
        """
        records, self._records = self._records, []
        self._file = write_new_file(self._files, COMPACTED, self._incarnation, records)

    def add(self, record: Record) -> None:
        """
        Add a change that was made after the compaction was prepared. A change that truncates
        entries which the snapshot contains discards the compaction, because other entries may
        replace them.
        """
        self._later.append(record)
        if isinstance(record, TruncateFrom) and record.index <= self.snapshot.last_index:
            self._discarded = True

    def finish(self) -> tuple[File, int]:
        """
        Write the added changes, and replace the log's file by this one.

        @return: the file, and the number of its frames.
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
        Discard the compaction. L{write} may be running, so L{close} must follow after it.
        """
        self._discarded = True

    def close(self) -> None:
        """
        Discard the compaction, and close its file. Not to be called while L{write} runs.
        """
        self._discarded = True
        file, self._file = self._file, None
        if file is not None:
            file.close()
