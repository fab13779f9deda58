"""
A version of the node that does not exist yet: it knows a command, and a format of the
state, that those that are shipped do not.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from alacrity.cluster.log.entries import REGULAR
from alacrity.cluster.proposals import Route
from alacrity.cluster.raft.environment import CannotApply
from alacrity.cluster.replica import Replica
from alacrity.cluster.state import Envelope, RaiseFormat, encode_envelope, envelope_version
from alacrity.pool import (
    Command,
    Deregister,
    HttpCheck,
    Outcome,
    Register,
    Report,
    State,
    Verdicts,
    server_id,
)

VERSION: Final = 3

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


class _Kept(msgspec.Struct, frozen=True):
    format: int
    kept: bytes


class _Header(msgspec.Struct, frozen=True):
    request_id: str


def request_id_of(data: bytes) -> str:
    """
    Of an envelope of any version.
    """
    return msgspec.msgpack.decode(data, type=_Header).request_id


class NewerReplica(Replica):
    """
    It says what is old in the old words, and keeps what is old in the old format.
    """

    version = VERSION

    async def _propose(
        self,
        command: Command | RaiseFormat | Touch | None,
        timeout: float | None,
        request_id: str | None,
        only_by: Route | None = None,
    ) -> Outcome | None:
        if not isinstance(command, Touch):
            return await super()._propose(command, timeout, request_id, only_by)
        request_id = request_id or self._new_id()
        envelope = NewEnvelope(VERSION, request_id, self.state.pool.index, command)
        data = REGULAR + msgspec.msgpack.encode(envelope)
        outcome: Outcome | None = await self._wait(
            request_id, data, self._settings.timeout if timeout is None else timeout
        )
        return outcome

    def apply(self, command: bytes) -> None:
        if envelope_version(command) == VERSION:
            new = msgspec.msgpack.decode(command, type=NewEnvelope)
            touch = new.command
            register = Register("10.0.0.1", touch.port, HttpCheck(_PATH), 1, touch.time)
            command = encode_envelope(Envelope(1, new.request_id, new.since, register))
        super().apply(command)

    def encode(self) -> bytes:
        kept = super().encode()
        servers: Any = self.state.pool.servers.values()
        if any(isinstance(each.check, HttpCheck) and each.check.path == _PATH for each in servers):
            return msgspec.msgpack.encode(_Kept(VERSION, kept))
        return kept

    def restore(self, state: bytes) -> None:
        try:
            kept = msgspec.msgpack.decode(state, type=_Kept)
        except msgspec.MsgspecError:
            # One of the first format.
            super().restore(state)
            return
        if kept.format != VERSION:
            raise CannotApply(f"the snapshot has format {kept.format}")
        super().restore(kept.kept)
