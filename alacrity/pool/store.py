"""
The pool's file, C{pool.json} in the state directory.

It holds one JSON object: C{format}, a number that is raised when the rest changes
its meaning; C{checksum}, the SHA-256 of the pool's bytes as they stand in the file;
C{pool}. A file that cannot be understood is set aside, never overwritten.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
from twisted.logger import Logger

from alacrity.pool.model import Pool

FORMAT: Final = 1
"""The format that is written. All formats up to it are read."""

NAME: Final = "pool.json"
_NEW: Final = "pool.json.new"

_log: Final = Logger()


class StateError(Exception):
    """
    The state directory cannot be used. The message is one line, for an operator.
    """


class Damaged(Exception):
    """
    The file is not one that was written here in a format known here.
    """


class _Header(msgspec.Struct, frozen=True):
    format: int


class _Kept(msgspec.Struct, frozen=True):
    format: int
    checksum: str
    pool: msgspec.Raw


def load(directory: Path, wall: Callable[[], float] = time.time) -> Pool:
    """
    The pool as it was saved last; an empty one if it never was, or if the file is
    damaged. The directory is made if it is not there.

    @param wall: the time, in seconds since the epoch.
    @raise StateError: the directory or the file cannot be used.
    """
    path = directory / NAME
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _try_to_write(directory)
        content = path.read_bytes() if path.exists() else None
    except OSError as error:
        raise _state_error(directory, error) from error
    if content is None:
        return Pool()
    try:
        return decode(content)
    except Damaged as error:
        try:
            aside = _set_aside(path, wall())
        except OSError as cause:
            raise _state_error(directory, cause) from cause
        _log.error(
            "{path} cannot be used: {fault}. It is set aside as {aside}; no servers are known",
            path=str(path),
            fault=str(error),
            aside=aside.name,
        )
        return Pool()


def save(directory: Path, pool: Pool) -> None:
    """
    Write a pool to disk. Once this returns, L{load} finds it, even after a crash of
    the machine; until then, it finds the one before.

    To be called from one thread at a time.

    @raise OSError: it could not be written.
    """
    content = encode(pool)
    new = directory / _NEW
    with _create(new) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(directory / NAME)
    _sync(directory)


def encode(pool: Pool) -> bytes:
    """
    A pool as it stands in its file.
    """
    content = msgspec.json.encode(pool)
    kept = _Kept(FORMAT, _checksum(content), msgspec.Raw(content))
    return msgspec.json.encode(kept) + b"\n"


def decode(content: bytes) -> Pool:
    """
    The pool in a file's content.

    @raise Damaged: it cannot be understood; the message says why.
    """
    try:
        header = msgspec.json.decode(content, type=_Header)
        if not 1 <= header.format <= FORMAT:
            raise Damaged(f"it has format {header.format}; known here: up to {FORMAT}")
        kept = msgspec.json.decode(content, type=_Kept)
        if kept.checksum != _checksum(kept.pool):
            raise Damaged("its checksum is wrong")
        pool = msgspec.json.decode(kept.pool, type=Pool)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Damaged(str(error)) from error
    for id, server in pool.servers.items():
        if id != server.id:
            raise Damaged(f"server {server.id} stands under the id {id!r}")
    return pool


def _checksum(content: bytes | msgspec.Raw) -> str:
    return f"sha256:{sha256(content).hexdigest()}"


def _create(path: Path) -> BinaryIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "wb")


def _try_to_write(directory: Path) -> None:
    """
    Rather find out now than at the first registration.
    """
    new = directory / _NEW
    _create(new).close()
    new.unlink()


def _set_aside(path: Path, now: float) -> Path:
    """
    Give a damaged file a name of its own, and return that.
    """
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = path.with_name(f"{path.name}.damaged-{moment}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{moment}-{number}")
    path.rename(aside)
    _sync(path.parent)
    return aside


def _sync(directory: Path) -> None:
    """
    Have the names in a directory on disk.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _state_error(directory: Path, error: OSError) -> StateError:
    where = "" if error.filename in {None, str(directory)} else f" ({error.filename})"
    return StateError(
        f"the state directory {directory} cannot be used: {error.strerror or error}{where}"
    )
