"""
Programs of the versions before this one: they know no command and no format of the state beyond
their own, and do not raise the format further.
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
    The state machine of the first program. It knows of no raising of the format.
    """

    version = VERSION
    raised_format = VERSION

    def apply(self, command: bytes) -> Applied | Expired:
        version = envelope_version(command)
        if version is None or version > self.version:
            raise CannotApply(
                f"the command has version {version}; known here: up to {self.version}"
            )
        return super().apply(command)

    def restore(self, state: bytes) -> None:
        format = msgspec.msgpack.decode(state, type=_Header).format
        if format > self.version:
            raise CannotApply(f"the snapshot has format {format}; known here: up to {self.version}")
        super().restore(state)


class SecondMachine(OlderMachine):
    """
    The state machine of the second program: its cluster has no id, it does not greet, and its
    connections are not encrypted.
    """

    version = 2
    raised_format = 2
