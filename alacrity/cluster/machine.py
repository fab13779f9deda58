"""
The state machine that committed commands are applied to: the pool, and the latest requests
that changed it.
"""

from __future__ import annotations

from alacrity.cluster.log.formats import NEWEST_FORMAT
from alacrity.cluster.raft.environment import CannotApply
from alacrity.cluster.state import (
    Applied,
    ClusterCommand,
    Envelope,
    Expired,
    NotReadable,
    Replicated,
    StateDraft,
    Unreadable,
    decode_state,
    encode_envelope,
    encode_state,
    envelope_version,
    version_of,
)
from alacrity.pool import Command


class PoolMachine:
    """
    The replicated state behind the engine's interface, see L{StateMachine
    <alacrity.cluster.raft.environment.StateMachine>}.

    @cvar version: the newest version of commands that this program understands.
    @cvar raised_format: the format that the leader proposes once all members understand it.
    """

    version = NEWEST_FORMAT
    raised_format = NEWEST_FORMAT

    def __init__(self) -> None:
        self._draft = StateDraft(Replicated())

    @property
    def state(self) -> Replicated:
        """
        The state after all applied commands, on disk or not. Each read makes a copy.
        """
        return self._draft.state()

    @property
    def format(self) -> int:
        """
        The format: all members understand commands up to this version.
        """
        return self._draft.format

    @property
    def cluster_id(self) -> str:
        """
        The id of the cluster, by the applied commands; empty: it has none yet.
        """
        return self._draft.cluster_id

    def envelope(self, request_id: str, command: Command | ClusterCommand | None) -> bytes:
        """
        Encode a command, as it is proposed now, for an entry.

        @param command: L{None}: a command that changes nothing.
        """
        envelope = Envelope(version_of(command), request_id, self._draft.index, command)
        return encode_envelope(envelope)

    def apply(self, command: bytes) -> Applied | Expired:
        """
        Apply a command to the state.

        @raise CannotApply: nothing was changed.
        """
        result = self._draft.apply(command)
        if isinstance(result, Unreadable):
            raise CannotApply(result.reason)
        return result

    def encode(self) -> bytes:
        """
        Encode the state, for a snapshot.
        """
        return encode_state(self.state)

    def restore(self, state: bytes) -> None:
        """
        Replace the state by the one in a snapshot.

        @raise CannotApply: nothing was changed.
        """
        try:
            restored = decode_state(state)
        except NotReadable as error:
            raise CannotApply(str(error)) from error
        self._draft = StateDraft(restored)

    def readable(self, command: bytes, version: int) -> bool:
        """
        Whether machines of a version, and this one, can apply a command.
        """
        own = envelope_version(command)
        return own is not None and 1 <= own <= min(max(version, self.format), self.version)
