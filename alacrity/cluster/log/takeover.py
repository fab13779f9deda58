"""
The former pool file, C{pool.json}, in which early versions of a node kept the pool, before there
were clusters. It is read once: the pool is copied into the log, and the file is renamed.

The file contains one JSON object: C{format}, a number that is raised when the rest changes its
meaning; C{checksum}, the SHA-256 of the pool's bytes in the file; C{pool}.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import msgspec
from twisted.logger import Logger

from alacrity.cluster.log.files import Files
from alacrity.pool.model import Pool

FORMER_POOL_FILE: Final = "pool.json"

TAKEN_OVER: Final = "pool.json.taken-over"
"""The former pool file's name once its pool is in the log."""

_FORMAT: Final = 1
"""The last format of the file. All formats up to this one are read."""

_log: Final = Logger()


class MalformedPoolFile(Exception):
    """
    The content of the former pool file is damaged, or of an unknown format.
    """


class _Header(msgspec.Struct, frozen=True):
    format: int


class _PoolFile(msgspec.Struct, frozen=True):
    format: int
    checksum: str
    pool: msgspec.Raw


def decode_pool_file(content: bytes) -> Pool:
    """
    The pool in the content of a former pool file.

    @raise MalformedPoolFile: the content is damaged, or of an unknown format; the message is
        the reason.
    """
    try:
        header = msgspec.json.decode(content, type=_Header)
        if not 1 <= header.format <= _FORMAT:
            raise MalformedPoolFile(f"it has format {header.format}; known here: up to {_FORMAT}")
        file = msgspec.json.decode(content, type=_PoolFile)
        if file.checksum != f"sha256:{sha256(file.pool).hexdigest()}":
            raise MalformedPoolFile("its checksum is wrong")
        pool = msgspec.json.decode(file.pool, type=Pool)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise MalformedPoolFile(str(error)) from error
    for id, server in pool.servers.items():
        if id != server.id:
            raise MalformedPoolFile(f"server {server.id} has the key {id!r}")
    return pool


def read_former_pool(files: Files) -> Pool | None:
    """
    The pool to take over; L{None}: there is no former pool file. A malformed file is logged, and
    counts as an empty pool.
    """
    content = files.read(FORMER_POOL_FILE)
    if content is None:
        return None
    try:
        return decode_pool_file(content)
    except MalformedPoolFile as error:
        _log.error(
            "{directory}/{name} cannot be used: {fault}. No servers are known",
            directory=files.directory,
            name=FORMER_POOL_FILE,
            fault=str(error),
        )
        return Pool()


def rename_former_pool(files: Files, *, log: str, taken_over: bool) -> None:
    """
    Rename the former pool file, if there is one, and log the reason.

    @param log: the name of the log's file, which replaces the pool file.
    @param taken_over: whether the pool is now in the log; if not, it was ignored because the
        log existed already.
    """
    if files.read(FORMER_POOL_FILE) is None:
        return
    files.rename(FORMER_POOL_FILE, TAKEN_OVER)
    files.sync_names()
    if taken_over:
        _log.info(
            "the pool in {directory}/{name} is taken over; the file is renamed to {aside}",
            name=FORMER_POOL_FILE,
            directory=files.directory,
            aside=TAKEN_OVER,
        )
    else:
        _log.warn(
            "{directory}/{name} is ignored, because {log} exists; it is renamed to {aside}",
            name=FORMER_POOL_FILE,
            log=log,
            directory=files.directory,
            aside=TAKEN_OVER,
        )
