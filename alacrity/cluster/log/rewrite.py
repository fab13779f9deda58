"""
New files that take the log's place.
"""

from __future__ import annotations

from typing import Final

from alacrity.cluster.log.files import File, Files
from alacrity.cluster.log.records import Record, Snapshot, TruncateFrom, add_frame, frame, header

NAME: Final = "raft.log"

COMPACTED: Final = "raft.log.compacted"
"""What a file with a new snapshot is called until it takes the log's place."""


class Rewrite:
    """
    A new file with a new snapshot, on its way; see L{Storage.prepare}.

    @ivar snapshot: the new one.
    @ivar abandoned: whether it came to nothing.
    """

    def __init__(self, files: Files, incarnation: str, records: list[Record]) -> None:
        snapshot = records[0]
        assert isinstance(snapshot, Snapshot)
        self.snapshot: Snapshot = snapshot
        self.abandoned = False
        self._files = files
        self._incarnation = incarnation
        self._records = records
        self._since: list[Record] = []
        self._file: File | None = None

    def write(self) -> None:
        """
        Write the file, and have it on disk. For a thread: it blocks, while the storage
        may be used and synced.

        @raise OSError: it could not be; nothing has changed.
        """
        records, self._records = self._records, []
        self._file = whole_file(self._files, COMPACTED, self._incarnation, records)

    def note(self, record: Record) -> None:
        """
        For the storage: there is another change.
        """
        self._since.append(record)
        if isinstance(record, TruncateFrom) and record.index <= self.snapshot.last_index:
            # Of what the snapshot contains; others may stand in its place.
            self.abandoned = True

    @property
    def is_written(self) -> bool:
        """
        Whether L{write} has returned.
        """
        return self._file is not None

    def finish(self) -> tuple[File, int]:
        """
        For the storage: add the changes since, and take the old file's place.

        @return: the file, and how many frames it has.
        """
        file = self._file
        assert file is not None
        try:
            if self._since:
                file.write(frame(self._incarnation, 2, self._since))
                file.sync()
            take_place(self._files, COMPACTED)
        except BaseException:
            file.close()
            raise
        return file, 2 if self._since else 1

    def abandon(self) -> None:
        """
        Give it up, before or after L{write}; not meanwhile.
        """
        self.abandoned = True
        file, self._file = self._file, None
        if file is not None:
            file.close()


def whole_file(files: Files, name: str, incarnation: str, records: list[Record]) -> File:
    """
    A new file with records, on disk, under a name for the time being.
    """
    content = add_frame(bytearray(header(incarnation)), incarnation, 1, records)
    file = files.create(name)
    try:
        file.write(content)
        # Whatever the setting: names and content must not reach the disk out of order.
        file.sync()
    except BaseException:
        file.close()
        _try_to_remove(files, name)
        raise
    return file


def _try_to_remove(files: Files, name: str) -> None:
    try:
        files.remove(name)
    except OSError:
        pass  # The disk has failed in another way already.


def take_place(files: Files, name: str) -> None:
    """
    Have a file that is on disk be the log from now on.
    """
    files.rename(name, NAME)
    files.sync_names()
