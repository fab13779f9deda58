"""
Whole new files that take the place of the log's file, C{raft.log}.
"""

from __future__ import annotations

from typing import Final

from alacrity.cluster.log.files import File, Files
from alacrity.cluster.log.records import Record, append_frame, encode_header

NAME: Final = "raft.log"

REWRITTEN: Final = "raft.log.new"
"""The name of a rewritten file until it takes the log's place."""

COMPACTED: Final = "raft.log.compacted"
"""The name of a file with a new snapshot until it takes the log's place."""


def write_new_file(files: Files, name: str, incarnation: str, records: list[Record]) -> File:
    """
    Write a file with one frame, under a temporary name, and have it on disk.

    @raise OSError: it could not be written; nothing is left of it.
    """
    content = append_frame(bytearray(encode_header(incarnation)), incarnation, 1, records)
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


def make_current(files: Files, name: str) -> None:
    """
    Give a file that is on disk the name of the log's file.
    """
    files.rename(name, NAME)
    files.sync_names()


def remove_leftovers(files: Files) -> None:
    """
    Remove the new files that a crash has left under their temporary names.
    """
    for name in (REWRITTEN, COMPACTED):
        files.remove(name)
