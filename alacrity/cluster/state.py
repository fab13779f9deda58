"""
The replicated state: a pool, and the requests that lately changed it.

Three rules hold:

  1. L{apply} is pure: it depends on the state and the bytes of an entry alone.
  2. L{apply} is total: any bytes give a result, never an exception. An exception would stop
     every node at the same entry.
  3. A request changes the pool once, however often it is in the log.

For the third, the requests that were applied are remembered, the latest
L{GENERATION} of them at least. A repeat that comes so late that its request may be
forgotten is recognised by the pool's index on its proposer when it was first made, and is
refused, so it cannot count twice either.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from alacrity.cluster.log.formats import NEWEST_FORMAT
from alacrity.pool import Command, Judged, Outcome, Pool, PoolDraft, Verdicts

VERSION: Final = NEWEST_FORMAT
"""The newest version of an L{Envelope} that is understood, and the newest format."""

GENERATION: Final = 2048
"""The number of latest requests that are certainly remembered."""


class RaiseFormat(msgspec.Struct, frozen=True, tag="format"):
    """
    The command that raises the format: all members understand commands of a version, and a
    node that does not is no member from now on. The pool does not change by it.
    """

    format: int


class Envelope(msgspec.Struct, frozen=True):
    """
    A command on its way through the log.

    @ivar version: raised when a command is added, or changes its meaning.
    @ivar request_id: the same for each repeat of a request; at most a few dozen
        characters, random.
    @ivar since: the pool's index on the proposing node when the request was made.
    @ivar command: L{None}: change nothing. Once such an envelope is applied, the node has
        applied all that was committed when it was proposed.
    """

    version: int
    request_id: str
    since: int
    command: Command | RaiseFormat | None


class Replicated(msgspec.Struct, frozen=True):
    """
    The state that is the same on all nodes that have applied the same entries.

    @ivar recent: the outcomes of the latest requests by request id, in their order.
    @ivar older: those of the L{GENERATION} before.
    @ivar format: commands up to this version are understood by all members, and the
        state is encoded in this format.
    """

    pool: Pool = Pool()
    recent: dict[str, Outcome] = {}
    older: dict[str, Outcome] = {}
    format: int = 1


class Applied(msgspec.Struct, frozen=True):
    """
    The result of an entry that was applied, now or before.

    @ivar outcome: L{None}: there was no command.
    @ivar repeated: the request was applied before, this is its outcome then, and
        nothing has changed.
    """

    request_id: str
    outcome: Outcome | None
    repeated: bool = False


class Expired(msgspec.Struct, frozen=True):
    """
    The result of an entry that comes too late to tell whether it is a repeat: nothing has
    changed.
    """

    request_id: str


class Unreadable(msgspec.Struct, frozen=True):
    """
    The result of an entry of a newer version, or of damaged bytes: nothing has changed. A
    node that goes on from here has another state than the others.
    """

    reason: str


ApplyResult: TypeAlias = Applied | Expired | Unreadable


class _Header(msgspec.Struct, frozen=True):
    version: int


class _Format1(msgspec.Struct, frozen=True):
    """
    The fields of a state of format 1.
    """

    pool: Pool
    recent: dict[str, Outcome]
    older: dict[str, Outcome]


class _StateToEncode(msgspec.Struct, frozen=True):
    format: int
    state: Replicated | _Format1


class _EncodedState(msgspec.Struct, frozen=True):
    format: int
    state: msgspec.Raw


class _EncodedFormat(msgspec.Struct, frozen=True):
    format: int


_headers: Final = msgspec.msgpack.Decoder(_Header)
_envelopes: Final = msgspec.msgpack.Decoder(Envelope)
_encoded_formats: Final = msgspec.msgpack.Decoder(_EncodedFormat)
_encoded_states: Final = msgspec.msgpack.Decoder(_EncodedState)
_states: Final = msgspec.msgpack.Decoder(Replicated)
_encoder: Final = msgspec.msgpack.Encoder()


class NotReadable(Exception):
    """
    Bytes of a newer version, or damaged ones, were to be decoded. The message is one line.
    """


def version_of(command: Command | RaiseFormat | None) -> int:
    """
    The lowest version of an envelope that can carry a command. So nodes of an older version
    understand newer ones as long as these say nothing new.
    """
    if isinstance(command, RaiseFormat):
        return command.format
    return 2 if isinstance(command, Verdicts) else 1


def encode_envelope(envelope: Envelope) -> bytes:
    """
    Encode an envelope for an entry of the log.
    """
    return _encoder.encode(envelope)


def decode_envelope(data: bytes) -> Envelope:
    """
    Decode the envelope in an entry of the log.

    @raise NotReadable: there is none of a version known here.
    """
    try:
        version = _headers.decode(data).version
        if not 1 <= version <= NEWEST_FORMAT:
            raise NotReadable(
                f"the command has version {version}; known here: up to {NEWEST_FORMAT}"
            )
        envelope = _envelopes.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise NotReadable(f"the command is damaged: {error}") from error
    if version < version_of(envelope.command):
        # A node that knows that version only does not read it.
        raise NotReadable(f"the command is not one of version {version}")
    return envelope


def envelope_version(data: bytes) -> int | None:
    """
    The version that an envelope claims; L{None}: the bytes are no envelope.
    """
    try:
        return _headers.decode(data).version
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def encode_state(state: Replicated) -> bytes:
    """
    Encode a state for a snapshot.
    """
    encoded: Replicated | _Format1 = state
    if state.format == 1:
        encoded = _Format1(state.pool, state.recent, state.older)
    return _encoder.encode(_StateToEncode(state.format, encoded))


def decode_state(data: bytes) -> Replicated:
    """
    Decode the state in a snapshot.

    @raise NotReadable: there is none of a format known here.
    """
    try:
        format = _encoded_formats.decode(data).format
        if not 1 <= format <= NEWEST_FORMAT:
            raise NotReadable(
                f"the snapshot has format {format}; known here: up to {NEWEST_FORMAT}"
            )
        state = _states.decode(_encoded_states.decode(data).state)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise NotReadable(f"the snapshot is damaged: {error}") from error
    if state.format != format:
        raise NotReadable(f"the snapshot has format {format}, and its state {state.format}")
    for id, server in state.pool.servers.items():
        if id != server.id:
            raise NotReadable(f"the snapshot has server {server.id} under the id {id!r}")
    return state


def apply(state: Replicated, data: bytes) -> tuple[Replicated, ApplyResult]:
    """
    The state after an entry, and the entry's result.
    """
    draft = StateDraft(state)
    result = draft.apply(data)
    return draft.state(), result


class StateDraft:
    """
    A state to which entries are applied. The pool and the remembered requests are copied once
    for any number of entries.

    @ivar format: the state's.
    """

    __slots__ = ("_older", "_owned", "_pool", "_recent", "_state", "format")

    def __init__(self, state: Replicated) -> None:
        self._state = state
        self._pool = PoolDraft(state.pool)
        self._recent = state.recent
        self._older = state.older
        self._owned = False
        self.format = state.format

    @property
    def index(self) -> int:
        """
        The pool's index.
        """
        return self._pool.index

    def state(self) -> Replicated:
        """
        The state as it is now. What is applied later does not change this value.
        """
        pool = self._pool.pool()
        if pool is not self._state.pool or self.format != self._state.format:
            self._state = Replicated(pool, self._recent, self._older, self.format)
            self._owned = False
        return self._state

    def apply(self, data: bytes) -> ApplyResult:
        """
        Apply an entry, as L{apply} does.

        @return: the entry's result.
        """
        try:
            envelope = decode_envelope(data)
        except NotReadable as error:
            return Unreadable(str(error))
        request_id, command = envelope.request_id, envelope.command
        # The leader that appended it knew that all members understand it.
        self.format = max(self.format, envelope.version)
        if command is None or isinstance(command, RaiseFormat):
            return Applied(request_id, None)
        outcome = self._recent.get(request_id) or self._older.get(request_id)
        if outcome is not None:
            return Applied(request_id, outcome, repeated=True)
        if self._pool.index - envelope.since >= GENERATION:
            return Expired(request_id)
        outcome = self._pool.apply(command)
        self._remember(request_id, outcome)
        return Applied(request_id, outcome)

    def _remember(self, request_id: str, outcome: Outcome) -> None:
        if isinstance(outcome, Judged):
            # The verdicts on thousands of servers would outweigh the pool.
            outcome = Judged(())
        if len(self._recent) >= GENERATION:
            self._older, self._recent = self._recent, {}
            self._owned = True
        elif not self._owned:
            self._recent = self._recent.copy()
            self._owned = True
        self._recent[request_id] = outcome


def outcome_of(state: Replicated, request_id: str) -> Outcome | None:
    """
    A request's outcome; L{None}: it was not applied, or too long ago.
    """
    return state.recent.get(request_id) or state.older.get(request_id)
