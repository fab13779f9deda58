"""
The replicated state: a pool, and the latest requests that changed it.

Three rules hold:

  1. L{apply} is pure: its result depends only on the state and the bytes of an entry.
  2. L{apply} is total: any bytes give a result, never an exception. An exception would stop
     every node at the same entry.
  3. A request changes the pool once, however often it is in the log.

For the third rule, at least the latest L{GENERATION} applied requests are remembered. A repeat
may come so late that its request is forgotten. Such a repeat is recognised by L{Envelope.since},
and is refused, so it cannot change the pool twice either.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from alacrity.cluster.log.formats import NAMING_FORMAT, NEWEST_FORMAT
from alacrity.pool import Command, Judged, Outcome, Pool, PoolDraft, Server, format_of

GENERATION: Final = 2048
"""The number of latest requests that are certainly remembered."""


class RaiseFormat(msgspec.Struct, frozen=True, tag="format"):
    """
    The command that raises the format: all members understand commands up to a version, and a
    node that does not is refused from now on. This command does not change the pool.
    """

    format: int


class NameCluster(msgspec.Struct, frozen=True, tag="name_cluster"):
    """
    The command that gives the cluster its id. It does not change the pool.

    @ivar id: random hexadecimal digits, drawn by the proposer.
    @ivar anew: whether the id replaces an earlier one. If not, an earlier one stays.
    """

    id: str
    anew: bool = False


ClusterCommand: TypeAlias = RaiseFormat | NameCluster
"""The commands about the cluster itself. They are applied without a trace in the pool, and may be
applied again."""


class Envelope(msgspec.Struct, frozen=True):
    """
    A command as it is in an entry of the log.

    @ivar version: the version of the command; raised when a kind of command is added, or
        changes its meaning.
    @ivar request_id: the id of the request, the same in each repeat of it; at most a few dozen
        random characters.
    @ivar since: the pool's index on the proposing node when the request was first made.
    @ivar command: the command; L{None}: change nothing. A node that has applied an envelope
        without a command has applied all entries that were committed when it was proposed.
    """

    version: int
    request_id: str
    since: int
    command: Command | ClusterCommand | None


class Replicated(msgspec.Struct, frozen=True):
    """
    The state that is the same on all nodes that have applied the same entries.

    @ivar recent: the outcomes of the latest requests by request id, in the order in which they
        were applied.
    @ivar older: the outcomes of the L{GENERATION} requests before those.
    @ivar format: all members understand commands up to this version, and the state is encoded
        in this format.
    @ivar cluster_id: the id of the cluster; empty: it has none yet.
    """

    pool: Pool = Pool()
    recent: dict[str, Outcome] = {}
    older: dict[str, Outcome] = {}
    format: int = 1
    cluster_id: str = ""


class Applied(msgspec.Struct, frozen=True):
    """
    The result of an entry that was applied, now or before.

    @ivar outcome: the outcome of the command; L{None}: there was no command.
    @ivar repeated: whether the request was applied before. If so, the outcome is that of the
        first time, and nothing has changed now.
    """

    request_id: str
    outcome: Outcome | None
    repeated: bool = False


class Expired(msgspec.Struct, frozen=True):
    """
    The result of an entry that came too late: it may be a repeat of a forgotten request.
    Nothing has changed.
    """

    request_id: str


class Unreadable(msgspec.Struct, frozen=True):
    """
    The result of an entry of a newer version, or of damaged bytes: nothing has changed. A node
    that continued after this would have a different state than the others.
    """

    reason: str


ApplyResult: TypeAlias = Applied | Expired | Unreadable


class _Header(msgspec.Struct, frozen=True):
    version: int


class _Pool1(msgspec.Struct, frozen=True):
    """
    The fields of a pool of format 1.
    """

    index: int
    servers: dict[str, Server]


class _Format1(msgspec.Struct, frozen=True):
    """
    The fields of a state of format 1.
    """

    pool: _Pool1
    recent: dict[str, Outcome]
    older: dict[str, Outcome]


class _Format2(msgspec.Struct, frozen=True):
    """
    The fields of a state of format 2.
    """

    pool: Pool
    recent: dict[str, Outcome]
    older: dict[str, Outcome]
    format: int


class _StateToEncode(msgspec.Struct, frozen=True):
    format: int
    state: Replicated | _Format1 | _Format2


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
    The bytes are of a newer version, or damaged, and cannot be decoded. The message is one line.
    """


def version_of(command: Command | ClusterCommand | None) -> int:
    """
    The lowest version of an envelope that can carry a command. Commands without new features
    keep a low version, so that older nodes can apply them. A new type of check raises it, as a
    new kind of command does.
    """
    if isinstance(command, RaiseFormat):
        return command.format
    if isinstance(command, NameCluster):
        return NAMING_FORMAT
    return 1 if command is None else format_of(command)


def encode_envelope(envelope: Envelope) -> bytes:
    """
    Encode an envelope for an entry of the log.
    """
    return _encoder.encode(envelope)


def decode_envelope(data: bytes) -> Envelope:
    """
    Decode the envelope in an entry of the log.

    @raise NotReadable: the bytes are damaged, or of a newer version.
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
        # A program that understands only that version could not decode this command.
        raise NotReadable(f"the command is not one of version {version}")
    return envelope


def envelope_version(data: bytes) -> int | None:
    """
    The version that is named in an envelope; L{None}: the bytes are no envelope.
    """
    try:
        return _headers.decode(data).version
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def encode_state(state: Replicated) -> bytes:
    """
    Encode a state for a snapshot.
    """
    encoded: Replicated | _Format1 | _Format2 = state
    if state.format == 1:
        pool = _Pool1(state.pool.index, state.pool.servers)
        encoded = _Format1(pool, state.recent, state.older)
    elif state.format == 2:
        encoded = _Format2(state.pool, state.recent, state.older, state.format)
    return _encoder.encode(_StateToEncode(state.format, encoded))


def decode_state(data: bytes) -> Replicated:
    """
    Decode the state in a snapshot.

    @raise NotReadable: the bytes are damaged, or of a newer format.
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

    @ivar cluster_id: see L{Replicated.cluster_id}.
    """

    __slots__ = ("_older", "_owned", "_pool", "_recent", "_state", "cluster_id")

    def __init__(self, state: Replicated) -> None:
        self._state = state
        self._pool = PoolDraft(state.pool, state.format)
        self._recent = state.recent
        self._older = state.older
        self._owned = False
        self.cluster_id = state.cluster_id

    @property
    def format(self) -> int:
        """
        See L{Replicated.format}.
        """
        return self._pool.format

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
        before = self._state
        if (
            pool is not before.pool
            or self.format != before.format
            or self.cluster_id != before.cluster_id
        ):
            self._state = Replicated(pool, self._recent, self._older, self.format, self.cluster_id)
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
        # The leader has appended the entry because all members understand its version.
        self._pool.format = max(self.format, envelope.version)
        if command is None or isinstance(command, ClusterCommand):
            if isinstance(command, NameCluster) and (command.anew or not self.cluster_id):
                self.cluster_id = command.id
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
            # The outcomes of verdicts on thousands of servers would need more space than the pool.
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
    A request's outcome; L{None}: the request was not applied, or is forgotten.
    """
    return state.recent.get(request_id) or state.older.get(request_id)
