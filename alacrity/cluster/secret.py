"""
The secret that the nodes of a cluster share, in a file of its own.

C{python -m alacrity.cluster.secret FILE} makes one; it is then copied to each node.
Whoever has it can do everything that a node can.
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

SHORTEST: Final = 32
"""Bytes that a secret has at least."""

_LONGEST: Final = 4096

_USAGE: Final = "usage: python -m alacrity.cluster.secret FILE"


class SecretError(Exception):
    """
    There is no secret to use. The message is one line, for an operator.
    """


def create(path: Path) -> None:
    """
    Make a new secret, in a new file that nobody else can read.

    @raise SecretError: the file is there already, or cannot be made.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        raise SecretError(f"{path}: it is there already, and is not overwritten") from None
    except OSError as error:
        raise SecretError(f"{path}: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise SecretError(f"{path}: {error.strerror}") from error


def load(path: Path) -> bytes:
    """
    Read a secret. White space at its ends does not count.

    @return: at least L{SHORTEST} bytes.
    @raise SecretError: it cannot be read, others can read it, or it is too short.
    """
    try:
        # Not blocking, in case it is a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise SecretError(f"{path}: it is not a regular file")
            if mode & 0o077:
                raise SecretError(
                    f"{path}: its mode {stat.S_IMODE(mode):04o} lets others use it; "
                    f"allowed: 0600 or 0400"
                )
            content = os.read(descriptor, _LONGEST + 1).strip()
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SecretError(f"{path}: {error.strerror}") from error
    if not SHORTEST <= len(content) <= _LONGEST:
        raise SecretError(
            f"{path}: it has {len(content)} bytes; allowed: {SHORTEST} to {_LONGEST}. "
            f"`python -m alacrity.cluster.secret FILE` makes a good one"
        )
    return content


def main(arguments: Sequence[str]) -> str | None:
    """
    The command.

    @return: what is wrong; L{None}: nothing.
    """
    if len(arguments) != 1 or arguments[0].startswith("-"):
        return _USAGE
    try:
        create(Path(arguments[0]))
    except SecretError as error:
        return str(error)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
