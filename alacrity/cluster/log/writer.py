"""
The writer of the log's file, C{raft.log}: it appends frames, or replaces the file.
"""

from __future__ import annotations

from alacrity.cluster.log.compaction import Compaction
from alacrity.cluster.log.files import File, Files
from alacrity.cluster.log.newfile import NAME, REWRITTEN, make_current, write_new_file
from alacrity.cluster.log.records import Record, encode_frame


class LogWriter:
    """
    The log's file, open for writing. All methods block, and may raise L{OSError}. After an
    error, the content on disk is unknown, and L{replace} must be called.

    @ivar incarnation: the incarnation in the file's header.
    """

    def __init__(self, files: Files, incarnation: str, *, fsync: bool) -> None:
        """
        @param fsync: whether L{append} waits for the disk.
        """
        self.incarnation = incarnation
        self._files = files
        self._fsync = fsync
        self._file: File | None = None
        self._frames = 0

    def reopen(self, frames: int) -> None:
        """
        Continue to write the existing file.

        @param frames: the number of frames in the file.
        """
        self._use(self._files.append(NAME), frames)

    def append(self, records: list[Record]) -> None:
        """
        Write records as the next frame.
        """
        assert self._file is not None
        self._file.write(encode_frame(self.incarnation, self._frames + 1, records))
        if self._fsync:
            self._file.sync()
        self._frames += 1

    def replace(self, records: list[Record]) -> None:
        """
        Write a complete new file, which replaces the present one, if there is one.
        """
        self._use(write_new_file(self._files, REWRITTEN, self.incarnation, records), 1)
        make_current(self._files, REWRITTEN)

    def install(self, compaction: Compaction) -> None:
        """
        Replace the present file by a compaction's file.
        """
        self._use(*compaction.finish())

    def close(self) -> None:
        """
        Close the file.
        """
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _use(self, file: File, frames: int) -> None:
        old, self._file = self._file, file
        self._frames = frames
        if old is not None:
            old.close()
