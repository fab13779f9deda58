"""
A program of the version before this one: it knows no command and no format of the state
beyond the first, and does not raise the format.
"""

from __future__ import annotations

from typing import Final

import msgspec

from alacrity.cluster.raft.environment import CannotApply
from alacrity.cluster.replica import Replica
from alacrity.cluster.state import envelope_version

VERSION: Final = 1


class _Header(msgspec.Struct, frozen=True):
    format: int


class OlderReplica(Replica):
    """
    The replica of the program before.
    """

    version = VERSION

    def apply(self, command: bytes) -> None:
        version = envelope_version(command)
        if version != VERSION:
            raise CannotApply(f"the command has version {version}; known here: up to 1")
        super().apply(command)

    def restore(self, state: bytes) -> None:
        format = msgspec.msgpack.decode(state, type=_Header).format
        if format != VERSION:
            raise CannotApply(f"the snapshot has format {format}; known here: up to 1")
        super().restore(state)

    def _raise_format(self) -> None:
        """It knows of none."""
