"""
A program of the version before this one: it knows no command and no format of the state
beyond the first, and does not raise the format.
"""

from __future__ import annotations

from typing import Final

import msgspec

from alacrity.cluster.machine import PoolMachine
from alacrity.cluster.raft.environment import CannotApply
from alacrity.cluster.state import Applied, Expired, envelope_version

VERSION: Final = 1


class _Header(msgspec.Struct, frozen=True):
    format: int


class OlderMachine(PoolMachine):
    """
    The state machine of the program before. It knows of no raising of the format.
    """

    version = VERSION
    raised_format = VERSION

    def apply(self, command: bytes) -> Applied | Expired:
        version = envelope_version(command)
        if version != VERSION:
            raise CannotApply(f"the command has version {version}; known here: up to 1")
        return super().apply(command)

    def restore(self, state: bytes) -> None:
        format = msgspec.msgpack.decode(state, type=_Header).format
        if format != VERSION:
            raise CannotApply(f"the snapshot has format {format}; known here: up to 1")
        super().restore(state)
