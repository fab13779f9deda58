"""
Files that hold a secret: read only if their mode keeps other users out.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


class GuardedFileError(Exception):
    """
    A file that cannot be read, or that others may use.
    """


class UnreadableFile(GuardedFileError):
    """
    A file that the system does not let be read.

    @ivar reason: in the system's words.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror)
        self.reason = error.strerror


class IrregularFile(GuardedFileError):
    """
    A directory, a pipe or the like.
    """

    def __init__(self) -> None:
        super().__init__("not a regular file")


class ExposedFile(GuardedFileError):
    """
    A file whose mode lets others use it.

    @ivar mode: its permission bits.
    """

    def __init__(self, mode: int) -> None:
        super().__init__(f"mode {mode:04o}")
        self.mode = mode


def read_guarded(path: Path, *, forbidden: int, size: int) -> bytes:
    """
    Read a file, unless others may use it. The mode is that of the very file that is read.

    @param forbidden: the permission bits of which none may be set.
    @param size: bytes that are read at most.
    @raise GuardedFileError: it cannot be read, is no regular file, or is open to others.
    """
    try:
        # Not blocking: a pipe would wait for its other end.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise IrregularFile
            mode = stat.S_IMODE(status.st_mode)
            if mode & forbidden:
                raise ExposedFile(mode)
            return os.read(descriptor, size)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UnreadableFile(error) from error
