"""
What the cluster agrees on: a pool, and the requests that lately changed it.

Three rules hold:

  1. L{apply} is pure: all it knows is the state and the bytes of an entry.
  2. L{apply} is total: any bytes give a result, never an exception. A raise would stop
     every node at the same place.
  3. A request changes the pool once, however often it is in the log.

For the third, the requests that were applied are remembered, the latest
L{GENERATION} of them at least. A repeat that comes so late that its request may be
forgotten is told by what its proposer had applied when it first made it, and is
refused, so it cannot count twice either.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from alacrity.pool import Command, Outcome, Pool
from alacrity.pool import apply as apply_to_pool

VERSION: Final = 1
"""The newest version of an L{Envelope} that is understood."""

FORMAT: Final = 1
"""The format of an encoded state. All formats up to it are read."""

GENERATION: Final = 2048
"""How many of the latest requests are certainly remembered."""


class Envelope(msgspec.Struct, frozen=True):
    """
    A command on its way through the log.

    @ivar version: raised when a command is added, or changes its meaning.
    @ivar request_id: the same for each repeat of a request; at most a few dozen
        characters, random.
    @ivar since: the pool's index on the proposing node when the request was made.
    @ivar command: L{None}: change nothing. That it is applied proves that the node has
        applied all that was committed when it was proposed.
    """

    version: int
    request_id: str
    since: int
    command: Command | None


class Replicated(msgspec.Struct, frozen=True):
    """
    The state that is the same on all nodes that have applied the same entries.

    @ivar recent: the outcomes of the latest requests by request id, in their order.
    @ivar older: those of the L{GENERATION} before.
    """

    pool: Pool = Pool()
    recent: dict[str, Outcome] = {}
    older: dict[str, Outcome] = {}


class Applied(msgspec.Struct, frozen=True):
    """
    @ivar outcome: L{None}: there was no command.
    @ivar repeated: the request was applied before, this is its outcome then, and
        nothing has changed.
    """

    request_id: str
    outcome: Outcome | None
    repeated: bool = False


class Expired(msgspec.Struct, frozen=True):
    """
    Nothing changed: the entry comes too late to tell whether it is a repeat.
    """

    request_id: str


class Unreadable(msgspec.Struct, frozen=True):
    """
    Nothing changed: the entry is of a newer version, or is none. A node that goes on
    from here is not like the others any more.
    """

    reason: str


Result: TypeAlias = Applied | Expired | Unreadable


class _Header(msgspec.Struct, frozen=True):
    version: int


class _Kept(msgspec.Struct, frozen=True):
    format: int
    state: msgspec.Raw


class _KeptHeader(msgspec.Struct, frozen=True):
    format: int


_headers: Final = msgspec.msgpack.Decoder(_Header)
_envelopes: Final = msgspec.msgpack.Decoder(Envelope)
_kept_headers: Final = msgspec.msgpack.Decoder(_KeptHeader)
_kept: Final = msgspec.msgpack.Decoder(_Kept)
_states: Final = msgspec.msgpack.Decoder(Replicated)
_encoder: Final = msgspec.msgpack.Encoder()


class NotReadable(Exception):
    """
    The bytes are of a newer version, or damaged. The message is one line.
    """


def version_of(command: Command | None) -> int:
    """
    The lowest version of an envelope that can carry a command. So nodes of a newer
    version can be understood by older ones as long as they say nothing new.
    """
    return 1


def encode_envelope(envelope: Envelope) -> bytes:
    """
    An envelope as it stands in an entry of the log.
    """
    return _encoder.encode(envelope)


def decode_envelope(data: bytes) -> Envelope:
    """
    The envelope in an entry of the log.

    @raise NotReadable: there is none of a version known here.
    """
    try:
        version = _headers.decode(data).version
        if not 1 <= version <= VERSION:
            raise NotReadable(f"the command has version {version}; known here: up to {VERSION}")
        return _envelopes.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise NotReadable(f"the command is damaged: {error}") from error


def envelope_version(data: bytes) -> int | None:
    """
    The version that an envelope says it has; L{None}: it is none.
    """
    try:
        return _headers.decode(data).version
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def encode_state(state: Replicated) -> bytes:
    """
    A state as it stands in a snapshot.
    """
    return _encoder.encode(_Kept(FORMAT, msgspec.Raw(_encoder.encode(state))))


def decode_state(data: bytes) -> Replicated:
    """
    The state in a snapshot.

    @raise NotReadable: there is none of a format known here.
    """
    try:
        format = _kept_headers.decode(data).format
        if not 1 <= format <= FORMAT:
            raise NotReadable(f"the snapshot has format {format}; known here: up to {FORMAT}")
        state = _states.decode(_kept.decode(data).state)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise NotReadable(f"the snapshot is damaged: {error}") from error
    for id, server in state.pool.servers.items():
        if id != server.id:
            raise NotReadable(f"the snapshot has server {server.id} under the id {id!r}")
    return state


def apply(state: Replicated, data: bytes) -> tuple[Replicated, Result]:
    """
    The state after an entry, and what the entry came to.
    """
    try:
        envelope = decode_envelope(data)
    except NotReadable as error:
        return state, Unreadable(str(error))
    request_id = envelope.request_id
    if envelope.command is None:
        return state, Applied(request_id, None)
    outcome = state.recent.get(request_id) or state.older.get(request_id)
    if outcome is not None:
        return state, Applied(request_id, outcome, repeated=True)
    if state.pool.index - envelope.since >= GENERATION:
        return state, Expired(request_id)
    pool, outcome = apply_to_pool(state.pool, envelope.command)
    recent, older = state.recent, state.older
    if len(recent) >= GENERATION:
        recent, older = {}, recent
    return Replicated(pool, {**recent, request_id: outcome}, older), Applied(request_id, outcome)


def outcome_of(state: Replicated, request_id: str) -> Outcome | None:
    """
    What a request came to; L{None}: it was not applied, or too long ago.
    """
    return state.recent.get(request_id) or state.older.get(request_id)
