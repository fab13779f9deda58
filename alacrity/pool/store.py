"""
The file that the pool was kept in before there was a cluster, C{pool.json} in the state
directory. It is read once, and its pool taken over.

It holds one JSON object: C{format}, a number that is raised when the rest changes
its meaning; C{checksum}, the SHA-256 of the pool's bytes as they stand in the file;
C{pool}.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import msgspec

from alacrity.pool.model import Pool

FORMAT: Final = 1
"""The last format there was. All formats up to it are read."""

NAME: Final = "pool.json"


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
