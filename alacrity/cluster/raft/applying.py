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
    Applies what is committed, in parts that hold up nothing else.
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
        Apply as much as one step may from now on.
        """
        self._allowance = self._limits.applied_bytes

    def end_steps(self) -> None:
        """
        Apply as much as there is from now on.
        """
        self._allowance = inf

    def apply_committed(self) -> bool:
        """
        G7. Apply what is committed, each entry once.

        PySyncObj applies an entry again at each tick if it, or a callback of a caller,
        raises, and shifts all that follow if it skips one. Here nobody is called back but
        the machine, which is total; what it cannot understand halts the node.

        @return: whether followers are to be told at once.
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
                    raise CannotApply(f"it is of kind {command[:1]!r}")
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
        Whether a step has applied so many bytes of commands that it applies no more.
        """
        # One that is longer by itself is applied as the first one of a step.
        whole = self._limits.applied_bytes
        return applied + more > self._allowance and (applied > 0 or self._allowance < whole)
