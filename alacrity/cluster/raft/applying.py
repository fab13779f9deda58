"""
The application of committed entries to the state machine.
"""

from __future__ import annotations

from math import inf

from alacrity.cluster.log.entries import MEMBERSHIP, NO_OP, REGULAR
from alacrity.cluster.raft.adapter import LEADER, RaftAdapter
from alacrity.cluster.raft.environment import CannotApply, Environment
from alacrity.cluster.raft.membership import decode_members
from alacrity.cluster.raft.reconfiguration import Reconfiguration


class Applying:
    """
    Applies committed entries, in parts small enough not to delay other work.
    """

    def __init__(
        self,
        raft: RaftAdapter,
        environment: Environment,
        reconfiguration: Reconfiguration,
    ) -> None:
        self._raft = raft
        self._machine = environment.machine
        self._results = environment.results
        self._limits = environment.limits
        self._reconfiguration = reconfiguration
        # Bytes of commands that may still be applied in this step.
        self._allowance: float = inf

    def begin_step(self) -> None:
        """
        Begin a step: limit the bytes that are applied until the next call.
        """
        self._allowance = self._limits.applied_bytes

    def end_steps(self) -> None:
        """
        Apply without a limit of bytes from now on.
        """
        self._allowance = inf

    def apply_committed(self) -> bool:
        """
        G7. Apply the committed entries, each once.

        PySyncObj applies an entry again at each tick if the entry, or a caller's callback,
        raises; and if it skips one entry, all that follow are shifted. Here only the state
        machine is called, which never raises, except for an entry that it does not understand;
        such an entry halts the node.

        @return: whether to send to the followers at once.
        """
        raft, log = self._raft, self._raft.log
        before = raft.applied_index
        size = 0
        for index in range(before + 1, min(raft.commit_index, before + self._limits.applied) + 1):
            command = log[index - log[0][1]][0]
            if self._is_enough(size, len(command)):
                break
            size += len(command)
            kind = command[:1]
            try:
                if kind == REGULAR:
                    self._results.command_applied(self._machine.apply(command[1:]))
                elif kind not in {NO_OP, MEMBERSHIP}:
                    raise CannotApply(f"its kind is {command[:1]!r}")
            except CannotApply as error:
                raft.halt(f"entry {index} is committed, and not understood: {error}")
                return False
            raft.mark_applied(index)
            if kind == MEMBERSHIP:
                self._reconfiguration.configure()
                self._results.members_changed(decode_members(command).request_id)
        self._allowance = max(0, self._allowance - size)
        return raft.role == LEADER and raft.applied_index > before

    def _is_enough(self, applied: int, more: int) -> bool:
        """
        Whether the next command has to wait for the next step.

        @param applied: bytes of commands applied so far.
        @param more: bytes of the next command.
        """
        # A command that is longer than the limit is applied as the first one of a step.
        whole = self._limits.applied_bytes
        return applied + more > self._allowance and (applied > 0 or self._allowance < whole)
