"""
The state machine that committed commands are applied to: the pool, and the requests that
lately changed it.
"""

from __future__ import annotations

from alacrity.cluster.log.formats import NEWEST_FORMAT
from alacrity.cluster.raft.environment import CannotApply
from alacrity.cluster.state import (
    Applied,
    Envelope,
    Expired,
    NotReadable,
    RaiseFormat,
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
    The replicated state as the engine drives it, see L{StateMachine
    <alacrity.cluster.raft.environment.StateMachine>}.

    @cvar version: the newest version of commands that it understands.
    @cvar raised_format: the format that a leader has all members agree on.
    """

    version = NEWEST_FORMAT
    raised_format = NEWEST_FORMAT

    def __init__(self) -> None:
        self._draft = StateDraft(Replicated())

    @property
    def state(self) -> Replicated:
        """
        The state that all was applied to, on disk or not. Each that is looked at is a copy.
        """
        return self._draft.state()

    @property
    def format(self) -> int:
        """
        Commands up to this version are understood by all members, for good.
        """
        return self._draft.format

    def envelope(self, request_id: str, command: Command | RaiseFormat | None) -> bytes:
        """
        A command as it stands in an entry, if it is proposed now; L{None}: change nothing.
        """
        envelope = Envelope(version_of(command), request_id, self._draft.index, command)
        return encode_envelope(envelope)

    def apply(self, command: bytes) -> Applied | Expired:
        """
        Change the state as a command says.

        @raise CannotApply: nothing was changed.
        """
        result = self._draft.apply(command)
        if isinstance(result, Unreadable):
            raise CannotApply(result.reason)
        return result

    def encode(self) -> bytes:
        """
        The state, for a snapshot.
        """
        return encode_state(self.state)

    def restore(self, state: bytes) -> None:
        """
        Take another state.

        @raise CannotApply: nothing was changed.
        """
        try:
            restored = decode_state(state)
        except NotReadable as error:
            raise CannotApply(str(error)) from error
        self._draft = StateDraft(restored)

    def readable(self, command: bytes, version: int) -> bool:
        """
        Whether a command can be applied by machines up to a version, and by this one.
        """
        own = envelope_version(command)
        return own is not None and 1 <= own <= min(max(version, self.format), self.version)
