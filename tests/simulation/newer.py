"""
A version of the node that does not exist yet: it knows a command, and a format of the
state, that those that are shipped do not.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from alacrity.cluster.machine import PoolMachine
from alacrity.cluster.raft.environment import CannotApply
from alacrity.cluster.state import (
    Applied,
    ClusterCommand,
    Envelope,
    Expired,
    encode_envelope,
    envelope_version,
)
from alacrity.pool import (
    Command,
    Deregister,
    HttpCheck,
    Register,
    Report,
    State,
    Verdicts,
    server_id,
)

VERSION: Final = 4

_PATH: Final = "/touched"


class Touch(msgspec.Struct, frozen=True, tag="touch"):
    """
    The new command: have the server at a port checked in another way.
    """

    port: int
    time: float


def new_command(version: int, port: int, time: float) -> Touch | Verdicts:
    """
    A command that is new in a version.
    """
    if version == VERSION:
        return Touch(port, time)
    id = server_id("10.0.0.1", port)
    other = server_id("10.0.0.1", port + 1)
    return Verdicts((Report(id, int(time), State.DOWN, "said", time), Deregister(other, time, "")))


class NewEnvelope(msgspec.Struct, frozen=True):
    """
    What carries it. Its first two are where they are in all versions.
    """

    version: int
    request_id: str
    since: int
    command: Touch


class _NewState(msgspec.Struct, frozen=True):
    format: int
    kept: bytes


class _Header(msgspec.Struct, frozen=True):
    request_id: str


def request_id_of(data: bytes) -> str:
    """
    Of an envelope of any version.
    """
    return msgspec.msgpack.decode(data, type=_Header).request_id


class NewerMachine(PoolMachine):
    """
    It says what is old in the old words, and keeps what is old in the old format.
    """

    version = VERSION

    def envelope(self, request_id: str, command: Command | ClusterCommand | Touch | None) -> bytes:
        if not isinstance(command, Touch):
            return super().envelope(request_id, command)
        envelope = NewEnvelope(VERSION, request_id, self.state.pool.index, command)
        return msgspec.msgpack.encode(envelope)

    def apply(self, command: bytes) -> Applied | Expired:
        if envelope_version(command) == VERSION:
            new = msgspec.msgpack.decode(command, type=NewEnvelope)
            touch = new.command
            register = Register("10.0.0.1", touch.port, HttpCheck(_PATH), 1, touch.time)
            command = encode_envelope(Envelope(1, new.request_id, new.since, register))
        return super().apply(command)

    def encode(self) -> bytes:
        kept = super().encode()
        servers: Any = self.state.pool.servers.values()
        if any(isinstance(each.check, HttpCheck) and each.check.path == _PATH for each in servers):
            return msgspec.msgpack.encode(_NewState(VERSION, kept))
        return kept

    def restore(self, state: bytes) -> None:
        try:
            kept = msgspec.msgpack.decode(state, type=_NewState)
        except msgspec.MsgspecError:
            # One of the first format.
            super().restore(state)
            return
        if kept.format != VERSION:
            raise CannotApply(f"the snapshot has format {kept.format}")
        super().restore(kept.kept)
