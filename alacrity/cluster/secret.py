"""
The secret that the nodes of a cluster share, in a file of its own.

C{python -m alacrity.cluster.secret FILE} makes one; it is then copied to each node.
A program that has the secret can do everything that a node can.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from alacrity.net.guarded import ExposedFile, IrregularFile, UnreadableFile, read_guarded

SHORTEST: Final = 32
"""The least number of bytes of a secret."""

_LONGEST: Final = 4096

_USAGE: Final = "usage: python -m alacrity.cluster.secret FILE"


class SecretError(Exception):
    """
    A secret that cannot be used. The message is one line, for an operator.
    """


def create(path: Path) -> None:
    """
    Make a new secret, in a new file that only its owner can read.

    @raise SecretError: the file exists already, or cannot be made.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        raise SecretError(f"{path}: the file exists already, and is not overwritten") from None
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
    Read a secret from its file, without the white space at its ends.

    @return: at least L{SHORTEST} bytes.
    @raise SecretError: the file cannot be read, others can read it, or the secret's length is
        not allowed.
    """
    try:
        content = read_guarded(path, forbidden=0o077, size=_LONGEST + 1).strip()
    except UnreadableFile as error:
        raise SecretError(f"{path}: {error.reason}") from error
    except ExposedFile as error:
        raise SecretError(
            f"{path}: its mode {error.mode:04o} lets others use it; allowed: 0600 or 0400"
        ) from None
    except IrregularFile:
        raise SecretError(f"{path}: it is not a regular file") from None
    if not SHORTEST <= len(content) <= _LONGEST:
        raise SecretError(
            f"{path}: it has {len(content)} bytes; allowed: {SHORTEST} to {_LONGEST}. "
            f"`python -m alacrity.cluster.secret FILE` makes a good one"
        )
    return content


def main(arguments: Sequence[str]) -> str | None:
    """
    Run the command.

    @return: the fault, in one line; L{None}: there is none.
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
