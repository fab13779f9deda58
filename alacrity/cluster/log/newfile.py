"""
Complete new files that replace the log's file, C{raft.log}.
"""

from __future__ import annotations

from typing import Final

from alacrity.cluster.log.files import File, Files
from alacrity.cluster.log.records import Record, append_frame, encode_header

NAME: Final = "raft.log"

REWRITTEN: Final = "raft.log.new"
"""The name of a rewritten file until it replaces the log's file."""

COMPACTED: Final = "raft.log.compacted"
"""The name of a file with a new snapshot until it replaces the log's file."""


def write_new_file(files: Files, name: str, incarnation: str, records: list[Record]) -> File:
    """
    Write a file with one frame, under a temporary name, and sync it to disk.

    @raise OSError: the file could not be written, and is removed.
    """
    content = append_frame(bytearray(encode_header(incarnation)), incarnation, 1, records)
    file = files.create(name)
    try:
        file.write(content)
        # This sync does not depend on the setting: the content must be on disk before the name.
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
        pass  # The first failure of the disk is raised.


def make_current(files: Files, name: str) -> None:
    """
    Rename a file that is on disk to the name of the log's file.
    """
    files.rename(name, NAME)
    files.sync_names()


def remove_leftovers(files: Files) -> None:
    """
    Remove new files that a crash has left under their temporary names.
    """
    for name in (REWRITTEN, COMPACTED):
        files.remove(name)
