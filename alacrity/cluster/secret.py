"""
The secret that the nodes of a cluster share, in a file of its own.

C{python -m alacrity.cluster.secret FILE} makes one; it is then copied to each node.
A program that has the secret can do everything that a node can.

The file has one secret, in one line. While the secret is changed it has two, and the node
accepts other nodes that have either, and proves the first one. The change has three steps, each
of which is taken on all nodes before the next: C{--add} a new one as the second line, C{--swap}
the two lines, C{--remove} the second line.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from alacrity.net.guarded import ExposedFile, IrregularFile, UnreadableFile, read_guarded

SHORTEST: Final = 32
"""The least number of bytes of a secret."""

_LONGEST: Final = 4096

_MOST: Final = 2
"""Secrets in a file."""

_USAGE: Final = "usage: python -m alacrity.cluster.secret [--add | --swap | --remove] FILE"


class SecretError(Exception):
    """
    A secret that cannot be used. The message is one line, for an operator.
    """


def create(path: Path) -> None:
    """
    Make a new secret, in a new file that only its owner can read.

    @raise SecretError: the file exists already, or cannot be made.
    """
    try:
        _write_new(path, (_new(),))
    except FileExistsError:
        raise SecretError(f"{path}: the file exists already, and is not overwritten") from None
    except OSError as error:
        raise SecretError(f"{path}: {error.strerror}") from error


def add(path: Path) -> None:
    """
    Take the first step of a change: add a new secret as the second line.

    @raise SecretError: the file cannot be used, or has two secrets.
    """
    found = load(path)
    if len(found) == _MOST:
        raise SecretError(f"{path}: it has {_MOST} secrets already: finish that change first")
    _replace(path, (*found, _new()))


def swap(path: Path) -> None:
    """
    Take the second step: make the second line the first.

    @raise SecretError: the file cannot be used, or has one secret.
    """
    _replace(path, _both(path)[::-1])


def remove(path: Path) -> None:
    """
    Take the third step: remove the second line.

    @raise SecretError: the file cannot be used, or has one secret.
    """
    _replace(path, _both(path)[:1])


def _new() -> bytes:
    return secrets.token_hex(32).encode()


def _both(path: Path) -> tuple[bytes, ...]:
    found = load(path)
    if len(found) < _MOST:
        raise SecretError(f"{path}: it has one secret only: --add a second one first")
    return found


def _write_new(path: Path, lines: Sequence[bytes], like: os.stat_result | None = None) -> None:
    """
    Write a new file that only its owner can read.

    @param like: the status of a file that it replaces; its mode and owner are kept.
    @raise OSError: that failed; then there is no new file.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if like is not None:
                os.fchown(descriptor, like.st_uid, like.st_gid)
                os.fchmod(descriptor, like.st_mode & 0o777)
            file.writelines(line + b"\n" for line in lines)
            file.flush()
            os.fsync(descriptor)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _replace(path: Path, lines: Sequence[bytes]) -> None:
    """
    Replace the content of a file at once: a node that reads it sees all of it, or all of the
    one before.

    @raise SecretError: that failed; the file is as it was.
    """
    target = Path(os.path.realpath(path))
    new = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        _write_new(new, lines, target.stat())
        try:
            new.replace(target)
        except OSError:
            new.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SecretError(f"{path}: it cannot be replaced: {error.strerror}") from error


def load(path: Path) -> tuple[bytes, ...]:
    """
    Read the secrets from a file: one in a line, without the white space at its ends.

    @return: one or two, of at least L{SHORTEST} bytes; the first one is the one to prove.
    @raise SecretError: the file cannot be read, others can read it, or has something else in it.
    """
    size = _MOST * (_LONGEST + 2) + 1
    try:
        content = read_guarded(path, forbidden=0o077, size=size).strip()
    except UnreadableFile as error:
        raise SecretError(f"{path}: {error.reason}") from error
    except ExposedFile as error:
        raise SecretError(
            f"{path}: its mode {error.mode:04o} lets others use it; allowed: 0600 or 0400"
        ) from None
    except IrregularFile:
        raise SecretError(f"{path}: it is not a regular file") from None
    lines = [line.strip() for line in content.split(b"\n")]
    if len(lines) > _MOST:
        raise SecretError(
            f"{path}: it has {len(lines)} lines; allowed: one secret in one line, or {_MOST} "
            f"while the secret is changed"
        )
    for number, line in enumerate(lines, 1):
        _check_length(path, line, f"line {number}" if len(lines) > 1 else "it")
    if len(set(lines)) < len(lines):
        raise SecretError(f"{path}: both lines are the same secret; allowed: two secrets, or one")
    return tuple(lines)


def _check_length(path: Path, secret: bytes, what: str) -> None:
    """
    Refuse a secret that is too short, since it can be guessed, or too long.
    """
    if not SHORTEST <= len(secret) <= _LONGEST:
        weak = "So short a pass phrase is weak, for it can be guessed. " if secret else ""
        raise SecretError(
            f"{path}: {what} has {len(secret)} bytes; allowed: {SHORTEST} to {_LONGEST}. "
            f"{weak if len(secret) < SHORTEST else ''}"
            f"`python -m alacrity.cluster.secret FILE` makes a good one"
        )


_STEPS: Final[dict[str, Callable[[Path], None]]] = {
    "--add": add,
    "--swap": swap,
    "--remove": remove,
}


def main(arguments: Sequence[str]) -> str | None:
    """
    Run the command.

    @return: the fault, in one line; L{None}: there is none.
    """
    act: Callable[[Path], None]
    match arguments:
        case [file] if not file.startswith("-"):
            act = create
        case [option, file] if option in _STEPS and not file.startswith("-"):
            act = _STEPS[option]
        case _:
            return _USAGE
    try:
        act(Path(file))
    except SecretError as error:
        return str(error)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
